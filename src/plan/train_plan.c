// Joins a scaling law with the layout planner: loss over sizes at the tokens that every limit leaves.
#include "plan/train_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/law_ask.h"

// Sizes at which layouts are searched: half octaves of 2^(GRID_LO / 2) to 2^(GRID_HI / 2) parameters.
enum { GRID_LO = 36, GRID_HI = 94, CELLS = GRID_HI - GRID_LO + 1 };
static const iso_res LIMIT[ISO_TRAIN_LIMITS] = {ISO_RES_train_flop, ISO_RES_wall, ISO_RES_usd, ISO_RES_energy, ISO_RES_co2, ISO_RES_tok};
enum { FLOP, WALL, USD, ENERGY, CO2, TOK };

iso_res iso_train_limit(int i) { return LIMIT[i]; }

typedef struct cell {
  bool tried, fits;
  double per_tok[ISO_TRAIN_LIMITS];  // train_flop is the law's and left 0 here
} cell;

typedef struct plan {
  const iso_train_req *q;
  iso_budget budget;
  cell at[CELLS];
  iso_status st;  // of the first search that failed for another reason than memory
  iso_err err;
  iso_err no_fit;  // of the smallest size that did not fit
} plan;

static iso_layout_job job_of(const iso_train_req *q, const iso_layout_shape *s) {
  iso_layout_job j = iso_layout_job_default();
  j.shape = *s;
  j.batch = q->batch;
  j.flash = true;
  j.dropout = false;
  if (q->device) iso_layout_job_use(&j, q->device);
  return j;
}

static void point_costs(const iso_train_req *q, const iso_layout_point *p, double *per_tok) {
  double tok = (double)(q->batch * q->seq);
  per_tok[FLOP] = 0;
  per_tok[WALL] = p->step_s / tok;
  per_tok[USD] = p->usd / tok;
  per_tok[ENERGY] = p->joule / tok;
  per_tok[CO2] = per_tok[ENERGY] / 3.6e6 * q->g_per_kwh;
  per_tok[TOK] = 1;
}

double iso_train_tokens_of(const iso_budget *b, const double *per_tok) {
  double d = INFINITY;
  for (int i = 0; i < ISO_TRAIN_LIMITS; i++) {
    double limit = iso_budget_get(b, LIMIT[i]);
    if (limit < INFINITY) d = per_tok[i] >= 0 ? fmin(d, limit / per_tok[i]) : 0;
  }
  return d;
}

static double flop_per_tok(const iso_train_req *q, double params) {
  double x[ISO_LAW_INPUT_MAX];
  memcpy(x, q->x, sizeof x);
  x[q->law->at_params] = params;
  return q->law->flop_per_tok ? q->law->flop_per_tok(x) : ISO_LAW_FLOP_PER_PARAM_TOK * params;
}

// The layout of the front that leaves most tokens; of equal ones the fastest, which stands first.
static iso_status best_layout(const plan *p, const iso_layout_job *job, double params, iso_layout_point *out, iso_err *err) {
  const iso_train_req *q = p->q;
  iso_layout_search_opts o = iso_layout_search_opts_default(q->machine, q->devices);
  iso_layout_search s;
  double best = -1;
  ISO_TRY(iso_layout_search_run(job, q->machine, q->cal, &o, &s, err));
  double flop = flop_per_tok(q, params), per_tok[ISO_TRAIN_LIMITS];
  for (int64_t i = 0; i < s.n + ISO_LAYOUT_GOALS; i++) {
    const iso_layout_point *at = i < ISO_LAYOUT_GOALS ? &s.best[i] : &s.front[i - ISO_LAYOUT_GOALS];
    point_costs(q, at, per_tok);
    per_tok[FLOP] = flop;
    double d = iso_train_tokens_of(&p->budget, per_tok);
    if (!(d > best * (1 + 1e-9))) continue;
    best = d;
    *out = *at;
  }
  iso_layout_search_close(&s);
  return ISO_OK;
}

