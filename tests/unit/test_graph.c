// Whole graphs: gradients against central differences in f64, recomputation, cost against counted operations, memory.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"
#include "graph/op.h"
#include "model/model.h"

static const iso_recompute NOTHING = {0};

typedef struct world {
  iso_ctx *ctx;
  iso_graph *g;
  iso_graph_io io;
  iso_exec *e;
  iso_model_config c;
  int64_t b, t;
} world;

static iso_model_config small(const char *arch, int64_t kv, bool tied) {
  iso_model_config c = {.vocab = 17,
                        .width = 12,
                        .layers = 5,
                        .heads = 2,
                        .kv_heads = kv,
                        .head_dim = 6,
                        .mlp = 10,
                        .ctx = 7,
                        .tied = tied,
                        .norm_eps = 1e-5,
                        .rope_theta = 100};
  strcpy(c.arch, arch);
  return c;
}

static void open_world(world *w, iso_model_config c, const iso_kern_table *kern, bool grad, iso_recompute re) {
  iso_err err = {0};
  const iso_arch *arch;
  *w = (world){.c = c, .b = 3, .t = c.ctx};
  assert_int_equal(iso_ctx_open(2, &w->ctx, &err), 0);
  w->ctx->kern = kern;
  assert_int_equal(iso_arch_find(c.arch, &arch, &err), 0);
  assert_int_equal(iso_graph_open(&w->g, &err), 0);
  assert_int_equal(arch->build(&c, &(iso_build){.mode = ISO_MODE_LOSS}, w->g, &w->io, &err), 0);
  if (grad && iso_pass_gradient(w->g, &err) != ISO_OK) fail_msg("%s", err.msg);
  if (kern->narrow) iso_pass_narrow(w->g);
  iso_exec_opts o = {.max = iso_bind_batch(w->b, w->t), .train = grad, .re = re};
  if (iso_exec_open(w->ctx, w->g, &o, &w->e, &err) != ISO_OK) fail_msg("%s", err.msg);
  int32_t *ids = iso_exec_at(w->e, w->io.ids, 0), *y = iso_exec_at(w->e, w->io.targets, 0);
  for (int64_t i = 0; i < w->b * w->t; i++) {
    ids[i] = (int32_t)iso_rng_below(1, ISO_RNG_TEST, 0, (uint64_t)i, c.vocab);
    y[i] = i == 5 ? -1 : (int32_t)iso_rng_below(1, ISO_RNG_TEST, 1, (uint64_t)i, c.vocab);
  }
  ((iso_hyp *)iso_exec_at(w->e, w->io.hyp, 0))->loss_scale = 0.25;
}

static void close_world(world *w) {
  iso_exec_close(w->e);
  iso_graph_close(w->g);
  iso_ctx_close(w->ctx);
}

// The same pseudo-random weights whatever the element type.
static void fill(world *w) {
  bool f64 = w->ctx->kern->elem == ISO_DTYPE_f64;
  int64_t bytes;
  void *p = iso_exec_buffer(w->e, ISO_ROLE_WEIGHT, &bytes);
  iso_bind one = {{1, 1, 1}};
  uint64_t k = 0;
  (void)p;
  for (int t = 0; t < w->g->n_tensors; t++) {
    if (w->g->tensor[t].role != ISO_ROLE_WEIGHT) continue;
    for (int c = 0; c < iso_tensor_copies(w->g, &w->g->tensor[t]); c++)
      for (int64_t i = 0; i < iso_tensor_elems(&w->g->tensor[t], &one); i++, k++) {
        double v = (double)(float)(0.3 * iso_rng_normal(7, ISO_RNG_TEST, 2, k) + (w->g->tensor[t].init_one ? 1 : 0));
        if (f64)
          ((double *)iso_exec_at(w->e, t, c))[i] = v;
        else
          ((float *)iso_exec_at(w->e, t, c))[i] = (float)v;
      }
  }
}

