// Benchmarks training steps against the GEMM peak that is taken between them.
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "base/stat.h"
#include "measure/bench_impl.h"
#include "measure/calibrate.h"
#include "train/trainer.h"

enum { STEPS_MAX = 1000, PEAKS = 3, OPS_MAX = 64 };

// Batches of the bench table (the shapes; llm.c's own for GPT-2).
static const struct {
  const char *name;
  int64_t batch, seq;
} TABLE[] = {{"10m", 16, 256}, {"50m", 8, 512}, {"124m", 1, 1024}, {"gpt2-124m", 4, 64}};

static iso_status random_batch(void *arg, int64_t first, int64_t n, int64_t t, int32_t *x, int32_t *y, iso_err *err) {
  const int64_t *vocab = arg;
  (void)err;
  for (int64_t i = 0; i < n * t; i++) {
    x[i] = (int32_t)iso_rng_below(1, ISO_RNG_TEST, 0, (uint64_t)(first * t + i), *vocab);
    y[i] = (int32_t)iso_rng_below(1, ISO_RNG_TEST, 0, (uint64_t)(first * t + i) + 1, *vocab);
  }
  return ISO_OK;
}

typedef struct run {
  iso_ctx *c;
  iso_precision peak_prec;
  iso_trainer *t;
  double step_s[STEPS_MAX], peak[PEAKS];
  double loss;
  int n, warm;
} run;

static iso_status on_step(void *arg, const iso_step_info *info, iso_err *err) {
  run *r = arg;
  (void)err;
  if (info->step > r->warm) r->step_s[r->n++] = info->step_s;
  r->loss = info->loss;
  return ISO_OK;
}

static iso_status take_peak(run *r, int i, iso_err *err) { return iso_calibrate_gemm_peak(r->c, r->peak_prec, ISO_CALIBRATE_FULL, &r->peak[i], err); }

// Warm-up, peak, half the steps, peak, the other half, peak.
static iso_status time_steps(run *r, int64_t steps, iso_err *err) {
  ISO_TRY(iso_trainer_trunk(r->t, r->warm, on_step, r, err));
  ISO_TRY(take_peak(r, 0, err));
  ISO_TRY(iso_trainer_trunk(r->t, steps / 2, on_step, r, err));
  ISO_TRY(take_peak(r, 1, err));
  ISO_TRY(iso_trainer_trunk(r->t, steps - steps / 2, on_step, r, err));
  return take_peak(r, 2, err);
}

// Seconds by op of one more step.
static iso_status profile(run *r, json_t *out, iso_err *err) {
  iso_op_time op[OPS_MAX];
  iso_exec *e = iso_trainer_exec(r->t);
  int n = r->n;
  iso_exec_profile(e, true);
  ISO_TRY(iso_trainer_trunk(r->t, 1, on_step, r, err));
  double whole = r->step_s[n], sum = 0;
  r->n = n;
  int k = iso_exec_times(e, op, OPS_MAX);
  iso_exec_profile(e, false);
  json_t *rows = json_array();
  for (int i = 0; i <= k; i++) {
    double s = i < k ? op[i].s : whole - sum;
    sum += s;
    json_array_append_new(rows, json_pack("{s:s, s:f, s:f, s:I}", "op", i < k ? op[i].op : "(between calls)", "seconds", s, "share", s / whole,
                                          "calls", (json_int_t)(i < k ? op[i].calls : 0)));
  }
  return json_object_set_new(out, "profile", rows) ? iso_fail(err, ISO_ENOMEM, "bench: no memory for the profile") : ISO_OK;
}