static cell *look(plan *p, int k) {
  cell *c = &p->at[k - GRID_LO];
  if (c->tried) return c;
  double params = exp2(0.5 * k);
  iso_layout_shape shape;
  iso_layout_point at;
  iso_err e = {0};
  c->tried = true;
  // Below what the vocabulary takes there is no shape.
  if (iso_layout_shape_family(params, p->q->vocab, p->q->seq, &shape, &e) != ISO_OK) return c;
  iso_layout_job job = job_of(p->q, &shape);
  iso_status st = best_layout(p, &job, params, &at, &e);
  if (st == ISO_ENOMEM && !p->no_fit.msg[0]) {
    p->no_fit = e;
    (void)iso_err_prefix(&p->no_fit, st, "a model of %.3g parameters", params);
  }
  if (st != ISO_OK && st != ISO_ENOMEM && p->st == ISO_OK) {
    p->st = st;
    p->err = e;
  }
  if (st != ISO_OK) return c;
  // Shapes are a few percent off in size; costs are per parameter.
  iso_layout_counts n;
  iso_layout_count(&shape, &n);
  point_costs(p->q, &at, c->per_tok);
  for (int i = WALL; i <= CO2; i++) c->per_tok[i] *= params / (double)n.params;
  c->fits = true;
  return c;
}

// Costs per token at any size: log-linear between half octaves. False where one of the neighbours does not fit.
static bool costs_at(plan *p, double params, double *per_tok) {
  double u = 2 * log2(params);
  int k = (int)floor(u);
  if (!(u >= GRID_LO && u < GRID_HI)) return false;
  const cell *a = look(p, k), *b = look(p, k + 1);
  if (!a->fits || !b->fits) return false;
  for (int i = 0; i < ISO_TRAIN_LIMITS; i++)
    per_tok[i] = a->per_tok[i] > 0 && b->per_tok[i] > 0 ? exp((k + 1 - u) * log(a->per_tok[i]) + (u - k) * log(b->per_tok[i])) : NAN;
  per_tok[FLOP] = flop_per_tok(p->q, params);
  per_tok[TOK] = 1;
  return true;
}

static double budget_tokens(void *self, double params, double flop) {
  plan *p = self;
  double per_tok[ISO_TRAIN_LIMITS];
  (void)flop;
  return costs_at(p, params, per_tok) ? iso_train_tokens_of(&p->budget, per_tok) : NAN;
}

// Where to look: a factor of 64 around the optimum at 40% of the peak, bounded by one limit alone.
static iso_status range_of(const plan *p, double *lo, double *hi, iso_err *err) {
  const iso_train_req *q = p->q;
  const iso_layout_machine *m = q->machine;
  const iso_budget *b = &p->budget;
  iso_law_point guess;
  double rate = 0.4 * m->peak_flop_s, watt = m->max_w * m->pue, joule = fmin(b->energy, b->co2 / q->g_per_kwh * 3.6e6);
  double flop = b->train_flop;
  if (b->wall < INFINITY) flop = fmin(flop, b->wall * (double)q->devices * rate);
  if (b->usd < INFINITY && m->usd_h > 0) flop = fmin(flop, b->usd / m->usd_h * 3600 * rate);
  if (joule < INFINITY && watt > 0) flop = fmin(flop, joule / watt * rate);
  if (!(flop < INFINITY)) {
    if ((b->usd < INFINITY && isnan(m->usd_h)) || (joule < INFINITY && isnan(watt)))
      return iso_fail(err, ISO_EUNSUP, "training plan: the %s of %s is not known", joule < INFINITY ? "power" : "price", m->name);
    iso_fail(err, ISO_EINVAL, "training plan: nothing bounds the size of the model");
    return iso_hint(err, ISO_EINVAL, "give a budget in FLOPs, seconds, dollars, joules or grams of CO2e");
  }
  ISO_TRY(iso_law_optimum_numeric(q->law, q->set->p, q->x, flop, 1e3, 1e15, NULL, NULL, &guess, NULL, err));
  *lo = fmax(guess.params / 64, exp2(0.5 * GRID_LO));
  *hi = fmin(guess.params * 64, exp2(0.5 * GRID_HI) * (1 - 1e-9));
  // A token limit below the optimum's asks for larger models.
  if (b->tok < guess.tokens) *hi = fmin(*hi * guess.tokens / b->tok, exp2(0.5 * GRID_HI) * (1 - 1e-9));
  if (*lo < *hi) return ISO_OK;
  iso_fail(err, ISO_EBUDGET, "training plan: the budget is worth %.3g FLOP, whose optimum is %.3g parameters; planned are %.3g to %.3g", flop,
           guess.params, exp2(0.5 * GRID_LO), exp2(0.5 * GRID_HI));
  return iso_hint(err, ISO_EBUDGET, "isoflop plan without a subverb plans small models for this machine");
}