static double loss_of(world *w) {
  double *l = iso_exec_at(w->e, w->io.loss, 0);
  l[0] = l[1] = 0;
  iso_exec_run(w->e, ISO_SECTION_FORWARD);
  return l[0] * 0.25;
}

static void zero_grads(world *w) {
  int64_t bytes;
  void *p = iso_exec_buffer(w->e, ISO_ROLE_GRAD, &bytes);
  memset(p, 0, (size_t)bytes);
}

static void check_gradients(iso_model_config c) {
  world w;
  open_world(&w, c, &iso_kern_ref, true, NOTHING);
  fill(&w);
  zero_grads(&w);
  (void)loss_of(&w);
  iso_exec_run(w.e, ISO_SECTION_BACKWARD);
  int64_t bytes;
  double *grads = iso_exec_buffer(w.e, ISO_ROLE_GRAD, &bytes), *copy = malloc((size_t)bytes);
  memcpy(copy, grads, (size_t)bytes);
  iso_bind one = {{1, 1, 1}};
  for (int t = 0; t < w.g->n_tensors; t++) {
    const iso_tensor *x = &w.g->tensor[t];
    if (x->role != ISO_ROLE_WEIGHT) continue;
    assert_true(x->grad >= 0);
    int64_t n = iso_tensor_elems(x, &one) * iso_tensor_copies(w.g, x);
    for (int probe = 0; probe < 12; probe++) {
      int64_t i = iso_rng_below(3, ISO_RNG_TEST, (uint64_t)t, (uint64_t)probe, n);
      double *p = (double *)iso_exec_at(w.e, t, 0) + i, keep = *p, h = 1e-5;
      double g = copy[(double *)iso_exec_at(w.e, x->grad, 0) + i - grads];
      *p = keep + h;
      double up = loss_of(&w);
      *p = keep - h;
      double down = loss_of(&w);
      *p = keep;
      double num = (up - down) / (2 * h);
      if (fabs(num - g) > 1e-7 + 1e-6 * fabs(num))
        fail_msg("%s %s[%lld]: gradient %.10g, central difference %.10g", c.arch, x->path, (long long)i, g, num);
    }
  }
  free(copy);
  close_world(&w);
}

static void test_gradients(void **s) {
  (void)s;
  check_gradients(small("llama", 1, true));
  check_gradients(small("llama", 2, false));
  check_gradients(small("gpt2", 2, true));
}

// Recomputation changes memory, never a bit of the result, and runs what its price says.
static void check_recompute(const char *arch, iso_recompute re, const void *ref, int64_t act0) {
  const iso_kern_table *kern;
  iso_err err = {0};
  assert_int_equal(iso_kern_select(ISO_PREC_f32, &kern, NULL), 0);
  world w;
  int64_t bytes;
  open_world(&w, small(arch, 1, true), kern, true, re);
  fill(&w);
  (void)loss_of(&w);
  iso_exec_run(w.e, ISO_SECTION_BACKWARD);
  void *g = iso_exec_buffer(w.e, ISO_ROLE_GRAD, &bytes);
  if (memcmp(ref, g, (size_t)bytes) != 0) fail_msg("%s, groups of %d, first %d, cheap %d: other gradients", arch, re.every, re.layers, re.cheap);
  assert_true(iso_exec_layout(w.e)->bytes[ISO_ROLE_ACT] < act0);
  close_world(&w);
  open_world(&w, small(arch, 1, true), &iso_kern_ref, true, re);
  ((int32_t *)iso_exec_at(w.e, w.io.targets, 0))[5] = 1;
  fill(&w);
  iso_kcount f = {0}, k = {0};
  iso_graph_cost want;
  iso_bind b = iso_bind_batch(w.b, w.t);
  iso_exec_count(w.e, ISO_SECTION_FORWARD, &f);
  iso_exec_count(w.e, ISO_SECTION_BACKWARD, &k);
  assert_int_equal(iso_exec_cost(w.g, ISO_SECTION_BACKWARD, &b, 8, re, &want, &err), 0);
  assert_true(k.mat_flop == want.mat_flop && fabs(k.vec_flop - want.vec_flop) < 0.1 * k.vec_flop);
  close_world(&w);
}

