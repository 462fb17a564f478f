// Sweeps devices, attention, sharing and micro-batches; scores each by the law at the tokens that the limits leave.
#include "plan/device_choice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FLOP, WALL, USD, ENERGY, CO2, TOK };  // of iso_train_limit

static const char *const GOAL[ISO_CHOICE_GOALS] = {"loss-per-usd", "tokens-per-usd", "tokens-per-s", "loss"};
static const char *const SHARE[ISO_CHOICE_SHARES] = {"DDP", "ZeRO-1", "ZeRO-2", "FSDP", "model parallel"};
static const char *const LIFT[ISO_CHOICE_LIFTS] = {"compute",  "memory bandwidth", "links inside a node", "links between nodes",
                                                   "launches", "memory capacity"};
const char *iso_choice_goal_name(iso_choice_goal g) { return (unsigned)g < ISO_CHOICE_GOALS ? GOAL[g] : "?"; }
const char *iso_choice_share_name(iso_choice_share s) { return (unsigned)s < ISO_CHOICE_SHARES ? SHARE[s] : "?"; }
const char *iso_choice_lift_name(iso_choice_lift l) { return (unsigned)l < ISO_CHOICE_LIFTS ? LIFT[l] : "?"; }

iso_status iso_choice_goal_find(const char *name, iso_choice_goal *out, iso_err *err) {
  for (int g = 0; g < ISO_CHOICE_GOALS; g++)
    if (strcmp(name, GOAL[g]) == 0) {
      *out = (iso_choice_goal)g;
      return ISO_OK;
    }
  iso_fail(err, ISO_EINVAL, "no objective \"%.40s\"", name);
  return iso_hint(err, ISO_EINVAL, "%s, %s, %s or %s", GOAL[0], GOAL[1], GOAL[2], GOAL[3]);
}

// The sweep on one entry of the request.
typedef struct sweep {
  const iso_choice_req *q;
  const iso_choice_devices *d;
  int at;
  double params, flop_tok;
  iso_choice_run best[2][ISO_CHOICE_SHARES];  // by flash; steps 0: none
  int64_t tried, too_big;
  iso_layout_mem leanest;
  iso_err why;  // of a layout that fits and yet counts for nothing
} sweep;

// ---- the score ------------------------------------------------------------------------------------------------------

static double score_of(const iso_choice_req *q, double tokens, double loss, double usd, double wall_s) {
  double drop = log((double)q->job.shape.vocab) - loss;
  switch (q->goal) {
    case ISO_CHOICE_LOSS_PER_USD: return drop / usd;
    case ISO_CHOICE_TOKENS_PER_USD: return tokens / usd;
    case ISO_CHOICE_TOKENS_PER_S: return tokens / wall_s;
    default: return -loss;
  }
}

// The run at a step that takes `slow` times its expected seconds: tokens, their costs and the score.
static double run_at(const sweep *s, const iso_choice_run *r, double slow, double *tokens, double *use) {
  const iso_choice_req *q = s->q;
  double tok = (double)(q->job.batch * q->job.shape.seq), per[ISO_TRAIN_LIMITS];
  per[FLOP] = s->flop_tok;
  per[WALL] = slow * r->step.step_s / tok;
  per[USD] = slow * r->step.usd / tok;
  per[ENERGY] = slow * r->step.joule / tok;
  per[CO2] = per[ENERGY] / 3.6e6 * q->g_per_kwh;
  per[TOK] = 1;
  *tokens = floor(iso_train_tokens_of(&q->budget, per) / tok * (1 + 1e-12)) * tok;
  for (int i = 0; i < ISO_TRAIN_LIMITS; i++) use[i] = *tokens * per[i];
  if (!(*tokens > 0)) return NAN;
  double loss = iso_train_loss(q->law, q->set, q->x, s->params, iso_est_exact(*tokens), NULL).mean;
  return score_of(q, *tokens, loss, use[USD], use[WALL]);
}

static iso_est span(double a, double mid, double b) { return iso_est_range(fmin(mid, fmin(a, b)), mid, fmax(mid, fmax(a, b))); }

