// Planning and running the sweep.
#include "loop/sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/job.h"

enum { EVAL_WINDOWS = 8, MIN_STEPS = 10 };
// Budgets of the levels relative to the largest.
static const double LEVEL[ISO_SWEEP_LEVELS] = {0.3, 0.55, 1.0};
// Ladder steps from the optimum of the largest level: below it, at it, above it towards the final size; closer together where a
// small budget cannot pay for larger sizes.
enum { SPREADS = 2 };
static const int OFFSET[SPREADS][ISO_SWEEP_SHAPES] = {{-2, -1, 1, 3}, {-2, -1, 0, 1}};

// Steps actually taken for branches that end at `steps`: the trunk up to the last decay, and every decay.
static double steps_taken(const int64_t *steps, double decay) {
  double n = (double)steps[ISO_SWEEP_LEVELS - 1] * (1 - decay);
  for (int l = 0; l < ISO_SWEEP_LEVELS; l++) n += (double)steps[l] * decay;
  return n;
}

// Fills one model for the largest level's budget; false when a branch would be too short or too large.
static bool plan_model(iso_env *e, const iso_sweep_opts *o, int ladder, double flop, int64_t eval_tok, iso_sweep_model *m) {
  iso_err none = {0};
  if (!iso_recipe_shape(ladder, o->vocab, o->ctx, &m->config)) return false;
  m->ladder = ladder;
  for (int round = 0; round < 2; round++) {
    double params = round ? (double)m->price.params : 1e6, tokens = flop / (6 * params);
    m->opts = iso_recipe_opts(&m->config, tokens, o->seed);
    if (iso_train_price_of(&m->config, &m->opts, e->ctx->kern, iso_pool_threads(e->ctx->pool), &m->price, &none) != ISO_OK) return false;
  }
  double per = (double)(m->opts.batch * m->opts.seq);
  for (int l = 0; l < ISO_SWEEP_LEVELS; l++) m->steps[l] = (int64_t)(LEVEL[l] * flop / (6 * (double)m->price.params) / per + 0.5);
  if (m->steps[0] < MIN_STEPS || (double)(2 * m->price.mem_b) > o->peak_ram) return false;
  m->opts.steps = m->steps[ISO_SWEEP_LEVELS - 1] * 2;
  m->opts.warmup = m->steps[0] / 6 < 10 ? m->steps[0] / 6 : 10;
  iso_step_work w = iso_step_work_train(&m->price), ev;
  if (iso_step_work_eval(&m->config, EVAL_WINDOWS, o->ctx, e->ctx->kern, &ev, &none) != ISO_OK) return false;
  iso_est step = iso_step_model_predict(&e->steps, &w), pass = iso_step_model_predict(&e->steps, &ev);
  double taken = steps_taken(m->steps, m->opts.decay), passes = ISO_SWEEP_LEVELS * (double)eval_tok / (double)(EVAL_WINDOWS * o->ctx);
  iso_est s = {taken * step.lo + passes * pass.lo, taken * step.mean + passes * pass.mean, 1.3 * (taken * step.mean + passes * pass.mean) + 0.3};
  m->seconds = s.mean;
  m->pass_s = pass.mean;
  m->cost = iso_env_seconds(e, s);
  m->cost.train_flop = iso_est_exact(taken * m->price.model_flop_step);
  m->cost.infer_flop = iso_est_exact(ISO_SWEEP_LEVELS * iso_eval_flop(&m->config, eval_tok, o->ctx));
  m->cost.tok = iso_est_exact(taken * per);
  m->cost.moved = iso_est_exact(taken * m->price.bytes_step);
  double ram = 2.0 * (double)m->price.mem_b + 16e6;
  m->cost.peak_ram = iso_est_range(0.5 * ram, ram, 1.2 * ram);
  return true;
}

// The first model scores as many held-out tokens as a twentieth of the time buys, once.
static void plan_full_score(iso_env *e, const iso_sweep_opts *o, iso_sweep_plan *p) {
  iso_sweep_model *m = &p->model[0];
  double per = (double)(EVAL_WINDOWS * o->ctx), s = m->pass_s * o->val_tokens / per;
  if (isfinite(o->seconds) && s > 0.05 * o->seconds) s = 0.05 * o->seconds;
  p->full_tok = (int64_t)(s / m->pass_s * per);
  if (p->full_tok < 2 * p->eval_tok) {
    p->full_tok = 0;
    return;
  }
  iso_cost c = iso_env_seconds(e, iso_est_range(0.8 * s, s, 1.3 * s));
  c.infer_flop = iso_est_exact(iso_eval_flop(&m->config, p->full_tok, o->ctx));
  m->seconds += s;
  m->cost = iso_cost_serial(m->cost, c);
}

