// Answers questions to a law with given constants, and carries the published uncertainty of the constants to the answers.
#include "plan/law_ask.h"

#include <math.h>
#include <string.h>

#include "base/stat.h"

enum { PM = ISO_LAW_PARAM_MAX, XM = ISO_LAW_INPUT_MAX };
#define N_LO 1e3
#define N_HI 1e15
#define INPUT_LO 1e-6
#define INPUT_HI 1e30

// ---- optimum and inverses -------------------------------------------------------------------------------------------

static iso_status has_budget(const iso_law *law, iso_err *err) {
  if (law->at_params >= 0 && law->at_tokens >= 0) return ISO_OK;
  return iso_fail(err, ISO_EINVAL, "law %s does not split a compute budget", law->base.name);
}

// Refuses other inputs that are missing; inputs a and b (-1: none) are decided by the question.
static iso_status check_others(const iso_law *law, const double *x, int a, int b, iso_err *err) {
  double at[XM];
  memcpy(at, x, sizeof *x * (size_t)law->n_inputs);
  if (a >= 0) at[a] = 1;
  if (b >= 0) at[b] = 1;
  return iso_law_check_inputs(law, at, err);
}

// Optimum by whichever way; *edge says that the search ended at an end of its range.
static iso_status optimum(const iso_law *law, const double *p, const double *x, double flop, iso_law_point *out, bool *edge, iso_err *err) {
  bool plain = law->optimum != NULL;
  for (int i = 0; i < law->n_inputs; i++) plain = plain && (i == law->at_params || i == law->at_tokens || x[i] == law->input[i].absent);
  *edge = false;
  if (plain) return law->optimum(p, flop, out, err);
  return iso_law_optimum_numeric(law, p, x, flop, N_LO, N_HI, NULL, NULL, out, edge, err);
}

iso_status iso_law_optimum_at(const iso_law *law, const double *p, const double *x, double flop, iso_law_point *out, iso_err *err) {
  bool edge;
  ISO_TRY(has_budget(law, err));
  ISO_TRY(check_others(law, x, law->at_params, law->at_tokens, err));
  ISO_TRY(optimum(law, p, x, flop, out, &edge, err));
  if (!edge) return ISO_OK;
  return iso_fail(err, ISO_ENUM, "law %s has no optimum between %g and %g parameters at %g FLOP", law->base.name, N_LO, N_HI, flop);
}

iso_status iso_law_flop_for(const iso_law *law, const double *p, const double *x, double y, iso_law_point *out, iso_err *err) {
  double lo = log(1e6), hi = log(1e40);
  iso_law_point at;
  bool edge;
  ISO_TRY(has_budget(law, err));
  ISO_TRY(check_others(law, x, law->at_params, law->at_tokens, err));
  // The target falls with compute; where a search ends at an end of its range it is an upper bound, which bisection may use.
  ISO_TRY(optimum(law, p, x, exp(hi), &at, &edge, err));
  double least = at.loss;
  ISO_TRY(optimum(law, p, x, exp(lo), &at, &edge, err));
  if (!(least < y && y < at.loss)) {
    iso_fail(err, ISO_ENUM, "law %s has %s from %.6g down to %.6g between 1e6 and 1e40 FLOP, %g is not among them", law->base.name, law->target,
             at.loss, least, y);
    return iso_hint(err, ISO_ENUM, "what the law calls irreducible bounds it from below");
  }
  for (int i = 0; i < 100 && hi - lo > 1e-13 * hi; i++) {
    double mid = 0.5 * (lo + hi);
    ISO_TRY(optimum(law, p, x, exp(mid), &at, &edge, err));
    *(at.loss > y ? &lo : &hi) = mid;
  }
  return iso_law_optimum_at(law, p, x, exp(0.5 * (lo + hi)), out, err);
}

