// The training loop: losses against PyTorch, resume, replay, threads, micro-batches, scripted clocks, failures.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/json.h"
#include "base/rng.h"
#include "train/trainer.h"

static iso_ctx *open_ctx(int threads) {
  iso_ctx *c;
  iso_err err = {0};
  if (iso_ctx_open(threads, &c, &err) != ISO_OK || iso_kern_select(ISO_PREC_f32, &c->kern, &err) != ISO_OK) fail_msg("%s", err.msg);
  return c;
}

// ---- the golden run of tests/reference/torch_llama.py ---------------------------------------------------------------

static const uint64_t GOLD = UINT64_C(0x9E3779B97F4A7C15), SEED = 1;
static uint64_t hash(uint64_t a, uint64_t b) { return iso_rng_mix(iso_rng_mix(SEED + (a + 1) * GOLD) + (b + 1) * GOLD); }

static int32_t token(int64_t step, int64_t row, int64_t t) {
  uint64_t n = hash(1000000 + (uint64_t)step, (uint64_t)(row * 64 + t));
  if (n % 8 == 0) return (int32_t)((n >> 8) % 256);
  uint64_t k = (hash(2000000 + (uint64_t)step, (uint64_t)row) % 24 + 5 * (uint64_t)t) % 24;
  return (int32_t)((7 * k * k + 11 * k + 3) % 256);
}

static iso_status golden_batch(void *arg, int64_t first, int64_t n, int64_t t, int32_t *x, int32_t *y, iso_err *err) {
  (void)arg;
  (void)err;
  for (int64_t b = 0; b < n; b++)
    for (int64_t i = 0; i < t; i++) {
      x[b * t + i] = token((first + b) / 4, (first + b) % 4, i);
      y[b * t + i] = token((first + b) / 4, (first + b) % 4, i + 1);
    }
  return ISO_OK;
}

// Where the golden name "layer1.k.bias" lives: our tensor and the first row of its part.
static float *golden_place(const iso_model *m, const char *name, int64_t rows) {
  static const struct {
    const char *golden, *path;
    int skip;  // parts of `rows`-like blocks before it: 0, 1 = after q, 2 = after q and k
  } MAP[] = {{"embed", "embed", 0},
             {"positions", "positions", 0},
             {"final_norm", "norm.gain", 0},
             {"final_norm.bias", "norm.bias", 0},
             {"input_norm", "layers.*.norm1.gain", 0},
             {"norm1", "layers.*.norm1.gain", 0},
             {"norm1.bias", "layers.*.norm1.bias", 0},
             {"post_norm", "layers.*.norm2.gain", 0},
             {"norm2", "layers.*.norm2.gain", 0},
             {"norm2.bias", "layers.*.norm2.bias", 0},
             {"q", "layers.*.attn.qkv", 0},
             {"k", "layers.*.attn.qkv", 1},
             {"v", "layers.*.attn.qkv", 2},
             {"q.bias", "layers.*.attn.qkv.bias", 0},
             {"k.bias", "layers.*.attn.qkv.bias", 1},
             {"v.bias", "layers.*.attn.qkv.bias", 2},
             {"o", "layers.*.attn.out", 0},
             {"o.bias", "layers.*.attn.out.bias", 0},
             {"gate", "layers.*.mlp.up", 0},
             {"up", "layers.*.mlp.up", -1},
             {"up.bias", "layers.*.mlp.up.bias", 0},
             {"down", "layers.*.mlp.down", 0},
             {"down.bias", "layers.*.mlp.down.bias", 0}};
  int layer = 0;
  const char *rest = name;
  if (strncmp(name, "layer", 5) == 0) {
    layer = name[5] - '0';
    rest = name + 7;
  }
  for (size_t i = 0; i < ISO_COUNT(MAP); i++) {
    if (strcmp(MAP[i].golden, rest) != 0) continue;
    for (int t = 0; t < m->g->n_tensors; t++) {
      const iso_tensor *x = &m->g->tensor[t];
      if (x->role != ISO_ROLE_WEIGHT || strcmp(x->path, MAP[i].path) != 0) continue;
      int64_t cols = x->rank > 1 ? x->dim[1].coef : 1, q = m->config.heads * m->config.head_dim, row = 0;
      if (MAP[i].skip == 1) row = q;
      if (MAP[i].skip == 2) row = q + rows;
      if (MAP[i].skip == -1 && x->dim[0].coef == 2 * rows) row = rows;
      return iso_model_weight(m, t, layer) + row * cols;
    }
  }
  fail_msg("no place for %s", name);
  return NULL;
}