// Ladder index of the law's optimum at `flop`.
static int optimum(iso_env *e, const iso_sweep_opts *o, const iso_loss_law *law, double flop) {
  int best = 0;
  double low = INFINITY;
  iso_model_config c;
  (void)e;
  for (int i = 0; iso_recipe_shape(i, o->vocab, o->ctx, &c); i++) {
    double n = (double)(c.vocab * c.width + c.layers * c.width * (4 * c.width + 3 * c.mlp)), l = law->bpb(law->self, n, flop / (6 * n)).mean;
    if (l < low) {
      low = l;
      best = i;
    }
  }
  return best;
}

static bool plan_at(iso_env *e, const iso_sweep_opts *o, const iso_loss_law *law, double flop, int64_t eval_tok, int spread, iso_sweep_plan *p) {
  *p = (iso_sweep_plan){.key = {flop, eval_tok, spread}};
  p->eval_tok = o->val_tokens < (double)eval_tok ? (int64_t)o->val_tokens : eval_tok;
  if (p->eval_tok < o->ctx) p->eval_tok = o->ctx;
  for (int l = 0; l < ISO_SWEEP_LEVELS; l++) p->flop[l] = LEVEL[l] * flop;
  int at = optimum(e, o, law, flop), last = -1;
  if (at < 2) at = 2;
  p->cost = iso_cost_zero();
  for (int k = 0; k < ISO_SWEEP_SHAPES; k++) {
    int ladder = at + OFFSET[spread][k];
    if (ladder <= last || !plan_model(e, o, ladder, flop, p->eval_tok, &p->model[p->n])) continue;
    last = ladder;
    if (p->n == 0) plan_full_score(e, o, p);
    p->cost = iso_cost_serial(p->cost, p->model[p->n].cost);
    p->n++;
  }
  return p->n >= 3;
}

// The largest budget per point whose plan stays inside the share: bisection on its logarithm.
static bool largest_plan(iso_env *e, const iso_sweep_opts *o, const iso_loss_law *law, int64_t eval_tok, int spread, iso_sweep_plan *out) {
  iso_sweep_plan p;
  bool found = false;
  for (double lo = 18, hi = 60; hi - lo > 1e-3;) {
    double mid = 0.5 * (lo + hi);
    bool ok = plan_at(e, o, law, exp(mid), eval_tok, spread, &p), fits = ok && p.cost.wall.mean <= o->seconds &&
                                                                         p.cost.train_flop.mean <= o->train_flop && p.cost.tok.mean <= o->tokens &&
                                                                         p.cost.moved.mean <= o->moved;
    if (fits) *out = p;
    found = found || fits;
    // A plan that is too short for its smallest branches needs more, one that is too dear less.
    if (fits || !ok)
      lo = mid;
    else
      hi = mid;
  }
  return found;
}

// The smallest plan there is, and the budget whose share would pay for it.
static iso_status refuse(iso_env *e, const iso_sweep_opts *o, const iso_loss_law *law, iso_err *err) {
  iso_sweep_opts free = *o;
  iso_sweep_plan p;
  bool found = false;
  free.peak_ram = INFINITY;
  for (double x = 18; !found && x < 60; x += 0.02) found = plan_at(e, &free, law, exp(x), 2048, SPREADS - 1, &p);
  iso_fail(err, ISO_EBUDGET, "the sweep's share of the budget does not pay for three sizes at three token counts");
  iso_hint(err, ISO_EBUDGET, "give a larger --budget, or plan from the shipped law with isoflop train");
  if (!found || !(o->share > 0)) return ISO_EBUDGET;
  iso_cost need = iso_cost_times(p.cost, 1.05 / o->share);
  for (int r = 0; r < ISO_RES_COUNT; r++)
    if (iso_res_get((iso_res)r)->kind == ISO_KIND_CONSUMABLE) *iso_cost_at(&need, (iso_res)r) = iso_est_exact(iso_cost_get(&need, (iso_res)r).mean);
  iso_cost all = iso_cost_serial(iso_env_measured(e), need);
  iso_budget b = iso_run_budget(e->run);
  iso_err least = {0};
  if (iso_budget_fits(&b, &all, NULL)) return ISO_EBUDGET;
  (void)iso_budget_refuse(&b, &all, &need, "the sweep", &least);
  return iso_hint(err, ISO_EBUDGET, "%.200s; or plan from the shipped law with isoflop train", least.hint);
}

