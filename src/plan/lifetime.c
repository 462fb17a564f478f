// Lifetime optima: Sardana et al. 2024 (arXiv:2401.00448) with prices, tuning and compression.
#include "plan/lifetime.h"

#include <math.h>
#include <string.h>

static const double GOLDEN = 0.6180339887498949;

iso_lifetime_way iso_lifetime_way_plain(void) { return (iso_lifetime_way){.name = "plain", .serve_scale = 1}; }

static iso_status check(const iso_lifetime_job *j, const iso_lifetime_way *w, iso_err *err) {
  if (!j->law || j->law->at_params < 0 || j->law->at_tokens < 0) return iso_fail(err, ISO_EINVAL, "lifetime: the law splits no compute budget");
  if (!(j->loss > 0 && j->loss < INFINITY)) return iso_fail(err, ISO_EINVAL, "lifetime: a loss of %g to reach", j->loss);
  if (!(j->serve_tok >= 0 && j->serve_tok < 1e30)) return iso_fail(err, ISO_EINVAL, "lifetime: %g tokens to serve", j->serve_tok);
  if (!(j->train_price > 0 && j->train_price < INFINITY && j->serve_price > 0 && j->serve_price < INFINITY))
    return iso_fail(err, ISO_EINVAL, "lifetime: a FLOP costs %g in training and %g in serving, both must be positive", j->train_price,
                    j->serve_price);
  if (!(w->loss_added >= 0 && w->tune_tok >= 0 && w->compress_flop_per_param >= 0 && w->serve_scale > 0))
    return iso_fail(err, ISO_EINVAL, "lifetime: way %s: costs must not be negative, serve_scale must be positive", w->name);
  return ISO_OK;
}

static void inputs_of(const iso_lifetime_job *j, double params, double tokens, double *x) {
  if (j->x)
    memcpy(x, j->x, sizeof *x * (size_t)j->law->n_inputs);
  else
    iso_law_absent(j->law, x);
  x[j->law->at_params] = params;
  x[j->law->at_tokens] = tokens;
}

static double loss_at(const iso_lifetime_job *j, double params, double tokens) {
  double x[ISO_LAW_INPUT_MAX];
  inputs_of(j, params, tokens, x);
  return j->law->value(j->p, x, NULL);
}

// Tokens with which `params` parameters reach the loss; infinity when none do.
static double tokens_of(const iso_lifetime_job *j, double loss, double params) {
  double x[ISO_LAW_INPUT_MAX];
  inputs_of(j, params, 1, x);
  double d = iso_law_solve(j->law, j->p, x, j->law->at_tokens, loss, 1, 1e30);
  return d > 0 ? d : INFINITY;
}

static iso_lifetime_point life(const iso_lifetime_job *j, const iso_lifetime_way *w, double params) {
  iso_lifetime_point p = {.params = params, .tokens = tokens_of(j, j->loss - w->loss_added, params)};
  p.train_flop = ISO_LAW_FLOP_PER_PARAM_TOK * params * p.tokens;
  p.tune_flop = ISO_LAW_FLOP_PER_PARAM_TOK * params * w->tune_tok;
  p.compress_flop = params * w->compress_flop_per_param;
  p.serve_flop = ISO_SERVE_FLOP_PER_PARAM_TOK * params * j->serve_tok;
  p.train_cost = p.train_flop * j->train_price;
  p.tune_cost = p.tune_flop * j->train_price;
  p.compress_cost = p.compress_flop * j->train_price;
  p.serve_cost = p.serve_flop * j->serve_price * w->serve_scale;
  p.cost = p.train_cost + p.tune_cost + p.compress_cost + p.serve_cost;
  return p;
}

static iso_status unreachable(const iso_lifetime_job *j, const iso_lifetime_way *w, iso_err *err) {
  iso_fail(err, ISO_EBUDGET, "lifetime: law %s reaches a loss of %.6g with no model%s", j->law->base.name, j->loss - w->loss_added,
           w->loss_added > 0 ? " (the loss asked for less what compression adds)" : "");
  return iso_hint(err, ISO_EBUDGET, "at infinite size and data it predicts %.6g", loss_at(j, 1e30, 1e30));
}

iso_status iso_lifetime_at(const iso_lifetime_job *j, const iso_lifetime_way *w, double params, iso_lifetime_point *out, iso_err *err) {
  ISO_TRY(check(j, w, err));
  if (!(params > 0 && params < INFINITY)) return iso_fail(err, ISO_EINVAL, "lifetime: %g parameters", params);
  *out = life(j, w, params);
  if (out->tokens < INFINITY) return ISO_OK;
  iso_fail(err, ISO_EBUDGET, "lifetime: %g parameters reach a loss of %.6g with no number of tokens", params, j->loss - w->loss_added);
  return iso_hint(err, ISO_EBUDGET, "take a larger model or a higher loss");
}