static iso_status solve(plan *p, const double *set, double lo, double hi, iso_law_point *out, iso_err *err) {
  iso_status st = iso_law_optimum_numeric(p->q->law, set, p->q->x, 1, lo, hi, budget_tokens, p, out, NULL, err);
  if (p->st != ISO_OK) {
    if (err) *err = p->err;
    return p->st;
  }
  if (st == ISO_ENUM && p->no_fit.msg[0]) {
    if (err) *err = p->no_fit;
    return ISO_ENOMEM;
  }
  if (st == ISO_ENUM) {
    iso_fail(err, ISO_EBUDGET, "training plan: the budget pays for no model of %g parameters or more with a vocabulary of %lld", lo,
             (long long)p->q->vocab);
    return iso_hint(err, ISO_EBUDGET, "give a larger budget or a smaller --vocab");
  }
  if (st == ISO_OK) out->flop = flop_per_tok(p->q, out->params) * out->tokens;
  return st;
}

// d loss / d ln limit, each limit by itself, and in closed form: tokens follow the limits one to one at fixed size, and at the optimum the
// size does not matter to first order.
static iso_status shadows(plan *p, double lo, double hi, iso_train_plan *out, iso_err *err) {
  const double h = 0.01;
  double most = -1, x[ISO_LAW_INPUT_MAX];
  for (int i = 0; i < ISO_TRAIN_LIMITS; i++) {
    double limit = iso_budget_get(&p->budget, LIMIT[i]);
    iso_law_point more, less;
    if (limit == INFINITY) continue;
    *iso_budget_at(&p->budget, LIMIT[i]) = limit * exp(h);
    iso_status st = solve(p, p->q->set->p, lo, hi, &more, err);
    *iso_budget_at(&p->budget, LIMIT[i]) = limit * exp(-h);
    if (st == ISO_OK) st = solve(p, p->q->set->p, lo, hi, &less, err);
    *iso_budget_at(&p->budget, LIMIT[i]) = limit;
    if (st != ISO_OK) return st;
    out->shadow[i] = (more.loss - less.loss) / (2 * h);
    if (fabs(out->shadow[i]) < 1e-9) out->shadow[i] = 0;
    if (fabs(out->shadow[i]) > most) {
      most = fabs(out->shadow[i]);
      out->binding = LIMIT[i];
    }
  }
  memcpy(x, p->q->x, sizeof x);
  x[p->q->law->at_params] = out->ideal.params;
  x[p->q->law->at_tokens] = out->ideal.tokens * exp(1e-4);
  double up = p->q->law->value(p->q->set->p, x, NULL);
  x[p->q->law->at_tokens] = out->ideal.tokens * exp(-1e-4);
  out->shadow_closed = (up - p->q->law->value(p->q->set->p, x, NULL)) / 2e-4;
  return ISO_OK;
}