typedef struct trace {
  const json_t *losses, *norms;
  double worst_loss, worst_norm;
} trace;

static iso_status compare(void *arg, const iso_step_info *i, iso_err *err) {
  trace *t = arg;
  (void)err;
  double l = json_real_value(json_array_get(t->losses, (size_t)i->step - 1)), n = json_real_value(json_array_get(t->norms, (size_t)i->step - 1));
  t->worst_loss = fmax(t->worst_loss, fabs(i->loss - l) / l);
  t->worst_norm = fmax(t->worst_norm, fabs(i->grad_norm - n) / n);
  return ISO_OK;
}

static void run_golden(const json_t *doc, const char *arch) {
  const json_t *j = json_object_get(doc, arch), *t;
  size_t a;
  iso_err err = {0};
  iso_ctx *c = open_ctx(2);
  iso_model_config mc = {.vocab = 256,
                         .width = 64,
                         .layers = 2,
                         .heads = 4,
                         .kv_heads = strcmp(arch, "llama") == 0 ? 2 : 4,
                         .head_dim = 16,
                         .mlp = strcmp(arch, "llama") == 0 ? 160 : 256,
                         .ctx = 32,
                         .tied = true,
                         .norm_eps = 1e-5,
                         .rope_theta = 10000};
  strcpy(mc.arch, arch);
  iso_model *m;
  if (iso_model_open(c, &mc, &m, &err) != ISO_OK) fail_msg("%s", err.msg);
  json_array_foreach((json_t *)(uintptr_t)json_object_get(j, "tensors"), a, t) {
    int64_t n = 1, rows = json_integer_value(json_array_get(json_object_get(t, "shape"), 0));
    for (size_t i = 0; i < json_array_size(json_object_get(t, "shape")); i++) n *= json_integer_value(json_array_get(json_object_get(t, "shape"), i));
    float *w = golden_place(m, json_string_value(json_object_get(t, "name")), rows);
    bool one = strcmp(json_string_value(json_object_get(t, "init")), "one") == 0;
    for (int64_t i = 0; i < n; i++) w[i] = one ? 1.0f : (float)(0.08 * ((double)(hash(a, (uint64_t)i) >> 11) * 0x1p-52 - 1.0));
  }
  iso_train_opts o = iso_train_defaults();
  o.optim = "adamw";
  o.lr = 3e-3;
  o.batch = 4;
  o.seq = 32;
  o.steps = 20;
  o.warmup = 0;
  o.decay = 0;
  iso_trainer *tr;
  if (iso_trainer_open(c, m, &o, golden_batch, NULL, &tr, &err) != ISO_OK) fail_msg("%s", err.msg);
  trace tc = {json_object_get(j, "losses"), json_object_get(j, "grad_norms"), 0, 0};
  if (iso_trainer_run(tr, compare, &tc, &err) != ISO_OK) fail_msg("%s", err.msg);
  assert_int_equal(iso_trainer_step(tr), 20);
  print_message("%s: largest relative difference of loss %.2e, of gradient norm %.2e\n", arch, tc.worst_loss, tc.worst_norm);
  assert_true(tc.worst_loss < 1e-4);
  assert_true(tc.worst_norm < 1e-2);
  iso_trainer_close(tr);
  iso_model_close(m);
  iso_ctx_close(c);
}

static void test_against_pytorch(void **s) {
  (void)s;
  json_t *doc;
  iso_err err = {0};
  if (iso_json_load("tests/reference/torch_llama.json", &doc, &err) != ISO_OK) fail_msg("%s", err.msg);
  run_golden(doc, "llama");
  run_golden(doc, "gpt2");
  json_decref(doc);
}

// ---- the loop itself ------------------------------------------------------------------------------------------------

typedef struct fake_clock {
  double now, step_s;
  double slow_from, slow_to, slow;  // within these seconds every step takes `slow`
} fake_clock;
static double fake_now(void *self) { return ((fake_clock *)self)->now; }

typedef struct world {
  iso_ctx *c;
  iso_model *m;
  iso_trainer *t;
  fake_clock clock;
  bool poison;  // the next batch makes the loss NaN
  int cancel_at;
  double last_loss, last_lr;
} world;