static void settle(const sweep *s, iso_choice_run *r) {
  const iso_choice_req *q = s->q;
  double mid[ISO_TRAIN_LIMITS], fast[ISO_TRAIN_LIMITS], slow[ISO_TRAIN_LIMITS], t, t_fast, t_slow, up = r->step.hi_s / r->step.step_s,
                                                                                                   down = r->step.lo_s / r->step.step_s;
  double score = run_at(s, r, 1, &t, mid);
  if (isnan(up)) up = down = 1;  // how far off steps are is not known
  double low = run_at(s, r, up, &t_slow, slow), high = run_at(s, r, down, &t_fast, fast);
  if (isnan(low)) low = q->goal == ISO_CHOICE_LOSS ? -INFINITY : 0;
  r->score = span(low, score, high);
  r->steps = t / (double)(q->job.batch * q->job.shape.seq);
  r->tokens = span(t_slow, t, t_fast);
  r->loss = iso_train_loss(q->law, q->set, q->x, s->params, r->tokens.lo > 0 ? r->tokens : iso_est_exact(t), NULL);
  r->wall_s = span(slow[WALL], mid[WALL], fast[WALL]);
  r->usd = span(slow[USD], mid[USD], fast[USD]);
  r->joule = span(slow[ENERGY], mid[ENERGY], fast[ENERGY]);
  r->co2_g = span(slow[CO2], mid[CO2], fast[CO2]);
  r->tok_per_usd = t / mid[USD];
  r->loss_per_usd = (log((double)q->job.shape.vocab) - r->loss.mean) / mid[USD];
}

// ---- one kind of attention and sharing ------------------------------------------------------------------------------

static void why_not(sweep *s, iso_status st, const char *text) {
  if (!s->why.msg[0]) iso_fail(&s->why, st, "%s", text);
}

static void offer(sweep *s, const iso_layout_job *job, const iso_layout *l, iso_choice_share share) {
  const iso_choice_req *q = s->q;
  iso_choice_run r = {.at = s->at, .flash = job->flash, .share = share, .layout = *l}, *best = &s->best[job->flash][share];
  double tokens, use[ISO_TRAIN_LIMITS];
  if (iso_layout_check(job, l, NULL) != ISO_OK) return;
  s->tried++;
  iso_layout_memory(job, l, &r.memory);
  if (!(s->leanest.total_b <= r.memory.total_b)) s->leanest = r.memory;
  if (iso_layout_fits(s->d->machine, &r.memory, NULL) != ISO_OK) {
    s->too_big++;
    return;
  }
  iso_err e = {0};
  if (iso_layout_step_cost(job, s->d->machine, s->d->cal, l, &r.step, &e) != ISO_OK) {
    why_not(s, e.status, e.msg);
    return;
  }
  bool priced = q->goal == ISO_CHOICE_LOSS_PER_USD || q->goal == ISO_CHOICE_TOKENS_PER_USD;
  if (!(r.step.usd > 0) && (priced || (isnan(r.step.usd) && q->budget.usd < INFINITY))) {
    why_not(s, ISO_EUNSUP, "its price is not known");
    return;
  }
  r.score.mean = run_at(s, &r, 1, &tokens, use);
  if (isnan(r.score.mean)) {
    why_not(s, ISO_EBUDGET, "the budget does not pay for one step");
    return;
  }
  // Of equal scores (a token count scored by loss) the faster one.
  if (best->steps > 0 && (r.score.mean < best->score.mean || (r.score.mean == best->score.mean && r.step.step_s >= best->step.step_s))) return;
  r.steps = 1;
  *best = r;
}

static void data_parallel(sweep *s, const iso_layout_job *job) {
  const iso_choice_req *q = s->q;
  int64_t n = s->d->devices;
  for (int zero = 0; zero <= (n > 1 ? 3 : 0); zero++)
    for (int64_t mb = 1; mb <= q->max_micro_batch && mb * n <= q->job.batch; mb++)
      for (int r = ISO_LAYOUT_KEEP; r <= ISO_LAYOUT_FULL; r++) {
        if (q->job.batch % (mb * n) || (job->flash && r == ISO_LAYOUT_SELECTIVE)) continue;
        iso_layout l = iso_layout_default();
        l.data = n;
        l.zero = zero;
        l.micro_batch = mb;
        l.recompute = (iso_layout_recompute)r;
        offer(s, job, &l, (iso_choice_share)zero);
      }
}

static iso_status any_layout(sweep *s, const iso_layout_job *job, iso_err *err) {
  iso_layout_search_opts o = iso_layout_search_opts_default(s->d->machine, s->d->devices);
  iso_layout_search f;
  iso_err e = {0};
  o.devices_min = s->d->devices;
  o.max_micro_batch = s->q->max_micro_batch;
  iso_status st = iso_layout_search_run(job, s->d->machine, s->d->cal, &o, &f, &e);
  if (st == ISO_ENOMEM || st == ISO_EINVAL) return ISO_OK;  // data parallelism says why
  if (st != ISO_OK) {
    if (err) *err = e;
    return st;
  }
  for (int64_t i = 0; i < f.n + ISO_LAYOUT_GOALS; i++) {
    const iso_layout *l = i < ISO_LAYOUT_GOALS ? &f.best[i].layout : &f.front[i - ISO_LAYOUT_GOALS].layout;
    if (l->tensor * l->pipeline * l->context > 1) offer(s, job, l, ISO_CHOICE_MODEL);
  }
  iso_layout_search_close(&f);
  return ISO_OK;
}