iso_status iso_lifetime_optimum(const iso_lifetime_job *j, const iso_lifetime_way *w, iso_lifetime_point *out, iso_err *err) {
  ISO_TRY(check(j, w, err));
  // Costs are infinite below the size that can reach the loss, then fall and rise: a scan finds the valley, golden section its floor.
  const double lo = log(1e2), hi = log(1e16);
  enum { STEPS = 640 };
  double best = INFINITY, at = lo;
  for (int i = 0; i <= STEPS; i++) {
    double v = lo + (hi - lo) * i / STEPS, c = life(j, w, exp(v)).cost;
    if (c < best) {
      best = c;
      at = v;
    }
  }
  if (!(best < INFINITY)) return unreachable(j, w, err);
  double a = at - (hi - lo) / STEPS, b = at + (hi - lo) / STEPS, x = b - GOLDEN * (b - a), y = a + GOLDEN * (b - a);
  double fx = life(j, w, exp(x)).cost, fy = life(j, w, exp(y)).cost;
  for (int i = 0; i < 80; i++) {
    if (fx <= fy) {
      b = y;
      y = x;
      fy = fx;
      x = b - GOLDEN * (b - a);
      fx = life(j, w, exp(x)).cost;
    } else {
      a = x;
      x = y;
      fx = fy;
      y = a + GOLDEN * (b - a);
      fy = life(j, w, exp(y)).cost;
    }
  }
  *out = life(j, w, exp(0.5 * (a + b)));
  return ISO_OK;
}

double iso_lifetime_condition(const iso_lifetime_job *j, const iso_lifetime_point *at) {
  const double h = 1e-5;
  double n = loss_at(j, at->params * exp(h), at->tokens) - loss_at(j, at->params * exp(-h), at->tokens);
  double d = loss_at(j, at->params, at->tokens * exp(h)) - loss_at(j, at->params, at->tokens * exp(-h));
  double right = 1 + j->serve_price * j->serve_tok * ISO_SERVE_FLOP_PER_PARAM_TOK / (j->train_price * at->tokens * ISO_LAW_FLOP_PER_PARAM_TOK);
  return n / d / right;
}

iso_status iso_lifetime_choose(const iso_lifetime_job *j, const iso_lifetime_way *w, int n, int *best, iso_lifetime_point *out, iso_err *err) {
  iso_err last = {0};
  *best = -1;
  for (int i = 0; i < n; i++) {
    iso_lifetime_point p;
    iso_status st = iso_lifetime_optimum(j, &w[i], &p, &last);
    if (st == ISO_EBUDGET) continue;
    if (st != ISO_OK) {
      if (err) *err = last;
      return st;
    }
    if (*best >= 0 && p.cost >= out->cost) continue;
    *best = i;
    *out = p;
  }
  if (*best >= 0) return ISO_OK;
  if (n < 1) return iso_fail(err, ISO_EINVAL, "lifetime: no ways to choose from");
  if (err) *err = last;
  return ISO_EBUDGET;
}

// Cost of a less that of b at their optima; a way that reaches the loss with no model costs infinitely much.
static double difference(const iso_lifetime_job *j, const iso_lifetime_way *a, const iso_lifetime_way *b, double serve_tok) {
  iso_lifetime_job k = *j;
  iso_lifetime_point pa, pb;
  k.serve_tok = serve_tok;
  bool ra = iso_lifetime_optimum(&k, a, &pa, NULL) == ISO_OK, rb = iso_lifetime_optimum(&k, b, &pb, NULL) == ISO_OK;
  return ra && rb ? log(pa.cost / pb.cost) : ra ? -INFINITY : rb ? INFINITY : NAN;
}

double iso_lifetime_switch(const iso_lifetime_job *j, const iso_lifetime_way *a, const iso_lifetime_way *b, double lo, double hi) {
  double fa = difference(j, a, b, lo), fb = difference(j, a, b, hi);
  if (!(lo > 0 && hi > lo) || !((fa < 0 && fb > 0) || (fa > 0 && fb < 0))) return NAN;
  double x = log(lo), y = log(hi);
  for (int i = 0; i < 100 && y - x > 1e-9; i++) {
    double mid = 0.5 * (x + y), f = difference(j, a, b, exp(mid));
    if ((f > 0) == (fa > 0))
      x = mid;
    else
      y = mid;
  }
  return exp(0.5 * (x + y));
}