double iso_train_effective_tok(double tokens, double unique) {
  const double r_star = 15.387756;
  if (!(tokens > unique)) return tokens;
  return unique + unique * r_star * (1 - exp(-(tokens / unique - 1) / r_star));
}

static double loss_at(const iso_law *law, const iso_law_const *c, const double *others, double params, double tokens) {
  double x[ISO_LAW_INPUT_MAX];
  memcpy(x, others, sizeof x);
  x[law->at_params] = params;
  x[law->at_tokens] = tokens;
  return law->value(c->p, x, NULL);
}

static double loss_of(const iso_train_req *q, const iso_law_const *c, double params, double tokens) {
  return loss_at(q->law, c, q->x, params, tokens);
}

// Sets of one law may be fitted to other text, whose loss is another scale: only those of the same runs make an interval.
static bool counts(const iso_law_const *c, const iso_law_const *set) { return c == set || (c->confirmed && iso_law_same_runs(c, set)); }

iso_est iso_train_loss(const iso_law *law, const iso_law_const *set, const double *x, double params, iso_est tokens, int *sets) {
  iso_est loss = iso_est_exact(loss_at(law, set, x, params, tokens.mean));
  int n = 0;
  for (int i = 0; i < law->n_consts; i++) {
    const iso_law_const *c = &law->consts[i];
    if (!counts(c, set)) continue;
    n++;
    loss.lo = fmin(loss.lo, loss_at(law, c, x, params, tokens.hi));
    loss.hi = fmax(loss.hi, loss_at(law, c, x, params, tokens.lo));
  }
  // What is published of the set's own constants, at each end of the tokens.
  for (int end = 0; end < 2; end++) {
    double at[ISO_LAW_INPUT_MAX];
    iso_fit_interval v;
    memcpy(at, x, sizeof at);
    at[law->at_params] = params;
    at[law->at_tokens] = end ? tokens.lo : tokens.hi;
    if (iso_law_predict_interval(law, set, at, 0.9, &v, NULL) != ISO_OK) continue;
    loss.lo = fmin(loss.lo, v.lo);
    loss.hi = fmax(loss.hi, v.hi);
  }
  if (sets) *sets = n;
  return loss;
}

// How far other laws would leave the loss, and that as its interval when the law has none.
static void between(const iso_train_req *q, iso_train_plan *o) {
  double ends[] = {o->tokens.lo, o->tokens.mean, o->tokens.hi};
  o->between = (iso_fit_interval){o->loss.mean, NAN, NAN};
  if (strcmp(q->law->target, "loss") != 0 || strcmp(q->law->unit, "nats per token") != 0) return;
  (void)iso_law_between_sd(o->params, o->tokens.mean, NULL, &o->between_laws);
  for (size_t i = 0; i < ISO_COUNT(ends); i++) {
    iso_fit_interval v = iso_law_between(loss_of(q, q->set, o->params, ends[i]), o->params, ends[i], 0.9, NULL);
    o->between.lo = fmin(o->between.lo, v.lo);
    o->between.hi = fmax(o->between.hi, v.hi);
  }
  o->loss_is_between = o->sets == 1 && !iso_law_spread_of(q->law, q->set) && isfinite(o->between.lo);
  if (!o->loss_is_between) return;
  o->loss.lo = o->between.lo;
  o->loss.hi = o->between.hi;
}

static void losses(const iso_train_req *q, iso_train_plan *o) {
  o->loss = iso_train_loss(q->law, q->set, q->x, o->params, o->tokens, &o->sets);
  between(q, o);
  double x[ISO_LAW_INPUT_MAX];
  memcpy(x, q->x, sizeof x);
  x[q->law->at_params] = o->params;
  x[q->law->at_tokens] = o->tokens.mean;
  o->reach = iso_law_reach(q->law, q->set->lo, q->set->hi, x, &o->worst);
  o->epochs = o->tokens.mean / q->unique_tok;
  o->effective_tok = iso_train_effective_tok(o->tokens.mean, q->unique_tok);
  bool knows = iso_law_input_find(q->law, "unique_tokens") >= 0;  // the law has it in its loss
  o->loss_effective = knows ? o->loss.mean : loss_of(q, q->set, o->params, o->effective_tok);
  o->loss.hi = fmax(o->loss.hi, o->loss_effective);
}