iso_status iso_sweep_plan_make(iso_env *e, const iso_sweep_opts *o, const iso_loss_law *law, iso_sweep_plan *out, iso_err *err) {
  // What an interrupted sweep has measured belongs to its plan: the rest of it is what is left to do.
  if (o->key.flop > 0 && plan_at(e, o, law, o->key.flop, o->key.eval_tok, o->key.spread, out)) return ISO_OK;
  // Scoring on fewer held-out tokens, then sizes closer together, where time is short.
  for (int spread = 0; spread < SPREADS; spread++)
    for (int64_t eval_tok = 16384; eval_tok >= 2048; eval_tok /= 2)
      if (largest_plan(e, o, law, eval_tok, spread, out)) return ISO_OK;
  return refuse(e, o, law, err);
}

// ---- running --------------------------------------------------------------------------------------------------------

typedef struct runner {
  iso_env *e;
  iso_phase phase;
  const iso_sweep_model *m;
  double deadline_s, loss;
  iso_store_sample curve[256];
  int n_curve;
} runner;

static iso_status on_step(void *arg, const iso_step_info *i, iso_err *err) {
  runner *r = arg;
  iso_meter_count(&r->phase.meter, ISO_RES_train_flop, r->m->price.model_flop_step);
  iso_meter_count(&r->phase.meter, ISO_RES_moved, r->m->price.bytes_step);
  iso_meter_count(&r->phase.meter, ISO_RES_tok, (double)(r->m->opts.batch * r->m->opts.seq));
  r->loss = isfinite(r->loss) ? 0.9 * r->loss + 0.1 * i->loss : i->loss;
  double now = iso_now_s(r->e->ctx), end = iso_env_end_s(r->e, NULL);
  if (i->step % 8 == 1) iso_meter_sample(&r->phase.meter);
  if (r->n_curve < (int)ISO_COUNT(r->curve) && !i->decaying && i->step % (r->m->steps[ISO_SWEEP_LEVELS - 1] / 128 + 1) == 0) {
    iso_store_sample s = iso_store_sample_blank();
    s.step = i->step;
    s.tokens = (double)i->tokens;
    s.t_s = now - r->e->ctx->start_s;
    s.train_loss = i->loss;
    s.lr = i->lr;
    s.grad_norm = i->grad_norm;
    r->curve[r->n_curve++] = s;
  }
  iso_event ev = iso_event_blank(ISO_EVENT_PROGRESS, "sweep");
  ev.step = i->step;
  ev.steps = r->m->steps[ISO_SWEEP_LEVELS - 1];
  ev.loss = r->loss;
  ev.tok_per_s = (double)(r->m->opts.batch * r->m->opts.seq) / i->step_s;
  ev.used_frac = isfinite(end) ? (now - r->e->ctx->start_s) / (end - r->e->ctx->start_s) : NAN;
  iso_emit(r->e->ctx, &ev);
  return now < r->deadline_s ? ISO_OK : iso_fail(err, ISO_EBUDGET, "the sweep's time is up");
}

static iso_status record(runner *r, const iso_sweep_point *p, const char *run, iso_err *err) {
  iso_store_point q = iso_store_point_blank();
  char label[64];
  (void)snprintf(label, sizeof label, "%.2fM x %.2fM tok", p->params / 1e6, p->tokens / 1e6);
  q.run = run;
  q.label = label;
  q.metric = "bits_per_byte";
  q.quality = p->bpb;
  q.n_params = p->params;
  q.d_tokens = p->tokens;
  q.flops = p->flop;
  // A branch shares its trunk with the others; alone it would have cost this.
  q.cost = iso_env_seconds(r->e, iso_est_exact(p->seconds));
  q.cost.train_flop = iso_est_exact(p->tokens / (double)(r->m->opts.batch * r->m->opts.seq) * r->m->price.model_flop_step);
  q.cost.tok = iso_est_exact(p->tokens);
  return iso_store_points_add(r->e->store, &q, 1, err);
}

static double bits_per_byte(const iso_env *e, double nats) { return nats / log(2) / e->val_bytes_per_tok; }

