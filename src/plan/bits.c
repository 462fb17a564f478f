// Searches of law precision: bits, parameters and tokens together.
#include "plan/bits.h"

#include <math.h>

// Inputs of the law, in its order.
enum { N, D, BITS, POST = BITS + ISO_BITS_PARTS };
// Bits below which no part of the law is left, and sizes between which the best is looked for.
#define BITS_LO 1.0
#define N_LO 1e3
#define N_HI 1e15

iso_bits_q iso_bits_q_default(const double *p) {
  return (iso_bits_q){.p = p, .flop = NAN, .params = NAN, .tokens = NAN, .bits = {NAN, NAN, NAN}, .post_bits = INFINITY, .params_max = INFINITY};
}

void iso_bits_inputs(double params, double tokens, const double bits[ISO_BITS_PARTS], double post, double x[ISO_LAW_INPUT_MAX]) {
  x[N] = params;
  x[D] = tokens;
  for (int k = 0; k < ISO_BITS_PARTS; k++) x[BITS + k] = bits[k] >= ISO_BITS_FULL ? INFINITY : bits[k];
  x[POST] = post >= ISO_BITS_FULL ? INFINITY : post;
}

double iso_bits_share(const double *p, const double bits[ISO_BITS_PARTS]) {
  // With few bits the law is that of a model of fewer parameters: its slope in N, alpha A / N_eff^alpha / N, says how many.
  double x[ISO_LAW_INPUT_MAX], full[ISO_LAW_INPUT_MAX], with[ISO_LAW_PARAM_MAX], without[ISO_LAW_PARAM_MAX];
  const double none[ISO_BITS_PARTS] = {ISO_BITS_FULL, ISO_BITS_FULL, ISO_BITS_FULL};
  int a = iso_law_param_find(&iso_law_precision, "log_a"), alpha = iso_law_param_find(&iso_law_precision, "alpha");
  iso_bits_inputs(1, 1, bits, INFINITY, x);
  iso_bits_inputs(1, 1, none, INFINITY, full);
  if (!isfinite(iso_law_precision.value(p, x, with)) || !isfinite(iso_law_precision.value(p, full, without))) return NAN;
  return exp(-log(with[a] / without[a]) / p[alpha]);
}

double iso_bits_critical_tokens(const double *p, double params, const double bits[ISO_BITS_PARTS], double post) {
  double x[ISO_LAW_INPUT_MAX];
  iso_bits_inputs(params, NAN, bits, post, x);
  double d = iso_law_precision.best(p, x, D);
  return isnan(d) ? INFINITY : d;
}

// ---- the search -----------------------------------------------------------------------------------------------------

typedef struct search {
  const iso_bits_q *q;
  double bits[ISO_BITS_PARTS], x[ISO_LAW_INPUT_MAX];
} search;

static double flop_per_tok(search *s, double params) {
  s->x[N] = params;
  return iso_law_precision.flop_per_tok(s->x);
}

// Loss of `params` parameters with the tokens that are left for them.
static double loss_at(search *s, double params) {
  const iso_bits_q *q = s->q;
  s->x[D] = isnan(q->tokens) ? q->flop / flop_per_tok(s, params) : q->tokens;
  s->x[N] = params;
  double l = iso_law_precision.value(q->p, s->x, NULL);
  return isfinite(l) ? l : INFINITY;
}

static double over_size(void *self, double log_n) { return loss_at(self, exp(log_n)); }

// The best size with the bits of *s, left in s->x; its loss.
static double best_size(search *s) {
  const iso_bits_q *q = s->q;
  double hi = fmin(N_HI, q->params_max);
  iso_bits_inputs(NAN, NAN, s->bits, q->post_bits, s->x);
  if (!isnan(q->params)) return loss_at(s, q->params);
  if (!isnan(q->tokens)) return loss_at(s, fmin(q->params_max, isnan(q->flop) ? INFINITY : q->flop / (flop_per_tok(s, 1) * q->tokens)));
  if (!(hi > N_LO)) return INFINITY;
  double u = iso_law_least(over_size, s, log(N_LO), log(hi), 100, NULL);
  if (isnan(u)) return INFINITY;
  double n = fmin(exp(u), hi), at_end = loss_at(s, hi);
  return loss_at(s, n) < at_end ? loss_at(s, n) : loss_at(s, hi);
}

