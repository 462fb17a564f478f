// Times steps and forward passes of small models, so that the step model knows this machine.
#include <malloc.h>
#include <math.h>

#include "base/rng.h"
#include "base/stat.h"
#include "measure/step_model.h"

// Small to large, so that what has been timed tells whether the next one still fits. Wide and narrow, small and large vocabulary,
// few and many rows: FLOPs, bytes and calls must not all grow together.
typedef struct probe {
  const char *shape;
  int64_t batch;
} probe;
static const probe PROBES[] = {{"2,64,2/2,192,512,64", 2},     {"2,32,1/1,96,2048,256", 4},     {"2,64,2/2,192,512,128", 16},
                               {"4,96,3/3,256,2048,256", 4},   {"4,128,2/2,384,2048,256", 4},   {"3,192,3/3,512,8192,256", 1},
                               {"6,256,4/4,704,4096,256", 2},  {"8,320,5/5,864,4096,256", 2},   {"8,320,5/5,864,4096,256", 8},
                               {"6,512,8/4,1408,8192,512", 2}, {"10,448,7/7,1216,8192,512", 4}, {"12,576,9/3,1536,8192,512", 4}};
enum { QUICK_PROBES = 8, STEPS = 5 };

static iso_status random_batch(void *arg, int64_t first, int64_t n, int64_t t, int32_t *x, int32_t *y, iso_err *err) {
  const int64_t *vocab = arg;
  (void)err;
  for (int64_t b = 0; b < n; b++)
    for (int64_t i = 0; i < t; i++) {
      uint64_t at = (uint64_t)((first + b) * t + i);
      x[b * t + i] = (int32_t)iso_rng_below(1, ISO_RNG_TEST, 0, at, *vocab);
      y[b * t + i] = (int32_t)iso_rng_below(1, ISO_RNG_TEST, 0, at + 1, *vocab);
    }
  return ISO_OK;
}

static void random_ids(void *arg, int64_t start, int64_t n, int32_t *out) {
  const int64_t *vocab = arg;
  for (int64_t i = 0; i < n; i++) out[i] = (int32_t)iso_rng_below(1, ISO_RNG_TEST, 1, (uint64_t)(start + i), *vocab);
}

// Median seconds of a step after the first, within about `limit_s`.
static iso_status time_steps(iso_ctx *c, iso_model *m, iso_train_opts *o, double limit_s, iso_meter *meter, double *out, iso_err *err) {
  iso_trainer *t;
  double s[STEPS], start = iso_now_s(c);
  int n = 0;
  ISO_TRY(iso_trainer_open(c, m, o, random_batch, &m->config.vocab, &t, err));
  iso_status st = ISO_OK;
  for (int i = 0; i <= STEPS && st == ISO_OK; i++) {
    double t0 = iso_now_s(c);
    st = iso_trainer_trunk(t, 1, NULL, NULL, err);
    double took = iso_now_s(c) - t0;
    if (i > 0) s[n++] = took;
    if (i == 0 && meter) iso_meter_sample(meter);  // between timed steps
    if (n > 0 && iso_now_s(c) - start + took > limit_s) break;
  }
  iso_trainer_close(t);
  *out = n > 0 ? iso_median(s, n) : NAN;
  return st;
}

// Seconds of one forward pass, the first dropped.
static iso_status time_forward(iso_ctx *c, iso_model *m, const iso_train_opts *o, iso_meter *meter, double *out, iso_err *err) {
  iso_eval *e;
  iso_loss loss;
  double s[3] = {NAN, NAN, NAN};
  ISO_TRY(iso_eval_open(m, o->batch, o->seq, &e, err));
  iso_status st = ISO_OK;
  for (int i = 0; i < 4 && st == ISO_OK; i++) {
    double t0 = iso_now_s(c);
    st = iso_eval_run(e, random_ids, &m->config.vocab, o->batch * o->seq + 1, 0, &loss, err);
    if (i > 0) s[i - 1] = iso_now_s(c) - t0;
    if (i == 0 && meter) iso_meter_sample(meter);
  }
  iso_eval_close(e);
  *out = iso_median(s, 3);
  return st;
}