// Every way to train on these devices.
static iso_status sweep_at(sweep *s, bool tables, iso_err *err) {
  for (int flash = 0; flash < 2; flash++) {
    if (!(flash ? s->q->flash : s->q->plain)) continue;
    iso_layout_job job = s->q->job;
    job.flash = flash;
    job.tables = NULL;
    if (tables && s->d->device) iso_layout_job_use(&job, s->d->device);
    data_parallel(s, &job);
    if (s->q->model_parallel && s->d->devices > 1) ISO_TRY(any_layout(s, &job, err));
  }
  return ISO_OK;
}

static sweep sweep_of(const iso_choice_req *q, int at, double params) {
  double x[ISO_LAW_INPUT_MAX];
  memcpy(x, q->x, sizeof x);
  x[q->law->at_params] = params;
  return (sweep){.q = q,
                 .d = &q->at[at],
                 .at = at,
                 .params = params,
                 .flop_tok = q->law->flop_per_tok ? q->law->flop_per_tok(x) : ISO_LAW_FLOP_PER_PARAM_TOK * params,
                 .leanest.total_b = INFINITY};
}

static void say_left_out(const sweep *s, iso_err *err) {
  const iso_layout_machine *m = s->d->machine;
  if (s->why.msg[0])
    *err = s->why;
  else if (s->tried)
    iso_fail(err, ISO_ENOMEM, "none of %lld layouts fits: the leanest needs %.0f bytes a device (%.2f GiB), there are %.0f (%.2f GiB)",
             (long long)s->tried, s->leanest.total_b, s->leanest.total_b / 0x1p30, m->mem_b, m->mem_b / 0x1p30);
  else
    iso_fail(err, ISO_EINVAL, "a batch of %lld sequences does not divide by %lld devices", (long long)s->q->job.batch, (long long)s->d->devices);
}

// ---- what holds the best back ---------------------------------------------------------------------------------------

// Fastest step of any attention and sharing.
static double fastest(const sweep *s) {
  double least = INFINITY;
  for (int f = 0; f < 2; f++)
    for (int k = 0; k < ISO_CHOICE_SHARES; k++)
      if (s->best[f][k].steps > 0) least = fmin(least, s->best[f][k].step.step_s);
  return least;
}

static void twice(iso_choice_lift lift, iso_layout_machine *m, iso_layout_cal *c) {
  switch (lift) {
    case ISO_CHOICE_LIFT_COMPUTE:
      m->peak_flop_s *= 2;
      m->peak8_flop_s *= 2;
      break;
    case ISO_CHOICE_LIFT_MEMORY: m->mem_b_s *= 2; break;
    case ISO_CHOICE_LIFT_INTRA:
      m->intra_b_s *= 2;
      m->intra_lat_s /= 2;
      break;
    case ISO_CHOICE_LIFT_INTER:
      m->inter_b_s *= 2;
      m->inter_lat_s /= 2;
      break;
    case ISO_CHOICE_LIFT_LAUNCH:
      c->v[ISO_LAYOUT_CAL_launch_s] /= 2;
      c->v[ISO_LAYOUT_CAL_launch_tp_s] /= 2;
      c->v[ISO_LAYOUT_CAL_unfused_s] /= 2;
      c->v[ISO_LAYOUT_CAL_kernel_s] /= 2;
      break;
    default: m->mem_b *= 2; break;
  }
}

static iso_status lifts(const iso_choice_req *q, iso_choice *out, iso_err *err) {
  int at = out->run[0].at;
  iso_choice_req r = *q;
  r.budget = iso_budget_none();  // speed alone: a batch's worth of tokens
  r.budget.tok = (double)(q->job.batch * q->job.shape.seq);
  r.goal = ISO_CHOICE_TOKENS_PER_S;
  sweep base = sweep_of(&r, at, out->params);
  ISO_TRY(sweep_at(&base, false, err));
  for (int k = 0; k < ISO_CHOICE_LIFTS; k++) {
    iso_layout_machine m = *q->at[at].machine;
    iso_layout_cal c = *q->at[at].cal;
    iso_choice_devices d = q->at[at];
    twice((iso_choice_lift)k, &m, &c);
    d.machine = &m;
    d.cal = &c;
    sweep s = sweep_of(&r, at, out->params);
    s.d = &d;
    ISO_TRY(sweep_at(&s, false, err));
    out->lift[k] = fastest(&base) / fastest(&s) - 1;
    if (out->lift[k] > out->lift[out->binding]) out->binding = (iso_choice_lift)k;
  }
  return ISO_OK;
}

// ---- all of it ------------------------------------------------------------------------------------------------------

