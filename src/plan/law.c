// The list of scaling laws and the searches that work for any of them.
#include "plan/law.h"

#include <math.h>
#include <string.h>

static const iso_law *const LAWS[] = {
#define LAW(name) &iso_law_##name,
#include "plan/laws.def"
#undef LAW
};

int64_t iso_law_count(void) { return (int64_t)ISO_COUNT(LAWS); }
const iso_law *iso_law_at(int64_t i) { return i >= 0 && i < iso_law_count() ? LAWS[i] : NULL; }

iso_status iso_law_find(const char *name, const iso_law **out, iso_err *err) {
  const iso_plugin *list[ISO_COUNT(LAWS)], *found = NULL;
  for (size_t i = 0; i < ISO_COUNT(LAWS); i++) list[i] = &LAWS[i]->base;
  ISO_TRY(iso_plugin_find(list, iso_law_count(), "law", name, &found, err));
  *out = (const iso_law *)found;
  return ISO_OK;
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
  return iso_hint(err, ISO_EINVAL, "the sets are: %s", names);
}

typedef struct search {
  const iso_law *law;
  const double *p;
  double flop;
  iso_law_tokens_fn tokens;
  void *self;
} search;

static double six_nd(void *self, double params, double flop) {
  (void)self;
  return flop / (ISO_LAW_FLOP_PER_PARAM_TOK * params);
}

// Loss at log N under the budget; +INFINITY where the budget buys nothing.
static double loss_at(const search *s, double log_n, iso_law_point *pt) {
  double n = exp(log_n), d = s->tokens(s->self, n, s->flop);
  double l = d > 0 ? s->law->loss(s->p, n, d) : INFINITY;
  if (!(l == l)) l = INFINITY;
  if (pt) *pt = (iso_law_point){.flop = s->flop, .params = n, .tokens = d, .loss = l};
  return l;
}

iso_status iso_law_optimum_numeric(const iso_law *law, const double *p, double flop, double n_lo, double n_hi, iso_law_tokens_fn tokens, void *self,
                                   iso_law_point *out, bool *at_edge, iso_err *err) {
  if (!(flop > 0 && flop < INFINITY)) return iso_fail(err, ISO_EINVAL, "law optimum: budget of %g FLOP, expected a positive finite one", flop);
  if (!(n_lo > 0 && n_lo < n_hi && n_hi < INFINITY))
    return iso_fail(err, ISO_EINVAL, "law optimum: range of N %g to %g, expected 0 < low < high < infinity", n_lo, n_hi);
  search s = {law, p, flop, tokens ? tokens : six_nd, self};
  enum { SCAN = 400 };
  double lo = log(n_lo), hi = log(n_hi), h = (hi - lo) / SCAN, best = INFINITY;
  int at = -1;
  for (int i = 0; i <= SCAN; i++) {
    double l = loss_at(&s, lo + h * i, NULL);
    if (l < best) {
      best = l;
      at = i;
    }
  }
  if (at < 0) return iso_fail(err, ISO_ENUM, "law optimum: no finite loss for N in %g to %g at %g FLOP", n_lo, n_hi, flop);
  double a = lo + h * (at > 0 ? at - 1 : 0), b = lo + h * (at < SCAN ? at + 1 : SCAN);
  const double ratio = 0.6180339887498949;
  double x1 = b - ratio * (b - a), x2 = a + ratio * (b - a), f1 = loss_at(&s, x1, NULL), f2 = loss_at(&s, x2, NULL);
  // 60 cuts bring a bracket of two scan steps below the square root of the rounding error, where a minimum cannot be told apart.
  for (int i = 0; i < 60; i++) {
    if (f1 <= f2) {
      b = x2;
      x2 = x1;
      f2 = f1;
      x1 = b - ratio * (b - a);
      f1 = loss_at(&s, x1, NULL);
    } else {
      a = x1;
      x1 = x2;
      f1 = f2;
      x2 = a + ratio * (b - a);
      f2 = loss_at(&s, x2, NULL);
    }
  }
  double log_n = 0.5 * (a + b);
  double edge = loss_at(&s, lo, NULL) < loss_at(&s, hi, NULL) ? lo : hi;
  bool on_edge = loss_at(&s, edge, NULL) <= loss_at(&s, log_n, NULL);
  loss_at(&s, on_edge ? edge : log_n, out);
  if (at_edge) *at_edge = on_edge;
  return ISO_OK;
}

double iso_law_tokens_for_loss(const iso_law *law, const double *p, double params, double loss) {
  double lo = 0, hi = log(1e30);
  if (!(law->loss(p, params, exp(hi)) < loss)) return INFINITY;
  if (law->loss(p, params, 1) <= loss) return 1;
  for (int i = 0; i < 200 && hi - lo > 1e-13; i++) {
    double mid = 0.5 * (lo + hi);
    if (law->loss(p, params, exp(mid)) > loss)
      lo = mid;
    else
      hi = mid;
  }
  return exp(0.5 * (lo + hi));
}