iso_status iso_law_input_for(const iso_law *law, const double *p, const double *x, int k, double y, double *out, iso_err *err) {
  enum { SCAN = 720 };
  double at[XM], a = log(INPUT_LO), h = (log(INPUT_HI) - a) / SCAN, before = NAN;
  memcpy(at, x, sizeof *x * (size_t)law->n_inputs);
  ISO_TRY(check_others(law, x, k, -1, err));
  if (law->inverse && (*out = law->inverse(p, x, k, y)) > 0 && *out < INFINITY) return ISO_OK;
  for (int i = 0; i <= SCAN; i++) {
    at[k] = exp(a + h * i);
    double f = law->value(p, at, NULL) - y;
    if (f * before <= 0) {
      // iso_law_solve would ask for the closed form again, which has no answer here.
      iso_law searched = *law;
      searched.inverse = NULL;
      *out = iso_law_solve(&searched, p, x, k, y, exp(a + h * (i - 1)), exp(a + h * i));
      if (isfinite(*out)) return ISO_OK;
    }
    before = f;
  }
  return iso_fail(err, ISO_ENUM, "law %s has %s = %g at no %s at these inputs", law->base.name, law->target, y, law->input[k].name);
}

// ---- slopes ---------------------------------------------------------------------------------------------------------

static double shifted(const iso_law *law, const double *p, const double *x, int k, double dk, int j, double dj) {
  double at[XM];
  memcpy(at, x, sizeof *x * (size_t)law->n_inputs);
  at[k] *= exp(dk);
  if (j >= 0) at[j] *= exp(dj);
  return law->value(p, at, NULL);
}

// d y / d ln x_k: the error of two widths joined falls with the fourth power.
static double by_log(const iso_law *law, const double *p, const double *x, int k) {
  const double h = 2e-4;
  if (!(x[k] > 0 && x[k] < INFINITY)) return NAN;
  double d = (shifted(law, p, x, k, h, -1, 0) - shifted(law, p, x, k, -h, -1, 0)) / (2 * h);
  double w = (shifted(law, p, x, k, 2 * h, -1, 0) - shifted(law, p, x, k, -2 * h, -1, 0)) / (4 * h);
  return (4 * d - w) / 3;
}

double iso_law_elasticity(const iso_law *law, const double *p, const double *x, int k) { return by_log(law, p, x, k) / law->value(p, x, NULL); }

double iso_law_slope(const iso_law *law, const double *p, const double *x, int k) { return by_log(law, p, x, k) / x[k]; }

double iso_law_substitution(const iso_law *law, const double *p, const double *x) {
  const double h = 1e-2;
  int n = law->at_params, d = law->at_tokens;
  if (n < 0 || d < 0 || !(x[n] > 0 && x[d] > 0)) return NAN;
  // Along u L_u + v L_v = 0, u = ln N and v = ln D, the ratio of slopes is (L_u / L_v) (D / N).
  double u = by_log(law, p, x, n), v = by_log(law, p, x, d), mid = law->value(p, x, NULL);
  double uu = (shifted(law, p, x, n, h, -1, 0) - 2 * mid + shifted(law, p, x, n, -h, -1, 0)) / (h * h);
  double vv = (shifted(law, p, x, d, h, -1, 0) - 2 * mid + shifted(law, p, x, d, -h, -1, 0)) / (h * h);
  double uv =
      (shifted(law, p, x, n, h, d, h) - shifted(law, p, x, n, h, d, -h) - shifted(law, p, x, n, -h, d, h) + shifted(law, p, x, n, -h, d, -h)) /
      (4 * h * h);
  return 1 / (1 - ((uu / u - uv / v) * v - (uv / u - vv / v) * u) / (u + v));
}

// ---- intervals ------------------------------------------------------------------------------------------------------

// The lower triangle l with l l' = corr; false when there is none.
static bool cholesky(const double *corr, int n, double l[PM][PM]) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j <= i; j++) {
      double s = corr ? corr[i * n + j] : i == j;
      for (int k = 0; k < j; k++) s -= l[i][k] * l[j][k];
      // Constants that move together leave a pivot of rounding error.
      if (i == j && !(s > -1e-6)) return false;
      l[i][j] = i == j ? sqrt(fmax(s, 0)) : l[j][j] > 0 ? s / l[j][j] : 0;
    }
  return true;
}