static json_t *result(run *r, const iso_bench_train_opts *o, const iso_model_config *m, const iso_train_opts *t, const iso_train_price *p,
                      const iso_hw *hw) {
  double tokens = (double)(t->batch * t->seq), lo = INFINITY, hi = 0, s[STEPS_MAX], peaks[PEAKS];
  for (int i = 0; i < r->n; i++) {
    lo = fmin(lo, r->step_s[i]);
    hi = fmax(hi, r->step_s[i]);
  }
  memcpy(s, r->step_s, (size_t)r->n * sizeof *s);
  memcpy(peaks, r->peak, sizeof peaks);
  double mid = iso_median(s, r->n), peak = iso_median(peaks, PEAKS);
  // Causal attention, forward 2 T^2 H Hd a sequence and layer (half of QK' and of PV), backward twice that.
  double attention = 6.0 * (double)m->layers * (double)t->batch * (double)t->seq * (double)t->seq * (double)(m->heads * m->head_dim);
  double flop = 6.0 * (double)p->params * tokens + attention;
  char shape[128];
  return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:b, s:i, s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:s, s:[o,o,o], s:o, s:{s:o,s:o,s:o}, s:I, s:o}",
                   "bench", "train", "model", o->model, "shape", iso_config_print(m, shape, sizeof shape), "params", (json_int_t)p->params, "batch",
                   (json_int_t)t->batch, "seq", (json_int_t)t->seq, "precision", iso_precision_name(o->prec), "emulated",
                   strstr(r->c->kern->name, "emulated") != NULL, "threads", iso_pool_threads(r->c->pool), "cpu", hw->name, "kernels",
                   r->c->kern->name, "steps", r->n, "tok_per_s", iso_json_num(tokens / mid), "model_flop_per_s", iso_json_num(flop / mid),
                   "exec_flop_per_s", iso_json_num(p->exec_flop_step / mid), "gemm_peak_flop_per_s", iso_json_num(peak), "gemm_peak_precision",
                   iso_precision_name(r->peak_prec), "gemm_peaks", iso_json_num(r->peak[0]), iso_json_num(r->peak[1]), iso_json_num(r->peak[2]),
                   "mfu", iso_json_num(flop / mid / peak), "step_s", "median", iso_json_num(mid), "min", iso_json_num(lo), "max", iso_json_num(hi),
                   "mem_bytes", (json_int_t)p->mem_b, "loss", iso_json_num(r->loss));
}

static iso_status bench_with_kernels(iso_ctx *c, const iso_bench_train_opts *o, iso_bench_line_fn line, void *arg, iso_err *err) {
  run r = {.c = c, .warm = (int)(o->warmup > 0 ? o->warmup : 2), .loss = NAN};
  int64_t steps = o->steps > 0 ? o->steps : 9;
  iso_model_config shape;
  iso_train_opts t = iso_train_defaults();
  iso_train_price price;
  iso_model *m = NULL;
  iso_hw hw;
  json_t *out = NULL;
  if (steps > STEPS_MAX - 1 || o->warmup > STEPS_MAX) return iso_fail(err, ISO_EINVAL, "bench train: at most %d steps", STEPS_MAX - 1);
  // Emulated bf16 multiplies in f32, so that is what it is judged by.
  r.peak_prec = o->prec == ISO_PREC_bf16 && iso_calibrate_native_bf16(NULL) ? ISO_PREC_bf16 : ISO_PREC_f32;
  ISO_TRY(iso_hw_detect(iso_pool_threads(c->pool), &hw, err));
  ISO_TRY(iso_config_parse(o->model, &shape, err));
  t.optim = "adamw";
  t.lr = 3e-4;
  t.clip = 1.0;
  t.batch = 8;
  t.seq = shape.ctx;
  for (size_t i = 0; i < ISO_COUNT(TABLE); i++)
    if (strcmp(o->model, TABLE[i].name) == 0) {
      t.batch = TABLE[i].batch;
      t.seq = TABLE[i].seq;
    }
  if (o->batch > 0) t.batch = o->batch;
  if (o->seq > 0) t.seq = o->seq;
  t.steps = r.warm + steps + 1;
  t.warmup = 0;
  ISO_TRY(iso_train_price_of(&shape, &t, c->kern, iso_pool_threads(c->pool), &price, err));
  ISO_TRY(iso_model_open(c, &shape, &m, err));
  iso_model_init(m, 0);
  iso_status st;
  ISO_TRYG(iso_trainer_open(c, m, &t, random_batch, &m->config.vocab, &r.t, err));
  ISO_TRYG(time_steps(&r, steps, err));
  out = result(&r, o, &shape, &t, &price, &hw);
  if (out && o->profile) ISO_TRYG(profile(&r, out, err));
  st = iso_bench_put(line, arg, out, err);
  out = NULL;
done:
  json_decref(out);
  iso_trainer_close(r.t);
  iso_model_close(m);
  return st;
}

iso_status iso_bench_train(iso_ctx *c, const iso_bench_train_opts *o, iso_bench_line_fn line, void *arg, iso_err *err) {
  const iso_kern_table *was = c->kern;
  ISO_TRY(iso_kern_select(o->prec, &c->kern, err));
  iso_status st = bench_with_kernels(c, o, line, arg, err);
  c->kern = was;
  return st;
}