static void test_recompute(void **s) {
  (void)s;
  const iso_kern_table *kern;
  assert_int_equal(iso_kern_select(ISO_PREC_f32, &kern, NULL), 0);
  static const char *const ARCHS[] = {"llama", "gpt2"};
  for (int a = 0; a < 2; a++) {
    world w;
    int64_t bytes;
    open_world(&w, small(ARCHS[a], 1, true), kern, true, NOTHING);
    fill(&w);
    (void)loss_of(&w);
    iso_exec_run(w.e, ISO_SECTION_BACKWARD);
    void *g = iso_exec_buffer(w.e, ISO_ROLE_GRAD, &bytes), *ref = malloc((size_t)bytes);
    int64_t act0 = iso_exec_layout(w.e)->bytes[ISO_ROLE_ACT];
    memcpy(ref, g, (size_t)bytes);
    close_world(&w);
    for (int every = 1; every <= 3; every++) check_recompute(ARCHS[a], (iso_recompute){.every = every}, ref, act0);
    for (int layers = 0; layers <= 4; layers++)
      for (int cheap = layers == 0; cheap <= 1; cheap++) check_recompute(ARCHS[a], (iso_recompute){.layers = layers, .cheap = cheap}, ref, act0);
    free(ref);
  }
}

// Each layer more that is recomputed frees one layer's values; cheap ones are the norms with their statistics and the activation.
static void test_recompute_frees(void **s) {
  (void)s;
  iso_model_config c = small("llama", 1, true);
  int64_t act[2][5];
  for (int cheap = 0; cheap <= 1; cheap++)
    for (int layers = 0; layers <= 4; layers++) {
      world w;
      open_world(&w, c, &iso_kern_ref, true, (iso_recompute){.layers = layers, .cheap = cheap});
      act[cheap][layers] = iso_exec_layout(w.e)->bytes[ISO_ROLE_ACT];
      close_world(&w);
    }
#define UP(n) (((n)*8 + 63) / 64 * 64)
  int64_t m = 3 * c.ctx, q = c.heads * c.head_dim, n = q + 2 * c.kv_heads * c.head_dim;
  int64_t few = 2 * UP(m * c.width) + 2 * UP(m) + UP(m * c.mlp),
          all = few + UP(m * n) + UP(m * q) + UP(m * c.heads) + UP(m * c.width) + UP(2 * m * c.mlp);
#undef UP
  assert_int_equal(act[0][0] - act[1][0], 4 * few);
  for (int layers = 1; layers <= 4; layers++) {
    assert_int_equal(act[0][layers - 1] - act[0][layers], all);
    assert_int_equal(act[1][layers - 1] - act[1][layers], all - few);
  }
  iso_err err = {0};
  iso_graph *g;
  iso_graph_io io;
  iso_arena_layout l;
  iso_graph_cost whole, part;
  iso_bind b = iso_bind_batch(3, c.ctx);
  assert_int_equal(iso_graph_open(&g, &err), 0);
  assert_int_equal(iso_arch_llama.build(&c, &(iso_build){.mode = ISO_MODE_LOSS}, g, &io, &err), 0);
  assert_int_equal(iso_pass_gradient(g, &err), 0);
  // Cheap values of the four layers below the last: two norms of 4 D + 4 and an activation of 6 F a row.
  assert_int_equal(iso_exec_cost(g, ISO_SECTION_BACKWARD, &b, 8, NOTHING, &whole, &err), 0);
  assert_int_equal(iso_exec_cost(g, ISO_SECTION_BACKWARD, &b, 8, (iso_recompute){.cheap = true}, &part, &err), 0);
  assert_true(part.vec_flop - whole.vec_flop == (double)(4 * m * (2 * (4 * c.width + 4) + 6 * c.mlp)));
  assert_int_equal(part.calls - whole.calls, 4 * 3);
  assert_int_equal(iso_pass_memory(g, &b, 8, true, (iso_recompute){.layers = 5}, &l, &err), ISO_EINVAL);
  assert_int_equal(iso_pass_memory(g, &b, 8, true, (iso_recompute){.every = 2, .cheap = true}, &l, &err), ISO_EINVAL);
  iso_graph_close(g);
}

