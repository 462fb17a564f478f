// The list of scaling laws and the searches that work for any of them.
#include "plan/law.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static const iso_law *const LAWS[] = {
#define LAW(name) &iso_law_##name,
#include "plan/laws/laws.def"
#undef LAW
};

static const char *const OBJECTIVE[ISO_LAW_OBJECTIVES] = {"huber-log", "huber", "square-log", "square"};

const char *iso_law_objective_name(iso_law_objective o) { return OBJECTIVE[o]; }

bool iso_law_objective_find(const char *name, iso_law_objective *out) {
  for (int i = 0; i < ISO_LAW_OBJECTIVES; i++) {
    if (strcmp(name, OBJECTIVE[i]) != 0) continue;
    *out = (iso_law_objective)i;
    return true;
  }
  return false;
}

bool iso_law_objective_is_log(iso_law_objective o) { return o == ISO_LAW_HUBER_LOG || o == ISO_LAW_SQUARE_LOG; }

int64_t iso_law_count(void) { return (int64_t)ISO_COUNT(LAWS); }
const iso_law *iso_law_at(int64_t i) { return i >= 0 && i < iso_law_count() ? LAWS[i] : NULL; }

iso_status iso_law_find(const char *name, const iso_law **out, iso_err *err) {
  char plain[64];
  size_t n = 0;
  const iso_law *near = LAWS[0];
  for (; name[n] && n + 1 < sizeof plain; n++) plain[n] = name[n] == '-' ? '_' : name[n];
  plain[n] = 0;
  for (size_t i = 0; i < ISO_COUNT(LAWS); i++) {
    if (strcmp(LAWS[i]->base.name, plain) == 0) {
      *out = LAWS[i];
      return ISO_OK;
    }
    if (iso_str_distance(plain, LAWS[i]->base.name) < iso_str_distance(plain, near->base.name)) near = LAWS[i];
  }
  *out = NULL;
  // A list of all would bury the answer.
  if (!iso_str_near(near->base.name, plain))
    return iso_fail(err, ISO_EINVAL, "unknown law \"%.60s\"; isoflop law list names all %zu", name, ISO_COUNT(LAWS));
  return iso_fail(err, ISO_EINVAL, "unknown law \"%.60s\"; did you mean \"%s\"? isoflop law list names all %zu", name, near->base.name,
                  ISO_COUNT(LAWS));
}

iso_status iso_law_find_const(const iso_law *law, const char *name, const iso_law_const **out, iso_err *err) {
  char names[200] = "";
  for (int i = 0; i < law->n_consts; i++) {
    if (!strcmp(law->consts[i].name, name)) {
      *out = &law->consts[i];
      return ISO_OK;
    }
    size_t n = strlen(names);
    strncat(names, i ? ", " : "", sizeof names - 1 - n);
    n = strlen(names);
    strncat(names, law->consts[i].name, sizeof names - 1 - n);
  }
  iso_fail(err, ISO_EINVAL, "law %s has no published constants called '%s'", law->base.name, name);
  return iso_hint(err, ISO_EINVAL, "the sets are: %s", names[0] ? names : "none");
}

bool iso_law_same_runs(const iso_law_const *a, const iso_law_const *b) { return a == b || (a->runs && b->runs && strcmp(a->runs, b->runs) == 0); }

const iso_law_spread *iso_law_spread_of(const iso_law *law, const iso_law_const *c) {
  for (int i = 0; law->spread && i < law->n_consts; i++)
    if (c == &law->consts[i]) return law->spread[i].source ? &law->spread[i] : NULL;
  return NULL;
}

const char *const *iso_law_synonyms(const char *name) {
  enum { NAMES = 9 };
  static const char *const TABLE[][NAMES] = {
      {"params", "parameters", "n_params", "num_params", "num_parameters", "n_parameters", "model_size"},
      {"tokens", "train_tokens", "training_tokens", "n_tokens", "num_tokens", "tokens_trained"},
      {"loss", "final_loss", "val_loss", "eval_loss", "test_loss", "validation_loss", "train_loss"},
      {"train_flop", "train_flops", "training_flop", "training_flops", "flops", "flop", "compute", "c"},
      {"batch_tokens", "batch_size_tokens", "tokens_per_batch", "tokens_per_step"},
      {"lr", "learning_rate", "peak_lr", "max_lr"},
      {"experts", "n_experts", "num_experts"},
      {"active_params", "n_act", "active_parameters", "n_active", "params_active"},
      {"steps", "n_steps", "num_steps", "iterations", "train_steps"},
      {"vocab", "vocab_size", "vocabulary"},
      {"width", "d_model", "hidden_size", "embed_dim"},
      {"unique_tokens", "tokens_unique"},
      {"months", "time_months"},
  };
  static const char *const NONE[1] = {NULL};
  for (size_t i = 0; i < ISO_COUNT(TABLE); i++)
    if (strcmp(TABLE[i][0], name) == 0) return TABLE[i] + 1;
  return NONE;
}