static double with_bits(search *s, double bits) {
  for (int k = 0; k < ISO_BITS_PARTS; k++) s->bits[k] = isnan(s->q->bits[k]) ? bits : s->q->bits[k];
  return best_size(s);
}

static double over_bits(void *self, double bits) { return with_bits(self, bits); }

// The number of bits for parts that are to be chosen.
static double choose_bits(search *s, double least, bool whole) {
  double at = ISO_BITS_FULL, best = with_bits(s, at), l;
  if (least >= ISO_BITS_FULL) return at;
  if (!whole) {
    double u = iso_law_least(over_bits, s, least, ISO_BITS_FULL, 60, NULL);
    return !isnan(u) && with_bits(s, u) < best ? u : at;
  }
  for (double b = ceil(least); b < ISO_BITS_FULL; b++) {
    if (!((l = with_bits(s, b)) < best)) continue;
    best = l;
    at = b;
  }
  return at;
}

static iso_status check(const iso_bits_q *q, iso_err *err) {
  const double v[3] = {q->flop, q->params, q->tokens};
  int given = 0;
  for (int i = 0; i < 3; i++) {
    given += !isnan(v[i]);
    if (!isnan(v[i]) && !(v[i] > 0 && v[i] < INFINITY))
      return iso_fail(err, ISO_EINVAL, "bits: %g of FLOPs, parameters or tokens, expected a positive number", v[i]);
  }
  if (given == 3) return iso_fail(err, ISO_EINVAL, "bits: FLOPs, parameters and tokens are all given: leave one of them out");
  if (!(q->params_max > 0)) return iso_fail(err, ISO_EINVAL, "bits: memory for %g parameters", q->params_max);
  if (q->params > q->params_max) return iso_fail(err, ISO_EINVAL, "bits: %g parameters, memory holds %g", q->params, q->params_max);
  for (int k = 0; k < ISO_BITS_PARTS; k++)
    if (q->bits[k] <= 0) return iso_fail(err, ISO_EINVAL, "bits: %g bits, expected a positive number", q->bits[k]);
  if (!(q->post_bits > 0)) return iso_fail(err, ISO_EINVAL, "bits: weights quantised to %g bits, expected a positive number", q->post_bits);
  if (given == 2 || !isnan(q->flop) || (!isnan(q->tokens) && isfinite(q->params_max))) return ISO_OK;
  return iso_fail(err, ISO_EINVAL, "bits: give FLOPs, or parameters and tokens, or tokens and a memory to serve in");
}

iso_status iso_bits_best(const iso_bits_q *q, bool whole, iso_bits_point *out, iso_err *err) {
  search s = {.q = q};
  double least = BITS_LO;
  bool free_bits = false;
  *out = (iso_bits_point){0};
  ISO_TRY(check(q, err));
  for (int k = 0; k < ISO_BITS_PARTS; k++) {
    free_bits = free_bits || isnan(q->bits[k]);
    if (!isnan(q->bits[k])) least = fmax(least, q->bits[k]);
  }
  double bits = free_bits ? choose_bits(&s, least, whole) : least, loss = with_bits(&s, bits);
  if (!isfinite(loss)) {
    iso_fail(err, ISO_ENUM, "bits: no finite loss with %g, %g and %g bits of weights, activations and caches", s.bits[0], s.bits[1], s.bits[2]);
    return iso_hint(err, ISO_ENUM, "below some 3 bits a part loses everything by this law");
  }
  *out = (iso_bits_point){.params = s.x[N], .tokens = s.x[D], .loss = loss, .share = iso_bits_share(q->p, s.bits)};
  for (int k = 0; k < ISO_BITS_PARTS; k++) {
    out->bits[k] = fmin(s.bits[k], ISO_BITS_FULL);
    out->widest = fmax(out->widest, out->bits[k]);
  }
  out->effective_params = out->share * out->params;
  out->flop = flop_per_tok(&s, out->params) * out->tokens;
  out->at_memory = out->params == q->params_max;
  s.x[POST] = INFINITY;
  out->post_loss = loss - iso_law_precision.value(q->p, s.x, NULL);
  return ISO_OK;
}