// The fast kernels agree with ref on a whole model, and threads do not change a bit.
static void test_fast_against_ref(void **s) {
  (void)s;
  const iso_kern_table *kern;
  assert_int_equal(iso_kern_select(ISO_PREC_f32, &kern, NULL), 0);
  const char *archs[] = {"llama", "gpt2"};
  for (int a = 0; a < 2; a++) {
    world f, r;
    open_world(&f, small(archs[a], 2, true), kern, true, NOTHING);
    open_world(&r, small(archs[a], 2, true), &iso_kern_ref, true, NOTHING);
    fill(&f);
    fill(&r);
    double lf = loss_of(&f), lr = loss_of(&r);
    assert_true(fabs(lf - lr) < 1e-5 * fabs(lr));
    iso_exec_run(f.e, ISO_SECTION_BACKWARD);
    iso_exec_run(r.e, ISO_SECTION_BACKWARD);
    int64_t bf, br;
    float *gf = iso_exec_buffer(f.e, ISO_ROLE_GRAD, &bf);
    double *gr = iso_exec_buffer(r.e, ISO_ROLE_GRAD, &br), worst = 0, big = 0;
    iso_bind one = {{1, 1, 1}};
    for (int t = 0; t < f.g->n_tensors; t++) {
      if (f.g->tensor[t].role != ISO_ROLE_GRAD) continue;
      int64_t n = iso_tensor_elems(&f.g->tensor[t], &one) * iso_tensor_copies(f.g, &f.g->tensor[t]);
      float *x = iso_exec_at(f.e, t, 0);
      double *y = iso_exec_at(r.e, t, 0);
      for (int64_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)x[i] - y[i]));
        big = fmax(big, fabs(y[i]));
      }
    }
    (void)gf;
    (void)gr;
    assert_true(big > 0);
    if (worst > 2e-5 * big) fail_msg("%s: gradients differ by %g of %g", archs[a], worst, big);
    close_world(&f);
    close_world(&r);
  }
}

static const iso_tensor *named(const iso_graph *g, const char *path) {
  for (int t = 0; t < g->n_tensors; t++)
    if (strcmp(g->tensor[t].path, path) == 0) return &g->tensor[t];
  fail_msg("no tensor %s", path);
  return NULL;
}

// Length of x - y over that of y.
static double apart(const float *x, const float *y, int64_t n) {
  double off = 0, all = 0;
  for (int64_t i = 0; i < n; i++) {
    off += (double)((x[i] - y[i]) * (x[i] - y[i]));
    all += (double)(y[i] * y[i]);
  }
  return sqrt(off / all);
}