int iso_law_input_find(const iso_law *law, const char *name) {
  for (int i = 0; i < law->n_inputs; i++)
    if (strcmp(law->input[i].name, name) == 0) return i;
  for (int i = 0; i < law->n_inputs; i++)
    for (int a = 0; a < ISO_LAW_ALIAS_MAX && law->input[i].alias[a]; a++)
      if (strcmp(law->input[i].alias[a], name) == 0) return i;
  for (int i = 0; i < law->n_inputs; i++)
    for (const char *const *s = iso_law_synonyms(law->input[i].name); *s; s++)
      if (strcmp(*s, name) == 0) return i;
  return -1;
}

int iso_law_param_find(const iso_law *law, const char *name) {
  for (int i = 0; i < law->n_params; i++)
    if (strcmp(law->param[i].name, name) == 0) return i;
  return -1;
}

void iso_law_absent(const iso_law *law, double *x) {
  for (int i = 0; i < law->n_inputs; i++) x[i] = law->input[i].absent;
}

iso_status iso_law_check_inputs(const iso_law *law, const double *x, iso_err *err) {
  for (int i = 0; i < law->n_inputs; i++) {
    const iso_law_input *in = &law->input[i];
    // An infinite absent value is a meaning of its own ("never repeated"), any other infinity is not a number to compute with.
    if ((x[i] > 0 && (x[i] < INFINITY || in->absent == INFINITY)) || x[i] == in->absent) continue;
    if (isnan(x[i])) {
      iso_fail(err, ISO_EINVAL, "law %s needs %s (%s)", law->base.name, in->name, in->what);
      return iso_hint(err, ISO_EINVAL, "give it as %s=VALUE (--at, or --predict of a fit); isoflop law show %s lists its inputs", in->name,
                      law->base.name);
    }
    return iso_fail(err, ISO_EINVAL, "law %s: %s = %g, expected a positive finite number", law->base.name, in->name, x[i]);
  }
  return ISO_OK;
}

double iso_law_nd(const iso_law *law, const double *p, double params, double tokens) {
  double x[ISO_LAW_INPUT_MAX];
  if (law->at_params < 0 || law->at_tokens < 0) return NAN;
  iso_law_absent(law, x);
  x[law->at_params] = params;
  x[law->at_tokens] = tokens;
  return law->value(p, x, NULL);
}

static double flop_per_tok(const iso_law *law, const double *x) {
  return law->flop_per_tok ? law->flop_per_tok(x) : ISO_LAW_FLOP_PER_PARAM_TOK * x[law->at_params];
}

double iso_law_flop(const iso_law *law, const double *x) {
  return law->at_params < 0 || law->at_tokens < 0 ? NAN : flop_per_tok(law, x) * x[law->at_tokens];
}

iso_status iso_law_predict_const(const iso_law *law, const iso_law_const *c, const double *x, double *out, iso_err *err) {
  ISO_TRY(iso_law_check_inputs(law, x, err));
  if (!c->confirmed) {
    iso_fail(err, ISO_EUNSUP, "law %s: its constants %s are not confirmed by a primary source, so nothing is predicted with them", law->base.name,
             c->name);
    return iso_hint(err, ISO_EUNSUP, "fit it to runs of your own: isoflop fit DATA.csv --law %s", law->base.name);
  }
  *out = law->value(c->p, x, NULL);
  if (isfinite(*out)) return ISO_OK;
  return iso_fail(err, ISO_ENUM, "law %s gives %g at these inputs: they are outside the region where it is defined", law->base.name, *out);
}

double iso_law_reach(const iso_law *law, const double *lo, const double *hi, const double *x, int *worst) {
  double most = 1;
  if (worst) *worst = -1;
  for (int i = 0; i < law->n_inputs; i++) {
    if (!(hi[i] > 0) || !isfinite(x[i]) || !isfinite(hi[i])) continue;
    double r = x[i] > hi[i] ? x[i] / hi[i] : x[i] < lo[i] ? lo[i] / x[i] : 1;
    if (!(r > most)) continue;
    most = r;
    if (worst) *worst = i;
  }
  return most;
}

bool iso_law_range_known(const iso_law *law, const iso_law_const *c) {
  bool known = false;
  for (int i = 0; i < law->n_inputs; i++) known = known || c->hi[i] > 0;
  return known;
}

// ---- searches -------------------------------------------------------------------------------------------------------

typedef struct search {
  const iso_law *law;
  const double *p;
  double x[ISO_LAW_INPUT_MAX];
  double flop;
  iso_law_tokens_fn tokens;
  void *self;
} search;