// A guess of every entry alike has the logarithm of the vocabulary: a law that predicts more is far from anything it was fitted to.
static iso_status check_loss(const iso_train_req *q, const iso_train_plan *o, iso_err *err) {
  double uniform = log((double)q->vocab);
  if (strcmp(q->law->unit, "nats per token") != 0 || o->loss.mean < uniform) return ISO_OK;
  iso_fail(err, ISO_EBUDGET, "training plan: at %.3g parameters on %.3g tokens law %s says %.4g nats per token, and a uniform guess has %.4g",
           o->params, o->tokens.mean, q->law->base.name, o->loss.mean, uniform);
  return iso_hint(err, ISO_EBUDGET, "give a larger budget; isoflop plan without a subverb plans small models for this machine");
}

// Optima of the other sets that count under the same budget.
static iso_status spread(plan *p, double lo, double hi, iso_train_plan *o, iso_err *err) {
  o->params_lo = o->params_hi = o->ideal.params;
  o->tokens_lo = o->tokens_hi = o->ideal.tokens;
  for (int i = 0; i < p->q->law->n_consts; i++) {
    const iso_law_const *c = &p->q->law->consts[i];
    iso_law_point at;
    if (!counts(c, p->q->set) || c == p->q->set) continue;
    ISO_TRY(solve(p, c->p, lo, hi, &at, err));
    o->params_lo = fmin(o->params_lo, at.params);
    o->params_hi = fmax(o->params_hi, at.params);
    o->tokens_lo = fmin(o->tokens_lo, at.tokens);
    o->tokens_hi = fmax(o->tokens_hi, at.tokens);
  }
  return ISO_OK;
}

static void clear_settled(iso_train_plan *o) {
  iso_train_plan keep = *o;
  memset(o, 0, sizeof *o);
  o->ideal = keep.ideal;
  o->params_lo = keep.params_lo;
  o->params_hi = keep.params_hi;
  o->tokens_lo = keep.tokens_lo;
  o->tokens_hi = keep.tokens_hi;
  o->binding = keep.binding;
  memcpy(o->shadow, keep.shadow, sizeof o->shadow);
  o->shadow_closed = keep.shadow_closed;
}