// Trunk and branches of one size. Windows of the held-out text differ in difficulty much as one model or another sees them, so the ratio of a
// first model's losses on all and on the sample corrects every later score on the sample.
static iso_status branches(runner *r, iso_model *m, iso_trainer *t, const iso_sweep_plan *plan, const char *run, iso_sweep_result *io, iso_err *err) {
  iso_snapshot *snap = NULL;
  iso_status st = ISO_OK;
  const iso_sweep_model *sm = r->m;
  int first = io->n;
  double hard = first > 0 ? io->p[0].bpb / bits_per_byte(r->e, io->p[0].nats) : 1;
  for (int l = 0; l < ISO_SWEEP_LEVELS && st == ISO_OK; l++) {
    int64_t decay = (int64_t)((double)sm->steps[l] * sm->opts.decay + 0.5), trunk = sm->steps[l] - decay - iso_trainer_step(t);
    if (trunk > 0) ISO_TRYG(iso_trainer_trunk(t, trunk, on_step, r, err));
    if (l + 1 < ISO_SWEEP_LEVELS) ISO_TRYG(iso_snapshot_take(t, &snap, err));
    ISO_TRYG(iso_trainer_branch(t, decay, on_step, r, err));
    iso_loss loss;
    ISO_TRYG(iso_job_eval(r->e, m, sm->opts.seq, plan->eval_tok, INFINITY, &loss, err));
    iso_meter_count(&r->phase.meter, ISO_RES_infer_flop, iso_eval_flop(&sm->config, loss.tokens, sm->opts.seq));
    iso_sweep_point *p = &io->p[io->n++];
    *p = (iso_sweep_point){
        .params = (double)sm->price.params, .tokens = (double)iso_trainer_tokens(t), .nats = loss.nats_per_tok, .ladder = sm->ladder, .level = l};
    p->flop = 6 * p->params * p->tokens;
    p->bpb = hard * bits_per_byte(r->e, p->nats);
    p->seconds = iso_trainer_step_s(t) * (double)iso_trainer_step(t);
    if (first == 0 && l == ISO_SWEEP_LEVELS - 1 && plan->full_tok > 0) {
      iso_loss full;
      ISO_TRYG(iso_job_eval(r->e, m, sm->opts.seq, plan->full_tok, INFINITY, &full, err));
      iso_meter_count(&r->phase.meter, ISO_RES_infer_flop, iso_eval_flop(&sm->config, full.tokens, sm->opts.seq));
      hard = full.nats_per_tok / loss.nats_per_tok;
      for (int i = 0; i < io->n; i++) io->p[i].bpb = hard * bits_per_byte(r->e, io->p[i].nats);
    }
    iso_note(r->e->ctx, ISO_EVENT_PHASE, "sweep", "%.2f M parameters, %.3f M tokens: %.3f bits per byte", p->params / 1e6, p->tokens / 1e6, p->bpb);
    if (l + 1 < ISO_SWEEP_LEVELS) iso_snapshot_restore(t, snap);
  }
done:
  iso_snapshot_close(snap);
  for (int i = first; i < io->n; i++) {
    iso_err none = {0};
    iso_status put = record(r, &io->p[i], run, st == ISO_OK ? err : &none);
    if (st == ISO_OK) st = put;
  }
  return st;
}

static iso_status one_model(iso_env *e, const iso_sweep_plan *plan, int k, double deadline_s, iso_sweep_result *io, iso_err *err) {
  runner *r = calloc(1, sizeof *r);
  if (!r) return iso_fail(err, ISO_ENOMEM, "no memory for a sweep");
  const iso_sweep_model *sm = &plan->model[k];
  *r = (runner){.e = e, .m = sm, .deadline_s = deadline_s, .loss = NAN};
  iso_job_feed feed = {e->data, sm->opts.seed};
  iso_model *m = NULL;
  iso_trainer *t = NULL;
  char run[ISO_RUN_ID] = "", label[64];
  iso_store_run row = iso_store_run_blank();
  row.kind = "sweep";
  row.parent = e->run_id;
  row.hw_id = e->hw.id;
  row.params = sm->price.params;
  row.seed = (int64_t)sm->opts.seed;
  iso_status st;
  (void)snprintf(label, sizeof label, "sweep %.2fM", (double)sm->price.params / 1e6);
  ISO_TRYG(iso_phase_start(e, label, &sm->cost, &r->phase, err));
  ISO_TRYG(iso_store_begin(e->store, &row, run, err));
  ISO_TRYG(iso_model_open(e->ctx, &sm->config, &m, err));
  iso_model_init(m, sm->opts.seed);
  ISO_TRYG(iso_trainer_open(e->ctx, m, &sm->opts, iso_job_batch, &feed, &t, err));
  st = branches(r, m, t, plan, run, io, err);
  if (isfinite(iso_trainer_step_s(t))) {
    io->step_s[k] = iso_trainer_step_s(t);
    iso_step_obs obs = {iso_step_work_train(&sm->price), iso_trainer_step_s(t), 4};
    iso_err none = {0};
    (void)iso_step_model_refit(&e->steps, &obs, 1, &none);
    // The largest model comes last and is the nearest to what will be chosen.
    e->pace = fmin(2, fmax(0.5, obs.seconds / iso_step_model_predict(&e->steps, &obs.work).mean));
  }
done:
  if (r->phase.hold) {
    iso_err none = {0};
    iso_status end = iso_phase_end(&r->phase, &none);
    if (st == ISO_OK && end != ISO_OK) {
      st = end;
      *err = none;
    }
  }
  if (run[0]) {
    iso_err none = {0};
    if (r->n_curve > 0) (void)iso_store_curve_add(e->store, run, r->curve, r->n_curve, &none);
    (void)iso_store_finish(e->store, run, st == ISO_OK ? "done" : st == ISO_ECANCEL ? "stopped" : "failed", &none);
  }
  iso_trainer_close(t);
  iso_model_close(m);
  free(r);
  return st;
}