// Activations as bf16: what lies between products is, the stream and what keeps it is not; two bytes fewer each, in memory as in traffic; and the
// gradients are those of f32 activations but for the rounding, the same bits with recomputation.
static void test_narrow(void **s) {
  (void)s;
  static const char *const NARROW[] = {"layers.*.qkv", "layers.*.o", "layers.*.up", "layers.*.hidden", "d(layers.*.up)", "d(layers.*.qkv)"};
  static const char *const WIDE[] = {"stream", "d(stream)", "layers.*.mid", "layers.*.lse", "layers.*.mlp.up", "norm"};
  const iso_kern_table *kern = NULL, *f32 = NULL;
  iso_err err = {0};
  assert_int_equal(iso_kern_select(ISO_PREC_bf16, &kern, NULL), 0);
  assert_int_equal(iso_kern_select(ISO_PREC_f32, &f32, NULL), 0);
  for (int gpt2 = 0; gpt2 < 2; gpt2++) {
    world plain, w, again;
    iso_kern_table wide = *kern;
    wide.narrow = false;
    open_world(&plain, small(gpt2 ? "gpt2" : "llama", gpt2 ? 2 : 1, true), &wide, true, NOTHING);
    iso_bind b = iso_bind_batch(plain.b, plain.t);
    iso_graph_cost cw = iso_pass_cost(plain.g, ISO_SECTION_FORWARD, &b, 4);
    iso_arena_layout lw, ln;
    assert_int_equal(iso_pass_memory(plain.g, &b, 4, true, NOTHING, &lw, &err), 0);
    int64_t qkv = iso_tensor_bytes(named(plain.g, "layers.*.qkv"), &b, 4);
    fill(&plain);
    zero_grads(&plain);
    double lp = loss_of(&plain);
    iso_exec_run(plain.e, ISO_SECTION_BACKWARD);
    // The same graph once it is marked.
    iso_pass_narrow(plain.g);
    for (size_t i = 0; i < ISO_COUNT(NARROW); i++)
      if (!named(plain.g, NARROW[i])->narrow) fail_msg("%s is not narrow", NARROW[i]);
    for (size_t i = 0; i < ISO_COUNT(WIDE); i++)
      if (named(plain.g, WIDE[i])->narrow) fail_msg("%s is narrow", WIDE[i]);
    assert_true(named(plain.g, "layers.*.norm1")->narrow == !gpt2);  // LayerNorm's kernel reads its own result
    assert_int_equal(iso_tensor_bytes(named(plain.g, "layers.*.qkv"), &b, 4) * 2, qkv);
    iso_graph_cost cn = iso_pass_cost(plain.g, ISO_SECTION_FORWARD, &b, 4);
    assert_true(cn.mat_flop == cw.mat_flop && cn.vec_flop == cw.vec_flop && cn.read_b < cw.read_b && cn.write_b < cw.write_b);
    // Each layer's qkv is written by a linear layer, read and written by RoPE (not in GPT-2) and read by attention.
    double most = 2.0 * 5 * (double)qkv;
    assert_true(cw.read_b - cn.read_b > most / 4 && cw.write_b - cn.write_b > most / 4);
    assert_int_equal(iso_pass_memory(plain.g, &b, 4, true, NOTHING, &ln, &err), 0);
    assert_true(ln.bytes[ISO_ROLE_ACT] < lw.bytes[ISO_ROLE_ACT] && ln.bytes[ISO_ROLE_WEIGHT] == lw.bytes[ISO_ROLE_WEIGHT]);
    iso_arena_layout_close(&lw);
    iso_arena_layout_close(&ln);
    iso_exec *e = NULL;
    iso_exec_opts o = {.kern = f32, .max = b, .train = true};
    assert_int_equal(iso_exec_open(plain.ctx, plain.g, &o, &e, &err), ISO_EUNSUP);
    assert_null(e);
    if (kern->narrow) {
      open_world(&w, plain.c, kern, true, NOTHING);
      open_world(&again, plain.c, kern, true, (iso_recompute){.every = 2});
      fill(&w);
      fill(&again);
      zero_grads(&w);
      zero_grads(&again);
      double loss = loss_of(&w);
      assert_true(loss_of(&again) == loss && fabs(loss - lp) < 5e-3 * lp);
      iso_exec_run(w.e, ISO_SECTION_BACKWARD);
      iso_exec_run(again.e, ISO_SECTION_BACKWARD);
      world exact;
      open_world(&exact, plain.c, f32, true, NOTHING);
      fill(&exact);
      zero_grads(&exact);
      (void)loss_of(&exact);
      iso_exec_run(exact.e, ISO_SECTION_BACKWARD);
      int64_t bytes;
      const float *x = iso_exec_buffer(w.e, ISO_ROLE_GRAD, &bytes), *y = iso_exec_buffer(plain.e, ISO_ROLE_GRAD, &bytes);
      const float *z = iso_exec_buffer(exact.e, ISO_ROLE_GRAD, &bytes);
      double off = apart(x, z, bytes / 4), products = apart(y, z, bytes / 4);
      if (!(off < 0.06 && off < 2 * products)) fail_msg("gradients differ by %g of their length, by rounded products alone %g", off, products);
      close_world(&exact);
      assert_memory_equal(x, iso_exec_buffer(again.e, ISO_ROLE_GRAD, &bytes), (size_t)bytes);
      close_world(&w);
      close_world(&again);
    }
    close_world(&plain);
  }
}