// The probe's shape, options and price.
static iso_status price_probe(const iso_ctx *c, const probe *p, const iso_train_opts *base, iso_model_config *shape, iso_train_opts *o,
                              iso_train_price *price, iso_err *err) {
  ISO_TRY(iso_config_parse(p->shape, shape, err));
  *o = *base;
  o->batch = p->batch;
  o->micro = 0;
  o->seq = shape->ctx;
  o->steps = STEPS + 1;
  o->warmup = 0;
  return iso_train_price_of(shape, o, c->kern, iso_pool_threads(c->pool), price, err);
}

static iso_status time_probe(iso_ctx *c, const probe *p, const iso_train_opts *base, double left_s, iso_meter *meter, iso_step_model *m,
                             iso_err *err) {
  iso_model_config shape;
  iso_model *model = NULL;
  iso_train_opts o;
  iso_train_price price;
  iso_step_obs obs[2] = {{.weight = 1}, {.weight = 1}};
  ISO_TRY(price_probe(c, p, base, &shape, &o, &price, err));
  obs[0].work = iso_step_work_train(&price);
  ISO_TRY(iso_step_work_eval(&shape, o.batch, o.seq, c->kern, &obs[1].work, err));
  // Three steps and the forward passes, and the first step touches new memory.
  // Two probes cannot tell FLOPs from bytes: what they say of others is not to be trusted.
  double want = m->n >= 6 ? 3.5 * iso_step_model_predict(m, &obs[0].work).mean + 4 * iso_step_model_predict(m, &obs[1].work).mean : 0;
  if (want > left_s) return ISO_OK;
  ISO_TRY(iso_model_open(c, &shape, &model, err));
  iso_model_init(model, 0);
  iso_status st = time_steps(c, model, &o, left_s / 2, meter, &obs[0].seconds, err);
  if (st == ISO_OK) st = time_forward(c, model, &o, meter, &obs[1].seconds, err);
  if (st == ISO_OK) st = iso_step_model_refit(m, obs, 2, err);
  iso_model_close(model);
  (void)malloc_trim(0);  // what glibc keeps of freed blocks would add up over the probes
  return st;
}

static int probe_count(iso_calibrate_level level) { return level == ISO_CALIBRATE_FULL ? (int)ISO_COUNT(PROBES) : QUICK_PROBES; }

iso_status iso_calibrate_steps_ram_b(const iso_ctx *c, iso_calibrate_level level, const iso_train_opts *o, double *out, iso_err *err) {
  iso_train_opts base = o ? *o : iso_train_defaults(), opts;
  *out = 0;
  for (int i = 0; i < probe_count(level); i++) {
    iso_model_config shape;
    iso_train_price price;
    ISO_TRY(price_probe(c, &PROBES[i], &base, &shape, &opts, &price, err));
    *out = fmax(*out, (double)price.mem_b);
  }
  return ISO_OK;
}

iso_status iso_calibrate_steps(iso_ctx *c, iso_calibrate_level level, const iso_hw *hw, const iso_train_opts *o, iso_meter *m, iso_step_model *out,
                               iso_err *err) {
  iso_train_opts base = o ? *o : iso_train_defaults();
  int probes = probe_count(level);
  double limit_s = level == ISO_CALIBRATE_FULL ? 15 : 2.8, start = iso_now_s(c);
  ISO_TRY(iso_step_model_init(c, hw, out, err));
  iso_note(c, ISO_EVENT_PHASE, "calibrate", "timing steps of small models");
  for (int i = 0; i < probes; i++) {
    if (iso_cancelled(c)) return iso_fail(err, ISO_ECANCEL, "calibration stopped");
    ISO_TRY(time_probe(c, &PROBES[i], &base, limit_s - (iso_now_s(c) - start), m, out, err));
  }
  return ISO_OK;
}