iso_status iso_sweep_run(iso_env *e, const iso_sweep_plan *p, const iso_sweep_opts *o, double deadline_s, iso_sweep_saved_fn saved, void *arg,
                         iso_sweep_result *io, iso_err *err) {
  (void)o;
  for (int k = 0; k < p->n; k++) {
    bool have = false;
    int keep = 0;
    for (int i = 0; i < io->n; i++) have = have || (io->p[i].ladder == p->model[k].ladder && io->p[i].level == ISO_SWEEP_LEVELS - 1);
    if (have) continue;
    // A size that was cut short is run again as a whole.
    for (int i = 0; i < io->n; i++)
      if (io->p[i].ladder != p->model[k].ladder) io->p[keep++] = io->p[i];
    io->n = keep;
    iso_status st = one_model(e, p, k, deadline_s, io, err);
    if (st == ISO_EBUDGET || st == ISO_ENUM) {
      iso_env_note(e, ISO_EVENT_WARN, "sweep", "%s; going on with %d points", err->msg, io->n);
      if (st == ISO_EBUDGET) return ISO_OK;
      continue;
    }
    if (st != ISO_OK) return st;
    saved(arg, io);
  }
  return ISO_OK;
}

json_t *iso_sweep_key_json(const iso_sweep_key *k) {
  return json_pack("{s:f, s:I, s:i}", "flop", k->flop, "eval_tok", (json_int_t)k->eval_tok, "spread", k->spread);
}

iso_status iso_sweep_key_from_json(const json_t *j, iso_sweep_key *out, iso_err *err) {
  int64_t spread;
  *out = (iso_sweep_key){0};
  ISO_TRY(iso_json_get_f64(j, "flop", "sweep plan", &out->flop, err));
  ISO_TRY(iso_json_get_i64(j, "eval_tok", "sweep plan", 1, INT64_C(1) << 53, &out->eval_tok, err));
  ISO_TRY(iso_json_get_i64(j, "spread", "sweep plan", 0, SPREADS - 1, &spread, err));
  out->spread = (int)spread;
  return isfinite(out->flop) && out->flop >= 0 ? ISO_OK : iso_fail(err, ISO_EFORMAT, "sweep plan: flop is %g", out->flop);
}

json_t *iso_sweep_json(const iso_sweep_result *r) {
  json_t *a = json_array();
  for (int i = 0; a && i < r->n; i++)
    json_array_append_new(
        a, json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:i}", "params", r->p[i].params, "tokens", r->p[i].tokens, "flop", r->p[i].flop, "nats",
                     r->p[i].nats, "bpb", r->p[i].bpb, "seconds", r->p[i].seconds, "ladder", r->p[i].ladder, "level", r->p[i].level));
  return a;
}