// Loss with log N under the budget, N in s->x; +INFINITY where the budget buys nothing.
static double loss_at(search *s, double log_n, iso_law_point *pt) {
  const iso_law *law = s->law;
  double n = exp(log_n);
  s->x[law->at_params] = n;
  double d = s->tokens ? s->tokens(s->self, n, s->flop) : s->flop / flop_per_tok(law, s->x), l = INFINITY;
  if (d > 0) {
    s->x[law->at_tokens] = d;
    l = law->value(s->p, s->x, NULL);
  }
  if (!(l == l)) l = INFINITY;
  if (pt) *pt = (iso_law_point){.flop = s->flop, .params = n, .tokens = d, .loss = l};
  return l;
}

static iso_status open_search(const iso_law *law, const double *p, const double *x, double flop, search *s, iso_err *err) {
  if (law->at_params < 0 || law->at_tokens < 0) return iso_fail(err, ISO_EINVAL, "law %s does not split a compute budget", law->base.name);
  if (!(flop > 0 && flop < INFINITY)) return iso_fail(err, ISO_EINVAL, "law optimum: budget of %g FLOP, expected a positive finite one", flop);
  *s = (search){.law = law, .p = p, .flop = flop};
  if (x)
    memcpy(s->x, x, sizeof *x * (size_t)law->n_inputs);
  else
    iso_law_absent(law, s->x);
  return ISO_OK;
}

double iso_law_least(double (*f)(void *self, double u), void *self, double lo, double hi, int scan, bool *at_edge) {
  double h = (hi - lo) / scan, best = INFINITY;
  int at = -1;
  for (int i = 0; i <= scan; i++) {
    double l = f(self, lo + h * i);
    if (l < best) {
      best = l;
      at = i;
    }
  }
  if (at < 0) return NAN;
  double a = lo + h * (at > 0 ? at - 1 : 0), b = lo + h * (at < scan ? at + 1 : scan);
  const double ratio = 0.6180339887498949;
  double x1 = b - ratio * (b - a), x2 = a + ratio * (b - a), f1 = f(self, x1), f2 = f(self, x2);
  // 60 cuts bring a bracket of two scan steps below the square root of the rounding error, where a minimum cannot be told apart.
  for (int i = 0; i < 60; i++) {
    if (f1 <= f2) {
      b = x2;
      x2 = x1;
      f2 = f1;
      x1 = b - ratio * (b - a);
      f1 = f(self, x1);
    } else {
      a = x1;
      x1 = x2;
      f1 = f2;
      x2 = a + ratio * (b - a);
      f2 = f(self, x2);
    }
  }
  double u = 0.5 * (a + b), edge = f(self, lo) < f(self, hi) ? lo : hi;
  // Beside an end the values may differ by rounding only.
  bool on_edge = f(self, edge) <= f(self, u) || fabs(u - edge) < 1e-9 * (hi - lo);
  if (at_edge) *at_edge = on_edge;
  return on_edge ? edge : u;
}

static double over_n(void *self, double u) { return loss_at(self, u, NULL); }

iso_status iso_law_optimum_numeric(const iso_law *law, const double *p, const double *x, double flop, double n_lo, double n_hi,
                                   iso_law_tokens_fn tokens, void *self, iso_law_point *out, bool *at_edge, iso_err *err) {
  search s;
  ISO_TRY(open_search(law, p, x, flop, &s, err));
  if (!(n_lo > 0 && n_lo < n_hi && n_hi < INFINITY))
    return iso_fail(err, ISO_EINVAL, "law optimum: range of N %g to %g, expected 0 < low < high < infinity", n_lo, n_hi);
  s.tokens = tokens;
  s.self = self;
  double u = iso_law_least(over_n, &s, log(n_lo), log(n_hi), 400, at_edge);
  if (isnan(u)) return iso_fail(err, ISO_ENUM, "law optimum: no finite loss for N in %g to %g at %g FLOP", n_lo, n_hi, flop);
  loss_at(&s, u, out);
  return ISO_OK;
}

typedef struct over {
  search s;
  int k;
  double params;  // NaN: chosen too
} over;

static double over_k(void *self, double u) {
  over *o = self;
  o->s.x[o->k] = exp(u);
  if (o->params == o->params) return loss_at(&o->s, log(o->params), NULL);
  double n = iso_law_least(over_n, &o->s, log(1e3), log(1e15), 60, NULL);
  return isnan(n) ? INFINITY : loss_at(&o->s, n, NULL);
}

