// Benchmarks of matrix products, the tokenizer and the fit; training steps are in bench_train.c.
#include "measure/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/file.h"
#include "base/stat.h"
#include "kern/gemm.h"
#include "measure/bench_impl.h"
#include "measure/calibrate.h"
#include "text/tok.h"

iso_status iso_bench_put(iso_bench_line_fn line, void *arg, json_t *j, iso_err *err) {
  if (!j) return iso_fail(err, ISO_ENOMEM, "bench: no memory for a result");
  iso_status st = line(arg, j, err);
  json_decref(j);
  return st;
}

// ---- matrix products ------------------------------------------------------------------------------------------------

// Products of a training step: forward x W', input gradient dy W, weight gradient dy' x of the MLP's first half, and the head's logits.
typedef struct step_product {
  const char *what;
  bool ta, tb;
  int64_t m, n, k;
} step_product;
static const step_product STEP_PRODUCTS[] = {{"10m mlp forward", false, true, 4096, 1728, 320}, {"10m mlp dx", false, false, 4096, 320, 1728},
                                             {"10m mlp dw", true, false, 1728, 320, 4096},      {"10m head", false, true, 1024, 4096, 320},
                                             {"50m mlp forward", false, true, 4096, 3072, 576}, {"50m mlp dx", false, false, 4096, 576, 3072},
                                             {"50m mlp dw", true, false, 3072, 576, 4096},      {"124m mlp forward", false, true, 1024, 4096, 768},
                                             {"124m mlp dw", true, false, 4096, 768, 1024},     {"124m head", false, true, 256, 50257, 768}};

// A product from f32 operands in buf (A, B, C), rounding included.
typedef struct own_product {
  const iso_kern_table *kern;
  iso_kslot slot;  // of a step's product; ISO_K_COUNT: a square
  iso_kcall call;
  iso_gemm square;
} own_product;

// As a training step runs it: NT is forward, NN the input's gradient, TN the weight's. Without matrices yet.
static own_product own_of(iso_ctx *c, const iso_kern_table *kern, const iso_probe_product *p, bool square) {
  int64_t ld = p->n + p->pad;
  own_product o = {.kern = kern, .slot = ISO_K_COUNT, .call = {.pool = c->pool}};
  if (square)
    o.square = (iso_gemm){.m = p->m, .n = p->n, .k = p->k, .lda = ld, .ldb = ld, .ldc = ld};
  else if (p->tb)
    o.slot = ISO_K_linear, o.call.d[0] = p->m, o.call.d[1] = p->n, o.call.d[2] = p->k;
  else if (p->ta)
    o.slot = ISO_K_linear_bwd, o.call.d[0] = p->k, o.call.d[1] = p->m, o.call.d[2] = p->n;
  else
    o.slot = ISO_K_linear_bwd, o.call.d[0] = p->m, o.call.d[1] = p->k, o.call.d[2] = p->n;
  return o;
}
static void own_bind(own_product *o, const iso_probe_product *p, float *buf) {
  int64_t pad = p->pad;
  float *b = buf + (p->m * (p->k + pad) + 15) / 16 * 16, *to = b + (p->k * (p->n + pad) + 15) / 16 * 16;
  memset(to, 0, (size_t)(p->m * (p->n + pad)) * sizeof *to);  // the weight's gradient is added to it
  o->square.a = buf;
  o->square.b = b;
  o->square.c = to;
  o->call.p[0] = buf;
  o->call.p[p->ta || p->tb ? 1 : 2] = b;
  o->call.p[p->tb ? 4 : p->ta ? 3 : 5] = to;
}
static size_t own_scratch(const own_product *o) {
  if (o->slot != ISO_K_COUNT) return o->kern->scratch(o->slot, o->call.d, iso_pool_threads(o->call.pool));
  return o->kern->bf16 ? iso_gemm_bf16_scratch(o->square.m, o->square.n, o->square.k, iso_pool_threads(o->call.pool)) : 0;
}

static double own_rate(iso_ctx *c, own_product *o, double flop, double seconds, unsigned char *scratch) {
  double best = NAN, start = iso_now_s(c), now = start;
  o->call.scratch = scratch;
  while (now - start < seconds && !iso_cancelled(c)) {
    if (o->slot != ISO_K_COUNT)
      o->kern->fn[o->slot](&o->call);
    else if (o->kern->bf16)
      iso_gemm_bf16(c->pool, &o->square, scratch, o->kern->bf16);
    else
      iso_gemm_f32(c->pool, &o->square);
    double took = iso_now_s(c) - now;
    now += took;
    if (!(took > 0)) break;
    if (!(flop / took <= best)) best = flop / took;
  }
  return best;
}