// The FLOP count of the planner is the count of multiplications and additions that ref performs.
static void test_cost_is_counted(void **s) {
  (void)s;
  iso_model_config cs[] = {small("llama", 1, true), small("llama", 2, false), small("gpt2", 2, true)};
  for (size_t i = 0; i < ISO_COUNT(cs); i++) {
    world w;
    open_world(&w, cs[i], &iso_kern_ref, true, NOTHING);
    ((int32_t *)iso_exec_at(w.e, w.io.targets, 0))[5] = 1;  // the price knows of no ignored rows
    fill(&w);
    iso_kcount n = {0};
    iso_bind b = iso_bind_batch(w.b, w.t);
    iso_exec_count(w.e, ISO_SECTION_FORWARD, &n);
    iso_graph_cost f = iso_pass_cost(w.g, ISO_SECTION_FORWARD, &b, 8);
    assert_true(n.mat_flop == f.mat_flop);
    iso_exec_count(w.e, ISO_SECTION_BACKWARD, &n);
    iso_graph_cost k = iso_pass_cost(w.g, ISO_SECTION_BACKWARD, &b, 8);
    assert_true(n.mat_flop == f.mat_flop + k.mat_flop);
    // Elementwise work is stated to 10 %: kernels may order the same formula differently.
    assert_true(fabs(n.vec_flop - f.vec_flop - k.vec_flop) < 0.1 * n.vec_flop);
    // 6 x parameters x tokens + attention, with the embedding table counted as the head that it is tied to.
    iso_param_count p = iso_graph_params(w.g);
    if (strcmp(cs[i].arch, "llama") == 0) {
      double m = (double)(w.b * w.t), att = 12.0 * (double)(w.b * cs[i].heads * cs[i].head_dim * cs[i].layers) * (double)w.t * ((double)w.t + 1) / 2;
      assert_true(n.mat_flop == 6.0 * (double)(p.matrix + p.head) * m + att);
    }
    close_world(&w);
  }
}

// A model of a trillion parameters is priced without its memory.
static void test_price_of_a_trillion(void **s) {
  (void)s;
  iso_model_config c = {.vocab = 128000,
                        .width = 25600,
                        .layers = 128,
                        .heads = 200,
                        .kv_heads = 8,
                        .head_dim = 128,
                        .mlp = 76800,
                        .ctx = 8192,
                        .tied = false,
                        .norm_eps = 1e-5,
                        .rope_theta = 10000};
  strcpy(c.arch, "llama");
  iso_graph *g;
  iso_graph_io io;
  iso_err err = {0};
  assert_int_equal(iso_graph_open(&g, &err), 0);
  assert_int_equal(iso_arch_llama.build(&c, &(iso_build){.mode = ISO_MODE_LOSS}, g, &io, &err), 0);
  assert_int_equal(iso_pass_gradient(g, &err), 0);
  assert_true(iso_graph_params(g).all > 900000000000);
  iso_bind b = iso_bind_batch(512, 8192);
  assert_true(iso_pass_cost(g, ISO_SECTION_FORWARD, &b, 4).mat_flop > 1e18);
  iso_exec_opts o = {.max = b, .train = true, .re = {.every = 1}};
  int64_t bytes;
  assert_int_equal(iso_exec_price(g, &o, &iso_kern_ref, 2, &bytes, &err), 0);
  assert_true(bytes > INT64_C(10) << 40);
  iso_graph_close(g);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_gradients),       cmocka_unit_test(test_recompute),
                                     cmocka_unit_test(test_recompute_frees), cmocka_unit_test(test_fast_against_ref),
                                     cmocka_unit_test(test_cost_is_counted), cmocka_unit_test(test_price_of_a_trillion),
                                     cmocka_unit_test(test_narrow)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