iso_status iso_sweep_from_json(const json_t *j, iso_sweep_result *out, iso_err *err) {
  const char *what = "sweep";
  *out = (iso_sweep_result){0};
  if (json_array_size(j) > ISO_SWEEP_POINTS) return iso_fail(err, ISO_EFORMAT, "sweep: %zu points, at most %d", json_array_size(j), ISO_SWEEP_POINTS);
  for (size_t i = 0; i < json_array_size(j); i++) {
    const json_t *q = json_array_get(j, i);
    iso_sweep_point *p = &out->p[out->n++];
    int64_t ladder = 0, level = 0;
    ISO_TRY(iso_json_get_f64(q, "params", what, &p->params, err));
    ISO_TRY(iso_json_get_f64(q, "tokens", what, &p->tokens, err));
    ISO_TRY(iso_json_get_f64(q, "flop", what, &p->flop, err));
    ISO_TRY(iso_json_get_f64(q, "nats", what, &p->nats, err));
    ISO_TRY(iso_json_get_f64(q, "bpb", what, &p->bpb, err));
    ISO_TRY(iso_json_get_f64(q, "seconds", what, &p->seconds, err));
    ISO_TRY(iso_json_get_i64(q, "ladder", what, 0, 1000, &ladder, err));
    ISO_TRY(iso_json_get_i64(q, "level", what, 0, ISO_SWEEP_LEVELS - 1, &level, err));
    p->ladder = (int)ladder;
    p->level = (int)level;
  }
  return ISO_OK;
}

// ---- fitting --------------------------------------------------------------------------------------------------------

iso_status iso_sweep_fit_run(iso_env *e, const iso_sweep_result *r, int64_t resamples, uint64_t seed, iso_sweep_fit *out, iso_err *err) {
  *out = (iso_sweep_fit){0};
  iso_fit_data d;
  const double *law = iso_recipe_chinchilla();
  ISO_TRY(iso_fit_data_open(r->n, &d, err));
  double n0 = 0, d0 = 0, longest = 0, weight[ISO_SWEEP_POINTS], ref[ISO_SWEEP_POINTS];
  for (int i = 0; i < r->n; i++) longest = fmax(longest, r->p[i].tokens);
  for (int i = 0; i < r->n; i++) {
    d.params[i] = r->p[i].params;
    d.tokens[i] = r->p[i].tokens;
    d.flop[i] = r->p[i].flop;
    d.loss[i] = r->p[i].bpb;
    weight[i] = fmax(0.1, r->p[i].tokens / longest);  // runs of a few dozen steps lie above the law
    ref[i] = iso_recipe_law(r->p[i].params, r->p[i].tokens).mean;
    n0 += log(r->p[i].params) / r->n;
    d0 += log(r->p[i].tokens) / r->n;
  }
  // The shipped law knows the exponents, which short runs alone would get wrong; level and sizes of the terms are the text's own.
  iso_fit_prior prior = {.mean = {law[0] - law[3] * n0, law[1] - law[4] * d0, law[2], law[3], law[4]},
                         .sd = {0.2, 0.1, 0.1, 0.08, 0.03},
                         .scale_sd = 0.4,  // texts differ by a common factor: 0.63 for manual pages, 1.1 for Python, 1 for GCIDE
                         .anchor_params = exp(n0),
                         .anchor_tokens = exp(d0)};
  iso_fit_opts fo = iso_fit_opts_default();
  fo.resamples = resamples;
  fo.seed = seed;
  fo.prior = &prior;
  fo.weight = weight;
  fo.noise_sd = 0.008;
  fo.noise_dof = 4;
  iso_transfer_prior tp = iso_transfer_prior_default();  // a common factor again, and slopes that hardly differ (docs/decisions.md)
  iso_status st = iso_transfer_fit(&d, ref, weight, &tp, 0.9, &out->transfer, err);
  if (st == ISO_OK) st = iso_fit_run(e->ctx, &d, &fo, &out->fit, err);
  if (st == ISO_OK) {
    iso_parabola_opts po = iso_parabola_opts_default();
    iso_err why = {0};
    po.tolerance = 0.2;
    out->has_parabolas = iso_parabolas_fit(&d, &po, &out->parabolas, &why) == ISO_OK;
    if (!out->has_parabolas) (void)snprintf(out->parabolas_text, sizeof out->parabolas_text, "no parabolas: %.270s", why.msg);
  }
  iso_fit_data_close(&d);
  return st;
}

void iso_sweep_fit_close(iso_sweep_fit *f) { iso_fit_close(&f->fit); }

static iso_est carried_bpb(const void *self, double params, double tokens) {
  const iso_sweep_fit *f = self;
  iso_est ref = iso_recipe_law(params, tokens), l = iso_transfer_loss(&f->transfer, ref.mean, params, tokens);
  return iso_est_range(l.lo * ref.lo / ref.mean, l.mean, l.hi * ref.hi / ref.mean);
}

iso_loss_law iso_sweep_law(const iso_sweep_fit *f) { return (iso_loss_law){carried_bpb, f, "the shipped law carried over by this run's sweep"}; }