// One line; what NULL: a square.
static iso_status bench_product(iso_ctx *c, const iso_bench_gemm_opts *o, const char *what, iso_probe_product p, const iso_kern_table *kern,
                                iso_bench_line_fn line, void *arg, double *best, iso_err *err) {
  iso_probe_product f32 = p;
  bool native = kern->bf16 && kern->bf16->gemm;
  f32.cls = ISO_PROBE_f32;
  p.cls = o->prec == ISO_PREC_bf16 ? ISO_PROBE_bf16 : ISO_PROBE_f32;
  double seconds = o->seconds > 0 ? o->seconds : 0.5, own, tiles = NAN, library = NAN;
  own_product ours = own_of(c, kern, &f32, what == NULL);
  size_t bytes = (iso_probe_product_bytes(&f32) + 63) / 64 * 64, more = own_scratch(&ours);
  void *buf;
  ISO_TRY(iso_mem_get(c, bytes + more, "matrices of the bench", &buf, err));
  iso_probe_product_fill(&f32, buf);
  own_bind(&ours, &f32, buf);
  own = own_rate(c, &ours, 2.0 * (double)p.m * (double)p.n * (double)p.k, seconds, (unsigned char *)buf + bytes);
  if (o->prec == ISO_PREC_f32) tiles = own;
  if (o->prec == ISO_PREC_f32 || native) {
    iso_probe_product_fill(&p, buf);
    if (o->prec == ISO_PREC_bf16) tiles = iso_calibrate_product_rate(c, &p, ISO_PROBE_TILES, seconds, buf);
    library = iso_calibrate_product_rate(c, &p, ISO_PROBE_OPENMP, seconds, buf);
  }
  iso_mem_put(c, buf, bytes + more);
  if (iso_cancelled(c)) return iso_fail(err, ISO_ECANCEL, "bench stopped");
  *best = fmax(*best, fmax(tiles, library));
  return iso_bench_put(
      line, arg,
      json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:b, s:i, s:s, s:o, s:o}", "bench", "gemm", "what", what ? what : "square", "m", (json_int_t)p.m,
                "n", (json_int_t)p.n, "k", (json_int_t)p.k, "layout",
                p.ta   ? "TN"
                : p.tb ? "NT"
                       : "NN",
                "precision", iso_precision_name(o->prec), "emulated", o->prec == ISO_PREC_bf16 && !native, "threads", iso_pool_threads(c->pool),
                "kernels", kern->name, "our_flop_per_s", iso_json_num(own), "library_flop_per_s", iso_json_num(library)),
      err);
}

iso_status iso_bench_gemm(iso_ctx *c, const iso_bench_gemm_opts *o, iso_bench_line_fn line, void *arg, iso_err *err) {
  int64_t max = o->max > 0 ? o->max : 4096;
  const iso_kern_table *kern;
  double peak = NAN, other = NAN;
  iso_hw hw;
  ISO_TRY(iso_hw_detect(iso_pool_threads(c->pool), &hw, err));
  ISO_TRY(iso_kern_select(o->prec, &kern, err));
  bool native = kern->bf16 && kern->bf16->gemm;
  for (int64_t n = 1024; n <= max && n <= 4096; n *= 2)
    ISO_TRY(bench_product(c, o, NULL, (iso_probe_product){.m = n, .n = n, .k = n, .pad = ISO_CALIBRATE_PAD}, kern, line, arg, &peak, err));
  for (size_t i = 0; i < ISO_COUNT(STEP_PRODUCTS); i++) {
    const step_product *s = &STEP_PRODUCTS[i];
    ISO_TRY(
        bench_product(c, o, s->what, (iso_probe_product){.ta = s->ta, .tb = s->tb, .m = s->m, .n = s->n, .k = s->k}, kern, line, arg, &other, err));
  }
  return iso_bench_put(line, arg,
                       json_pack("{s:s, s:s, s:b, s:i, s:s, s:s, s:o}", "bench", "gemm", "precision", iso_precision_name(o->prec), "emulated",
                                 o->prec == ISO_PREC_bf16 && !native, "threads", iso_pool_threads(c->pool), "cpu", hw.name, "kernels", kern->name,
                                 "gemm_peak_flop_per_s", iso_json_num(peak)),
                       err);
}

// ---- tokenizer ------------------------------------------------------------------------------------------------------

enum { REPEATS_MAX = 64 };

static uint32_t ids_crc32(const iso_ids *ids) {
  uLong crc = crc32(0, NULL, 0);
  unsigned char le[4096];
  for (int64_t i = 0; i < ids->n;) {
    uInt k = 0;
    for (; k < sizeof le && i < ids->n; i++)
      for (int b = 0; b < 4; b++) le[k++] = (unsigned char)((uint32_t)ids->p[i] >> (8 * b));
    crc = crc32(crc, le, k);
  }
  return (uint32_t)crc;
}

// "seconds" is the median of the repeats; `o` is owned here.
static json_t *timed(json_t *o, double *s, int n, double bytes) {
  double lo = INFINITY, hi = 0;
  for (int i = 0; i < n; i++) {
    lo = fmin(lo, s[i]);
    hi = fmax(hi, s[i]);
  }
  double mid = iso_median(s, n);
  if (!o || json_object_set_new(o, "seconds", iso_json_num(mid)) || json_object_set_new(o, "seconds_min", iso_json_num(lo)) ||
      json_object_set_new(o, "seconds_max", iso_json_num(hi)) || json_object_set_new(o, "mb_per_s", iso_json_num(bytes / 1e6 / mid)) ||
      json_object_set_new(o, "bytes", json_integer((json_int_t)bytes))) {
    json_decref(o);
    return NULL;
  }
  return o;
}