iso_status iso_law_optimum_over(const iso_law *law, const double *p, const double *x, double flop, double params, int k, double k_lo, double k_hi,
                                double *k_best, iso_law_point *out, iso_err *err) {
  over o = {.k = k, .params = params};
  ISO_TRY(open_search(law, p, x, flop, &o.s, err));
  if (!(k_lo > 0 && k_lo < k_hi && k_hi < INFINITY))
    return iso_fail(err, ISO_EINVAL, "law optimum: range of %s %g to %g, expected 0 < low < high < infinity", law->input[k].name, k_lo, k_hi);
  double u = iso_law_least(over_k, &o, log(k_lo), log(k_hi), 40, NULL);
  if (isnan(u)) return iso_fail(err, ISO_ENUM, "law optimum: no finite loss for %s in %g to %g at %g FLOP", law->input[k].name, k_lo, k_hi, flop);
  *k_best = exp(u);
  over_k(&o, u);
  double n = params == params ? log(params) : iso_law_least(over_n, &o.s, log(1e3), log(1e15), 400, NULL);
  loss_at(&o.s, n, out);
  return ISO_OK;
}

double iso_law_solve(const iso_law *law, const double *p, const double *x, int k, double y, double lo, double hi) {
  double at[ISO_LAW_INPUT_MAX], a = log(lo), b = log(hi);
  if (law->inverse) {
    // NaN may also mean that this input has no closed form: then it is searched for like any other.
    double v = law->inverse(p, x, k, y);
    if (v == v) return v >= lo && v <= hi ? v : NAN;
  }
  memcpy(at, x, sizeof *x * (size_t)law->n_inputs);
  at[k] = lo;
  double fa = law->value(p, at, NULL) - y;
  at[k] = hi;
  double fb = law->value(p, at, NULL) - y;
  if (!(fa * fb <= 0)) return NAN;
  for (int i = 0; i < 200 && b - a > 1e-14 * fabs(b); i++) {
    double mid = 0.5 * (a + b);
    at[k] = exp(mid);
    double f = law->value(p, at, NULL) - y;
    if ((f > 0) == (fa > 0))
      a = mid;
    else
      b = mid;
  }
  return exp(0.5 * (a + b));
}

typedef struct alone {
  const iso_law *law;
  const double *p;
  double x[ISO_LAW_INPUT_MAX];
  int k;
} alone;

static double over_input(void *self, double u) {
  alone *a = self;
  a->x[a->k] = exp(u);
  double y = a->law->value(a->p, a->x, NULL);
  return isnan(y) ? INFINITY : a->law->more_is_better ? -y : y;
}

iso_status iso_law_best_input(const iso_law *law, const double *p, const double *x, int k, double lo, double hi, double *at, double *value,
                              iso_err *err) {
  alone a = {.law = law, .p = p, .k = k};
  bool edge = false;
  if (!(k >= 0 && k < law->n_inputs)) return iso_fail(err, ISO_EINVAL, "law %s has no input number %d", law->base.name, k);
  if (!(lo > 0 && lo < hi && hi < INFINITY))
    return iso_fail(err, ISO_EINVAL, "law %s: range of %s %g to %g, expected 0 < low < high < infinity", law->base.name, law->input[k].name, lo, hi);
  memcpy(a.x, x, sizeof *x * (size_t)law->n_inputs);
  a.x[k] = lo;
  ISO_TRY(iso_law_check_inputs(law, a.x, err));
  if (law->best)
    *at = law->best(p, a.x, k);
  else
    *at = exp(iso_law_least(over_input, &a, log(lo), log(hi), 400, &edge));
  if (edge || !(*at >= lo && *at <= hi)) {
    iso_fail(err, ISO_ENUM, "law %s has no best %s between %g and %g at these inputs", law->base.name, law->input[k].name, lo, hi);
    return iso_hint(err, ISO_ENUM, "with these constants the target goes on getting better there");
  }
  a.x[k] = *at;
  *value = law->value(p, a.x, NULL);
  return ISO_OK;
}

double iso_law_tokens_for_loss(const iso_law *law, const double *p, double params, double loss) {
  double lo = 0, hi = log(1e30);
  if (!(iso_law_nd(law, p, params, exp(hi)) < loss)) return INFINITY;
  if (iso_law_nd(law, p, params, 1) <= loss) return 1;
  for (int i = 0; i < 200 && hi - lo > 1e-13; i++) {
    double mid = 0.5 * (lo + hi);
    if (iso_law_nd(law, p, params, exp(mid)) > loss)
      lo = mid;
    else
      hi = mid;
  }
  return exp(0.5 * (lo + hi));
}

double iso_law_start_term(const iso_law_means *m, int input, double exponent, double u, double lo, double hi) {
  return log(m->y) + log(lo) + u * log(hi / lo) + exponent * m->log_x[input];
}

iso_status iso_law_near(const iso_law *law, double got, double want, double tol, const char *what, iso_err *err) {
  if (fabs(got - want) <= tol * fabs(want)) return ISO_OK;
  return iso_fail(err, ISO_EBUG, "law %s: %s is %.9g, expected %.9g", law->base.name, what, got, want);
}