// p moved by `by` standard errors along column j of the triangle; constants go up or down by their own.
static void moved(const iso_law_spread *s, const double *p, int n, double l[PM][PM], int j, double by, double *out) {
  for (int k = 0; k < n; k++) {
    double w = l[k][j] * by;
    out[k] = p[k] + w * (w > 0 ? s->up[k] : s->down[k]);
  }
}

// How far q lies from mid, in logarithms where both have a sign.
static double change(double q, double mid) { return q * mid > 0 ? log(q / mid) : q - mid; }
static double changed(double mid, double by) { return mid != 0 ? mid * exp(mid > 0 ? by : -by) : by; }

iso_status iso_law_spread_ask(const iso_law *law, const iso_law_const *c, int n, iso_law_ask_fn ask, void *self, double level, iso_fit_interval *out,
                              iso_err *err) {
  const iso_law_spread *s = iso_law_spread_of(law, c);
  double l[PM][PM] = {{0}}, at[ISO_LAW_ASK_MAX], p[PM], more[ISO_LAW_ASK_MAX] = {0}, less[ISO_LAW_ASK_MAX] = {0};
  bool known[ISO_LAW_ASK_MAX];
  int m = law->n_params, ways = 0;
  if (!(level > 0 && level < 1)) return iso_fail(err, ISO_EINVAL, "law %s: level %g, expected between 0 and 1", law->base.name, level);
  if (n > ISO_LAW_ASK_MAX) return iso_fail(err, ISO_EBUG, "law %s: %d questions at once, at most %d", law->base.name, n, ISO_LAW_ASK_MAX);
  ask(self, c->p, at);
  for (int k = 0; k < n; k++) {
    out[k] = (iso_fit_interval){at[k], NAN, NAN};
    known[k] = !isnan(at[k]);
  }
  if (!s) return ISO_OK;
  if (!cholesky(s->corr, m, l))
    return iso_fail(err, ISO_EINVAL, "law %s, set %s: its correlations are those of no distribution", law->base.name, c->name);
  bool moves[PM] = {false};
  for (int j = 0; j < m; j++) {
    for (int k = 0; k < m; k++) moves[j] = moves[j] || (l[k][j] != 0 && (s->up[k] > 0 || s->down[k] > 0));
    ways += moves[j];
  }
  double z = iso_normal_quantile((1 + level) / 2), step = ways == 1 ? z : 0.02;
  for (int j = 0; j < m; j++)
    for (int sign = -1; moves[j] && sign <= 1; sign += 2) {
      moved(s, c->p, m, l, j, sign * step, p);
      ask(self, p, at);
      for (int k = 0; k < n; k++) {
        double by = change(at[k], out[k].mid) * z / step * (out[k].mid < 0 && at[k] < 0 ? -1 : 1);
        known[k] = known[k] && !isnan(by);
        *(by > 0 ? &more[k] : &less[k]) += by * by;
      }
    }
  for (int k = 0; k < n; k++) {
    if (!known[k]) continue;
    out[k].hi = changed(out[k].mid, sqrt(more[k]));
    out[k].lo = changed(out[k].mid, -sqrt(less[k]));
  }
  return ISO_OK;
}

typedef struct at_x {
  const iso_law *law;
  const double *x;
} at_x;

static void ask_target(void *self, const double *p, double *out) {
  const at_x *a = self;
  *out = a->law->value(p, a->x, NULL);
}

iso_status iso_law_predict_interval(const iso_law *law, const iso_law_const *c, const double *x, double level, iso_fit_interval *out, iso_err *err) {
  double y;
  ISO_TRY(iso_law_predict_const(law, c, x, &y, err));
  return iso_law_spread_ask(law, c, 1, ask_target, &(at_x){law, x}, level, out, err);
}