static iso_status bench_tok_train(iso_ctx *c, const iso_bytes *text, int vocab, int repeats, iso_tok **out, json_t **row, iso_err *err) {
  double s[REPEATS_MAX];
  *out = NULL;
  for (int i = 0; i < repeats; i++) {
    iso_tok_close(*out);
    *out = NULL;
    double t0 = iso_now_s(c);
    ISO_TRY(iso_tok_train(c, &(iso_tok_train_opts){.vocab = vocab, .by_line = true}, text, 1, out, err));
    s[i] = iso_now_s(c) - t0;
  }
  json_t *o = json_pack("{s:s, s:s, s:i, s:i, s:I}", "bench", "tokenizer", "phase", "train", "threads", iso_pool_threads(c->pool), "vocab",
                        iso_tok_vocab(*out), "merges", (json_int_t)iso_tok_merges(*out));
  *row = timed(o, s, repeats, (double)text->n);
  return ISO_OK;
}

static iso_status bench_tok_encode(iso_ctx *c, const iso_tok *t, const iso_bytes *text, int repeats, json_t **row, iso_err *err) {
  double s[REPEATS_MAX];
  iso_ids ids = {0};
  iso_status st = ISO_OK;
  for (int i = 0; i < repeats; i++) {
    int64_t end;
    ids.n = 0;
    double t0 = iso_now_s(c);
    ISO_TRYG(iso_tok_encode_many(c, t, text, 1, &ids, &end, err));
    s[i] = iso_now_s(c) - t0;
  }
  char hex[16];
  (void)snprintf(hex, sizeof hex, "%08x", ids_crc32(&ids));
  json_t *o = json_pack("{s:s, s:s, s:i, s:i, s:I, s:s}", "bench", "tokenizer", "phase", "encode", "threads", iso_pool_threads(c->pool), "vocab",
                        iso_tok_vocab(t), "tokens", (json_int_t)ids.n, "ids_crc32", hex);
  *row = timed(o, s, repeats, (double)text->n);
done:
  iso_ids_free(&ids);
  return st;
}

iso_status iso_bench_tokenizer(iso_ctx *c, const iso_bench_tokenizer_opts *o, iso_bench_line_fn line, void *arg, iso_err *err) {
  int repeats = o->repeats > 0 ? o->repeats : 3, vocab = o->vocab > 0 ? o->vocab : 8192;
  iso_map map;
  iso_tok *tok = NULL;
  iso_ctx *one = NULL;
  json_t *row;
  if (repeats > REPEATS_MAX) return iso_fail(err, ISO_EINVAL, "bench tokenizer: %d repeats, at most %d", repeats, REPEATS_MAX);
  ISO_TRY(iso_map_open(o->file, &map, err));
  iso_bytes text = {map.data, map.size};
  iso_status st = ISO_OK;
  if (text.n == 0) {
    st = iso_fail(err, ISO_EINVAL, "bench tokenizer: %s is empty", o->file);
    goto done;
  }
  ISO_TRYG(bench_tok_train(c, &text, vocab, repeats, &tok, &row, err));
  ISO_TRYG(iso_bench_put(line, arg, row, err));
  if (o->out) ISO_TRYG(iso_tok_save_hf(c, tok, o->out, err));
  if (iso_pool_threads(c->pool) > 1) {
    ISO_TRYG(iso_ctx_open(1, &one, err));
    ISO_TRYG(bench_tok_encode(one, tok, &text, repeats, &row, err));
    ISO_TRYG(iso_bench_put(line, arg, row, err));
  }
  ISO_TRYG(bench_tok_encode(c, tok, &text, repeats, &row, err));
  st = iso_bench_put(line, arg, row, err);
done:
  if (one) iso_ctx_close(one);
  iso_tok_close(tok);
  iso_map_close(&map);
  return st;
}

// ---- fit ------------------------------------------------------------------------------------------------------------

iso_status iso_bench_fit(iso_ctx *c, const iso_fit_bench_opts *o, iso_bench_line_fn line, void *arg, iso_err *err) {
  json_t *all;
  iso_status st = ISO_OK;
  ISO_TRY(iso_fit_bench(c, o, &all, err));
  json_t *objective = json_object_get(all, "objectives"), *theta = json_object_get(all, "thetas");
  for (size_t i = 0; i < json_array_size(objective) && st == ISO_OK; i++) {
    json_t *row = json_pack("{s:I, s:O}", "resample", (json_int_t)i, "objective", json_array_get(objective, i));
    if (row && json_array_get(theta, i)) json_object_set(row, "theta", json_array_get(theta, i));
    st = iso_bench_put(line, arg, row, err);
  }
  json_object_del(all, "objectives");
  json_object_del(all, "thetas");
  if (st == ISO_OK) st = line(arg, all, err);
  json_decref(all);
  return st;
}