static iso_status batch(void *arg, int64_t first, int64_t n, int64_t t, int32_t *x, int32_t *y, iso_err *err) {
  world *w = arg;
  w->clock.now += w->clock.now >= w->clock.slow_from && w->clock.now < w->clock.slow_to ? w->clock.slow : w->clock.step_s;
  if (w->poison) w->m->weights[3] = NAN;
  return golden_batch(NULL, first, n, t, x, y, err);
}

static iso_status on_step(void *arg, const iso_step_info *i, iso_err *err) {
  world *w = arg;
  (void)err;
  w->last_loss = i->loss;
  w->last_lr = i->lr;
  if (i->step == w->cancel_at) atomic_store(&w->c->cancel, 1);
  return ISO_OK;
}

static world *open_run(int threads, const char *optim, const iso_train_opts *base) {
  world *w = calloc(1, sizeof *w);
  iso_err err = {0};
  iso_model_config mc = {.vocab = 256,
                         .width = 32,
                         .layers = 3,
                         .heads = 2,
                         .kv_heads = 1,
                         .head_dim = 16,
                         .mlp = 48,
                         .ctx = 32,
                         .tied = true,
                         .norm_eps = 1e-5,
                         .rope_theta = 10000};
  strcpy(mc.arch, "llama");
  w->c = open_ctx(threads);
  if (iso_model_open(w->c, &mc, &w->m, &err) != ISO_OK) fail_msg("%s", err.msg);
  iso_model_init(w->m, 5);
  iso_train_opts o = *base;
  o.optim = optim;
  o.seq = 32;
  if (iso_trainer_open(w->c, w->m, &o, batch, w, &w->t, &err) != ISO_OK) fail_msg("%s", err.msg);
  return w;
}

static void close_run(world *w) {
  iso_trainer_close(w->t);
  iso_model_close(w->m);
  iso_ctx_close(w->c);
  free(w);
}

static iso_train_opts short_run(int64_t steps) {
  iso_train_opts o = iso_train_defaults();
  o.lr = 3e-3;
  o.batch = 4;
  o.steps = steps;
  o.warmup = 3;
  return o;
}

static void same_weights(const world *a, const world *b) { assert_memory_equal(a->m->weights, b->m->weights, (size_t)a->m->weight_bytes); }

static void test_threads_do_not_matter(void **s) {
  (void)s;
  const char *optims[] = {"adamw", "muon"};
  iso_train_opts o = short_run(12);
  for (int k = 0; k < 2; k++) {
    world *a = open_run(1, optims[k], &o), *b = open_run(3, optims[k], &o);
    assert_int_equal(iso_trainer_run(a->t, on_step, a, NULL), 0);
    assert_int_equal(iso_trainer_run(b->t, on_step, b, NULL), 0);
    same_weights(a, b);
    assert_true(a->last_loss < 5.4);
    close_run(a);
    close_run(b);
  }
}

// Micro-batches and recomputation are ways of execution: micro-batches add in another order, recomputation changes nothing.
static void test_micro_batches(void **s) {
  (void)s;
  iso_train_opts o = short_run(5), micro = o, re = o, few = o;
  micro.micro = 2;
  re.recompute = 2;
  few.recompute_layers = 1;
  few.recompute_cheap = 1;
  world *a = open_run(2, "adamw", &o), *b = open_run(2, "adamw", &micro), *c = open_run(2, "adamw", &re), *d = open_run(2, "adamw", &few);
  assert_int_equal(iso_trainer_run(a->t, on_step, a, NULL), 0);
  assert_int_equal(iso_trainer_run(b->t, on_step, b, NULL), 0);
  assert_int_equal(iso_trainer_run(c->t, on_step, c, NULL), 0);
  assert_int_equal(iso_trainer_run(d->t, on_step, d, NULL), 0);
  same_weights(a, c);
  same_weights(a, d);
  assert_true(fabs(a->last_loss - b->last_loss) < 1e-4 * a->last_loss);
  close_run(a);
  close_run(b);
  close_run(c);
  close_run(d);
}

// The length over the first micro-batch against a run whose whole batch is that micro-batch, step by step from the same weights; the length
// over all is what the run without measuring has, and the weights are the same bits. One target in seven is left out.
typedef struct noise_trace {
  double sq[6], tok[6], batch_tok[6], norm[6];
} noise_trace;
static iso_status note_noise(void *arg, const iso_step_info *i, iso_err *err) {
  noise_trace *t = arg;
  (void)err;
  t->sq[i->step - 1] = i->micro_sq;
  t->tok[i->step - 1] = i->micro_tok;
  t->batch_tok[i->step - 1] = i->batch_tok;
  t->norm[i->step - 1] = i->grad_norm;
  return ISO_OK;
}
static iso_status masked_batch(void *arg, int64_t first, int64_t n, int64_t t, int32_t *x, int32_t *y, iso_err *err) {
  (void)arg;
  ISO_TRY(golden_batch(NULL, first, n, t, x, y, err));
  for (int64_t i = 0; i < n * t; i++)
    if (((first + i / t) * 31 + i % t) % 7 == 0) y[i] = -1;
  return ISO_OK;
}