static int by_score(const void *a, const void *b) {
  const iso_choice_run *x = a, *y = b;
  if (x->score.mean != y->score.mean) return x->score.mean > y->score.mean ? -1 : 1;
  if (x->step.step_s != y->step.step_s) return x->step.step_s < y->step.step_s ? -1 : 1;
  return (x->at > y->at) - (x->at < y->at);
}

static iso_status check(const iso_choice_req *q, iso_err *err) {
  double unused, x[ISO_LAW_INPUT_MAX];
  const iso_layout_shape *s = &q->job.shape;
  ISO_TRY(iso_layout_shape_check(s, err));
  if (s->experts) return iso_fail(err, ISO_EUNSUP, "choice of devices: %s is a mixture of experts, the law is of dense models", s->name);
  if (q->law->at_params < 0 || q->law->at_tokens < 0)
    return iso_fail(err, ISO_EINVAL, "law %s does not split a budget between parameters and tokens", q->law->base.name);
  if (strcmp(q->law->unit, "nats per token") != 0)
    return iso_fail(err, ISO_EUNSUP, "choice of devices: the loss of law %s is in \"%s\", expected nats per token", q->law->base.name, q->law->unit);
  memcpy(x, q->x, sizeof x);
  x[q->law->at_params] = x[q->law->at_tokens] = 1e9;
  ISO_TRY(iso_law_predict_const(q->law, q->set, x, &unused, err));
  if (q->n < 1 || q->n > ISO_CHOICE_DEVICES_MAX)
    return iso_fail(err, ISO_EINVAL, "choice of devices: %d kinds and counts, expected 1 to %d", q->n, ISO_CHOICE_DEVICES_MAX);
  if (q->max_micro_batch < 1) return iso_fail(err, ISO_EINVAL, "choice of devices: micro-batch of at most %lld", (long long)q->max_micro_batch);
  if (!q->flash && !q->plain) return iso_fail(err, ISO_EINVAL, "choice of devices: no kind of attention is allowed");
  bool bounded = false;
  for (int i = 0; i < ISO_TRAIN_LIMITS; i++) bounded = bounded || iso_budget_get(&q->budget, iso_train_limit(i)) < INFINITY;
  if (!bounded) return iso_fail(err, ISO_EINVAL, "choice of devices: nothing bounds the run");
  for (int i = 0; i < q->n; i++) ISO_TRY(iso_layout_machine_check(q->at[i].machine, err));
  return ISO_OK;
}

static iso_status one(const iso_choice_req *q, int at, iso_choice *out, iso_err *err) {
  sweep s = sweep_of(q, at, out->params);
  int64_t n = s.d->devices, node = s.d->machine->per_node;
  int before = out->n;
  if (n < 1 || (n > node && n % node)) {
    iso_fail(&out->left_out[at], ISO_EINVAL, "%lld devices are no whole number of nodes of %lld", (long long)n, (long long)node);
    return ISO_OK;
  }
  ISO_TRY(sweep_at(&s, true, err));
  out->tried += s.tried;
  out->too_big += s.too_big;
  for (int f = 0; f < 2; f++)
    for (int k = 0; k < ISO_CHOICE_SHARES; k++) {
      if (!(s.best[f][k].steps > 0)) continue;
      settle(&s, &s.best[f][k]);
      out->run[out->n++] = s.best[f][k];
    }
  if (out->n == before) say_left_out(&s, &out->left_out[at]);
  return ISO_OK;
}

iso_status iso_choice_run_all(const iso_choice_req *q, iso_choice *out, iso_err *err) {
  iso_layout_counts n;
  memset(out, 0, sizeof *out);
  ISO_TRY(check(q, err));
  iso_layout_count(&q->job.shape, &n);
  out->params = (double)n.params;
  out->run = calloc((size_t)q->n * 2 * ISO_CHOICE_SHARES, sizeof *out->run);
  if (!out->run) return iso_fail(err, ISO_ENOMEM, "choice of devices: no memory");
  iso_status st = ISO_OK;
  for (int i = 0; i < q->n && st == ISO_OK; i++) st = one(q, i, out, err);
  if (st == ISO_OK && !out->n) {
    st = out->left_out[0].status;
    if (err) *err = out->left_out[0];
    (void)iso_err_prefix(err, st, "%lld x %s", (long long)q->at[0].devices, q->at[0].machine->name);
  }
  if (st == ISO_OK) {
    qsort(out->run, (size_t)out->n, sizeof *out->run, by_score);
    for (int i = 1; i < out->n; i++) {
      int k = 0;
      while (out->run[k].at != out->run[i].at) k++;  // the best on the same devices stands first
      out->alike += k == i && out->run[i].score.hi >= out->run[0].score.lo;
    }
    st = lifts(q, out, err);
  }
  if (st != ISO_OK) iso_choice_close(out);
  return st;
}

void iso_choice_close(iso_choice *c) {
  free(c->run);
  c->run = NULL;
  c->n = 0;
}