// The plan of one size: its shape, layout and whole steps, and what they take. Time is uncertain, so either the tokens are or the seconds.
static iso_status settle_at(const plan *p, double params, iso_train_plan *o, iso_err *err) {
  const iso_train_req *q = p->q;
  iso_layout_counts n;
  iso_layout_point at;
  double per_tok[ISO_TRAIN_LIMITS], slow[ISO_TRAIN_LIMITS], fast[ISO_TRAIN_LIMITS], batch_tok = (double)(q->batch * q->seq);
  clear_settled(o);
  ISO_TRY(iso_layout_shape_family(params, q->vocab, q->seq, &o->shape, err));
  iso_layout_count(&o->shape, &n);
  o->params = (double)n.params;
  o->job = job_of(q, &o->shape);
  ISO_TRY(best_layout(p, &o->job, o->params, &at, err));
  o->layout = at.layout;
  ISO_TRY(iso_layout_step_cost(&o->job, q->machine, q->cal, &o->layout, &o->step, err));
  iso_layout_memory(&o->job, &o->layout, &o->memory);
  point_costs(q, &at, per_tok);
  per_tok[FLOP] = flop_per_tok(q, o->params);
  memcpy(slow, per_tok, sizeof slow);
  memcpy(fast, per_tok, sizeof fast);
  for (int i = WALL; i <= CO2; i++) {
    slow[i] *= o->step.hi_s / o->step.step_s;
    fast[i] *= o->step.lo_s / o->step.step_s;
  }
  double d = iso_train_tokens_of(&p->budget, per_tok);
  o->steps = floor(d / batch_tok);
  if (o->steps < 1) {
    iso_fail(err, ISO_EBUDGET, "training plan: the budget pays for %.3g tokens at %.3g parameters, less than a step of %.3g", d, o->params,
             batch_tok);
    return iso_hint(err, ISO_EBUDGET, "give a larger budget or a smaller --batch");
  }
  o->tokens.mean = o->steps * batch_tok;
  o->tokens.lo = fmin(o->tokens.mean, iso_train_tokens_of(&p->budget, slow));
  o->tokens.hi = fmax(o->tokens.mean, floor(iso_train_tokens_of(&p->budget, fast) / batch_tok) * batch_tok);
  for (int i = 0; i < ISO_TRAIN_LIMITS; i++) {
    double a = o->tokens.lo * slow[i], b = o->tokens.hi * fast[i], mid = o->tokens.mean * per_tok[i];
    o->use[i] = iso_est_range(fmin(mid, fmin(a, b)), mid, fmax(mid, fmax(a, b)));
  }
  return ISO_OK;
}

// Whether a size can beat a loss: by its interpolated costs, which may be a twentieth too high where times are among them; without them when
// it is near the optimum.
static bool promising(plan *p, double params, double loss, bool near) {
  double per_tok[ISO_TRAIN_LIMITS];
  if (!costs_at(p, params, per_tok)) return near;
  for (int i = 0; i < ISO_TRAIN_LIMITS; i++) per_tok[i] /= i >= WALL && i <= CO2 ? 1.05 : 1.01;
  return loss_of(p->q, p->q->set, params, iso_train_tokens_of(&p->budget, per_tok)) < loss;
}

enum { SIZES = 33 };  // eighths of an octave looked at: two octaves on each side of the optimum

// The best of the shapes around the optimum: interpolated costs say where to look, exact ones decide. Sizes are eighths of an octave,
// whatever the budget, so that one that pays for more of each never ends with a worse loss.
static iso_status settle(plan *p, iso_train_plan *o, iso_err *err) {
  iso_train_plan best = *o, at = *o;
  double least = INFINITY;
  int64_t seen[SIZES];
  int n_seen = 0;
  long mid = lround(8 * log2(o->ideal.params));
  iso_err first = {0};
  iso_status st = ISO_OK;
  for (int k = 0; k < SIZES; k++) {
    iso_err e = {0};
    iso_layout_shape shape;
    iso_layout_counts n = {0};
    long off = k % 2 ? -(k + 1) / 2 : k / 2;  // 0, -1, 1, -2, ... eighths
    double params = exp2((double)(mid + off) / 8);
    if (k > 0 && !promising(p, params, least, off >= -4 && off <= 4)) continue;
    bool again = false;
    if (iso_layout_shape_family(params, p->q->vocab, p->q->seq, &shape, NULL) == ISO_OK) {
      iso_layout_count(&shape, &n);
      for (int i = 0; i < n_seen; i++) again = again || seen[i] == n.params;
      seen[n_seen++] = n.params;
    }
    if (again) continue;
    iso_status s = settle_at(p, params, &at, &e);
    if (k == 0 && s != ISO_OK) {
      st = s;
      first = e;
    }
    if (s != ISO_OK) continue;
    double loss = loss_of(p->q, p->q->set, at.params, at.tokens.mean);
    if (!(loss < least)) continue;
    least = loss;
    best = at;
  }
  if (least < INFINITY) {
    *o = best;
    return ISO_OK;
  }
  if (err) *err = first;
  return st;
}