static void test_noise_is_that_of_the_first(void **s) {
  (void)s;
  iso_train_opts o = short_run(6);
  iso_err err = {0};
  noise_trace a = {0}, b = {0};
  o.micro = 1;
  world *off = open_run(2, "muon", &o);
  o.measure_gns = true;
  world *on = open_run(1, "muon", &o);
  iso_train_opts one = iso_trainer_opts(on->t)[0];
  for (world **w = (world *[]){off, on, NULL}; *w; w++) {  // masked targets instead of the golden ones
    iso_train_opts same = iso_trainer_opts((*w)->t)[0];
    iso_trainer_close((*w)->t);
    if (iso_trainer_open((*w)->c, (*w)->m, &same, masked_batch, NULL, &(*w)->t, &err) != ISO_OK) fail_msg("%s", err.msg);
  }
  one.batch = 1;
  one.measure_gns = false;
  for (int step = 0; step < 6; step++) {
    // The next step's first sequence alone, from the weights as they are before it.
    world *alone = open_run(1, "adamw", &one);
    iso_trainer_close(alone->t);
    memcpy(alone->m->weights, on->m->weights, (size_t)on->m->weight_bytes);
    if (iso_trainer_open(alone->c, alone->m, &one, masked_batch, NULL, &alone->t, &err) != ISO_OK) fail_msg("%s", err.msg);
    iso_trainer_state(alone->t)->window = 4 * step;
    noise_trace first = {0};
    assert_int_equal(iso_trainer_trunk(alone->t, 1, note_noise, &first, &err), ISO_OK);
    assert_true(isnan(first.sq[0]));
    close_run(alone);
    assert_int_equal(iso_trainer_trunk(on->t, 1, note_noise, &a, &err), ISO_OK);
    assert_int_equal(iso_trainer_trunk(off->t, 1, note_noise, &b, &err), ISO_OK);
    double want = first.norm[0] * first.norm[0];
    if (!(fabs(a.sq[step] - want) < 1e-4 * want)) fail_msg("step %d: %.9g over the first sequence, alone %.9g", step, a.sq[step], want);
    assert_true(a.norm[step] == b.norm[step] && isnan(b.sq[step]));
    assert_true(a.tok[step] > 20 && a.tok[step] < 32 && a.batch_tok[step] > 100 && a.batch_tok[step] < 128);
  }
  same_weights(on, off);
  // One micro-batch tells nothing of the noise.
  o.micro = 0;
  assert_int_equal(iso_train_opts_check(&o, &err), ISO_EINVAL);
  assert_non_null(strstr(err.hint, "--micro"));
  close_run(on);
  close_run(off);
}

static void test_resume_is_exact(void **s) {
  (void)s;
  char path[] = "/tmp/iso_ckpt_XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  const char *optims[] = {"adamw", "muon"};
  for (int k = 0; k < 2; k++) {
    iso_train_opts o = short_run(14);
    iso_err err = {0};
    world *a = open_run(2, optims[k], &o), *b = open_run(2, optims[k], &o), *c = open_run(1, optims[k], &o);
    assert_int_equal(iso_trainer_run(a->t, on_step, a, &err), 0);
    b->cancel_at = 9;  // in the middle of the decay
    assert_int_equal(iso_trainer_run(b->t, on_step, b, &err), ISO_ECANCEL);
    json_t *extra = json_pack("{s:i}", "mine", 42), *back = NULL;
    if (iso_trainer_save(b->t, path, extra, &err) != ISO_OK) fail_msg("%s", err.msg);
    if (iso_trainer_load(c->t, path, &back, &err) != ISO_OK) fail_msg("%s", err.msg);
    assert_int_equal(json_integer_value(json_object_get(back, "mine")), 42);
    assert_int_equal(iso_trainer_step(c->t), 9);
    assert_int_equal(iso_trainer_run(c->t, on_step, c, &err), 0);
    same_weights(a, c);
    json_decref(extra);
    json_decref(back);
    close_run(a);
    close_run(b);
    close_run(c);
  }
  unlink(path);
}

static void test_snapshot_branches(void **s) {
  (void)s;
  iso_train_opts o = short_run(30);
  world *a = open_run(2, "muon", &o), *b = open_run(2, "muon", &o);
  iso_snapshot *snap = NULL;
  assert_int_equal(iso_trainer_trunk(a->t, 10, on_step, a, NULL), 0);
  assert_int_equal(iso_snapshot_take(a->t, &snap, NULL), 0);
  assert_int_equal(iso_trainer_branch(a->t, 5, on_step, a, NULL), 0);
  iso_snapshot_restore(a->t, snap);
  assert_int_equal(iso_trainer_trunk(a->t, 4, on_step, a, NULL), 0);
  assert_int_equal(iso_trainer_trunk(b->t, 14, on_step, b, NULL), 0);
  same_weights(a, b);
  iso_snapshot_close(snap);
  close_run(a);
  close_run(b);
}

// A run bounded by the clock ends in time and fully decayed, also when the machine stalls; its factors repeat it.
static void test_deadline(void **s) {
  (void)s;
  static const double stall[][3] = {{1e9, 1e9, 0}, {60, 80, 5}, {95, 99, 2.5}, {0, 30, 3}};
  for (size_t k = 0; k < ISO_COUNT(stall); k++) {
    iso_train_opts o = short_run(1000);
    iso_err err = {0};
    world *w = open_run(2, "adamw", &o);
    w->clock = (fake_clock){.step_s = 1, .slow_from = stall[k][0], .slow_to = stall[k][1], .slow = stall[k][2]};
    w->c->clock = (iso_clock){fake_now, &w->clock};
    iso_trainer_deadline(w->t, 100);
    if (iso_trainer_run(w->t, on_step, w, &err) != ISO_OK) fail_msg("%s", err.msg);
    // Overrun by at most the step that was under way when the stall began.
    assert_true(w->clock.now <= 100 + fmax(0, stall[k][2] - 1));
    assert_true(w->clock.now >= 90);
    assert_true(w->last_lr < 0.15 * o.lr);
    int64_t n;
    const double *f = iso_trainer_factors(w->t, &n);
    world *again = open_run(1, "adamw", &o);
    again->clock.step_s = 7;  // another machine
    iso_trainer_replay(again->t, f, n);
    assert_int_equal(iso_trainer_run(again->t, on_step, again, &err), 0);
    same_weights(w, again);
    close_run(again);
    close_run(w);
  }
}

static void test_nan_is_caught(void **s) {
  (void)s;
  iso_train_opts o = short_run(10);
  iso_err err = {0};
  world *w = open_run(2, "adamw", &o);
  w->poison = true;
  assert_int_equal(iso_trainer_run(w->t, on_step, w, &err), ISO_ENUM);
  assert_non_null(strstr(err.msg, "not a number at step 1"));
  assert_int_equal(iso_trainer_step(w->t), 0);
  close_run(w);
}

// The planner's price of memory is what the trainer takes.
static void test_price(void **s) {
  (void)s;
  iso_train_opts o = short_run(10);
  o.optim = "adamw";
  iso_err err = {0};
  iso_train_price p;
  world *w = open_run(2, "adamw", &o);
  o.seq = 32;
  assert_int_equal(iso_train_price_of(&w->m->config, &o, w->c->kern, 2, &p, &err), 0);
  assert_true(p.mem_b == iso_exec_bytes(iso_trainer_exec(w->t)) + w->m->weight_bytes + 8 * o.batch * o.seq);
  assert_true(p.params == iso_model_params(w->m));
  close_run(w);
}

static void test_plugins(void **s) {
  (void)s;
  iso_ctx *c = open_ctx(2);
  iso_err err = {0};
  if (iso_optim_selftest(c, &err) != ISO_OK) fail_msg("%s", err.msg);
  if (iso_schedule_selftest(c, &err) != ISO_OK) fail_msg("%s", err.msg);
  iso_ctx_close(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_pytorch), cmocka_unit_test(test_threads_do_not_matter),
                                     cmocka_unit_test(test_micro_batches),   cmocka_unit_test(test_noise_is_that_of_the_first),
                                     cmocka_unit_test(test_resume_is_exact), cmocka_unit_test(test_snapshot_branches),
                                     cmocka_unit_test(test_deadline),        cmocka_unit_test(test_nan_is_caught),
                                     cmocka_unit_test(test_price),           cmocka_unit_test(test_plugins)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