// Smaller and larger models that reach the same loss.
static void others(plan *p, iso_train_plan *o) {
  static const double TIMES[] = {0.25, 0.5, 0.71, 1, 1.41, 2, 4};
  double loss = loss_of(p->q, p->q->set, o->params, o->tokens.mean);
  for (size_t i = 0; i < ISO_COUNT(TIMES); i++) {
    iso_train_other a = {.params = o->params * TIMES[i]};
    double x[ISO_LAW_INPUT_MAX], per_tok[ISO_TRAIN_LIMITS];
    memcpy(x, p->q->x, sizeof x);
    x[p->q->law->at_params] = a.params;
    x[p->q->law->at_tokens] = 1;
    a.tokens = TIMES[i] == 1 ? o->tokens.mean : iso_law_solve(p->q->law, p->q->set->p, x, p->q->law->at_tokens, loss, 1, 1e30);
    if (!(a.tokens < 1e30)) continue;
    a.flop = flop_per_tok(p->q, a.params) * a.tokens;
    bool fits = costs_at(p, a.params, per_tok);
    a.wall_s = fits ? per_tok[WALL] * a.tokens : NAN;
    a.usd = fits ? per_tok[USD] * a.tokens : NAN;
    a.joule = fits ? per_tok[ENERGY] * a.tokens : NAN;
    if (TIMES[i] == 1) {
      a.wall_s = o->use[WALL].mean;
      a.usd = o->use[USD].mean;
      a.joule = o->use[ENERGY].mean;
    }
    o->other[o->others++] = a;
  }
}

static iso_status check(const iso_train_req *q, iso_err *err) {
  double unused, x[ISO_LAW_INPUT_MAX];
  if (q->law->at_params < 0 || q->law->at_tokens < 0)
    return iso_fail(err, ISO_EINVAL, "law %s does not split a budget between parameters and tokens", q->law->base.name);
  memcpy(x, q->x, sizeof x);
  x[q->law->at_params] = x[q->law->at_tokens] = 1e9;
  if (!q->set->confirmed) return iso_law_predict_const(q->law, q->set, x, &unused, err);
  ISO_TRY(iso_law_check_inputs(q->law, x, err));
  if (q->batch < 1 || q->seq < 1 || q->devices < 1) return iso_fail(err, ISO_EINVAL, "training plan: batch, sequence and devices must be at least 1");
  return iso_layout_machine_check(q->machine, err);
}

iso_status iso_train_plan_run(const iso_train_req *q, iso_train_plan *out, iso_err *err) {
  double lo = 0, hi = 0;
  memset(out, 0, sizeof *out);
  ISO_TRY(check(q, err));
  plan *p = calloc(1, sizeof *p);
  if (!p) return iso_fail(err, ISO_ENOMEM, "training plan: no memory");
  p->q = q;
  p->budget = q->budget;
  iso_status st = range_of(p, &lo, &hi, err);
  if (st == ISO_OK) st = solve(p, q->set->p, lo, hi, &out->ideal, err);
  if (st == ISO_OK) st = spread(p, lo, hi, out, err);
  if (st == ISO_OK) st = shadows(p, lo, hi, out, err);
  if (st == ISO_OK) st = settle(p, out, err);
  if (st == ISO_OK) {
    double per_tok[ISO_TRAIN_LIMITS];
    losses(q, out);
    st = check_loss(q, out, err);
    others(p, out);
    out->memory_binds = !costs_at(p, out->ideal.params * M_SQRT2, per_tok);
    // The closed form is of absent other inputs.
    bool plain = true;
    for (int i = 0; i < q->law->n_inputs; i++)
      plain = plain && (i == q->law->at_params || i == q->law->at_tokens || q->x[i] == q->law->input[i].absent);
    if (plain && q->law->optimum && q->law->optimum(q->set->p, out->ideal.flop, &out->closed, NULL) != ISO_OK) out->closed.params = 0;
  }
  free(p);
  return st;
}
