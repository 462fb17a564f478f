// Resources, cost vectors and how they combine, limits and whether costs fit them.
#include "cost/budget.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const iso_res_info INFO[ISO_RES_COUNT] = {
#define X(name, unit, serial, parallel, kind, scope, help) \
  {#name, ISO_UNIT_##unit, ISO_RULE_##serial, ISO_RULE_##parallel, ISO_KIND_##kind, ISO_SCOPE_##scope, help},
#include "cost/budget.def"
#undef X
};

// Both structs are one member per resource and nothing else, so that they can be walked as arrays.
_Static_assert(sizeof(iso_cost) == ISO_RES_COUNT * sizeof(iso_est), "iso_cost has padding");
_Static_assert(sizeof(iso_budget) == ISO_RES_COUNT * sizeof(double), "iso_budget has padding");

const iso_res_info *iso_res_get(iso_res r) { return &INFO[r]; }

iso_status iso_res_find(const char *name, iso_res *out, iso_err *err) {
  int best = 0;
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    if (strcmp(name, INFO[r].name) == 0) {
      *out = (iso_res)r;
      return ISO_OK;
    }
    if (iso_str_distance(name, INFO[r].name) < iso_str_distance(name, INFO[best].name)) best = r;
  }
  iso_fail(err, ISO_EINVAL, "unknown resource \"%.40s\"", name);
  if (iso_str_near(INFO[best].name, name)) return iso_hint(err, ISO_EINVAL, "did you mean \"%s\"?", INFO[best].name);
  iso_str s = {0};
  for (int r = 0; r < ISO_RES_COUNT; r++) iso_str_fmt(&s, "%s%s", r ? ", " : "", INFO[r].name);
  iso_hint(err, ISO_EINVAL, "known: %s", s.p ? s.p : "");
  iso_str_free(&s);
  return ISO_EINVAL;
}

iso_est iso_est_unknown(void) { return iso_est_exact(NAN); }

iso_est iso_est_scale(iso_est a, double n) { return n == 0 ? iso_est_exact(0) : (iso_est){a.lo * n, a.mean * n, a.hi * n}; }

static double max_nan(double a, double b) { return isnan(a) || isnan(b) ? NAN : a > b ? a : b; }

iso_est iso_est_max(iso_est a, iso_est b) { return (iso_est){max_nan(a.lo, b.lo), max_nan(a.mean, b.mean), max_nan(a.hi, b.hi)}; }

static iso_cost filled(iso_est e) {
  iso_cost c;
  for (int r = 0; r < ISO_RES_COUNT; r++) *iso_cost_at(&c, (iso_res)r) = e;
  return c;
}

iso_cost iso_cost_zero(void) { return filled(iso_est_exact(0)); }
iso_cost iso_cost_unknown(void) { return filled(iso_est_unknown()); }

iso_cost iso_cost_of(iso_res r, iso_est e) {
  iso_cost c = iso_cost_zero();
  *iso_cost_at(&c, r) = e;
  return c;
}

iso_est *iso_cost_at(iso_cost *c, iso_res r) {
  switch (r) {
#define X(name, unit, serial, parallel, kind, scope, help) \
  case ISO_RES_##name:                                     \
    return &c->name;
#include "cost/budget.def"
#undef X
    case ISO_RES_COUNT: break;
  }
  return NULL;
}

iso_est iso_cost_get(const iso_cost *c, iso_res r) {
  iso_est e;
  memcpy(&e, (const char *)c + (size_t)r * sizeof e, sizeof e);
  return e;
}

static iso_cost combine(const iso_cost *a, const iso_cost *b, bool parallel) {
  iso_cost c;
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    iso_est x = iso_cost_get(a, (iso_res)r), y = iso_cost_get(b, (iso_res)r);
    bool sum = (parallel ? INFO[r].parallel : INFO[r].serial) == ISO_RULE_SUM;
    *iso_cost_at(&c, (iso_res)r) = sum ? iso_est_add(x, y) : iso_est_max(x, y);
  }
  return c;
}

iso_cost iso_cost_serial(iso_cost a, iso_cost b) { return combine(&a, &b, false); }
iso_cost iso_cost_parallel(iso_cost a, iso_cost b) { return combine(&a, &b, true); }

static iso_cost repeat(const iso_cost *a, double n, bool parallel) {
  iso_cost c;
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    bool sum = (parallel ? INFO[r].parallel : INFO[r].serial) == ISO_RULE_SUM;
    *iso_cost_at(&c, (iso_res)r) = iso_est_scale(iso_cost_get(a, (iso_res)r), sum ? n : n == 0 ? 0 : 1);
  }
  return c;
}

iso_cost iso_cost_times(iso_cost a, double n) { return repeat(&a, n, false); }
iso_cost iso_cost_abreast(iso_cost a, double n) { return repeat(&a, n, true); }

iso_budget iso_budget_none(void) {
  iso_budget b;
  for (int r = 0; r < ISO_RES_COUNT; r++) *iso_budget_at(&b, (iso_res)r) = INFINITY;
  return b;
}

double *iso_budget_at(iso_budget *b, iso_res r) {
  switch (r) {
#define X(name, unit, serial, parallel, kind, scope, help) \
  case ISO_RES_##name:                                     \
    return &b->name;
#include "cost/budget.def"
#undef X
    case ISO_RES_COUNT: break;
  }
  return NULL;
}

double iso_budget_get(const iso_budget *b, iso_res r) {
  double v;
  memcpy(&v, (const char *)b + (size_t)r * sizeof v, sizeof v);
  return v;
}

bool iso_budget_is_bounded(const iso_budget *b) {
  for (int r = 0; r < ISO_RES_COUNT; r++)
    if (iso_budget_get(b, (iso_res)r) < INFINITY) return true;
  return false;
}

static bool within(double hi, double limit) { return !(limit < INFINITY) || hi <= limit * (1 + 1e-12); }

bool iso_budget_fits(const iso_budget *b, const iso_cost *total, iso_res *binding) {
  bool fits = true, unknown = false;
  double worst = 0;
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    double limit = iso_budget_get(b, (iso_res)r), hi = iso_cost_get(total, (iso_res)r).hi;
    if (within(hi, limit)) continue;
    double factor = limit > 0 ? hi / limit : INFINITY;
    bool first = fits;
    fits = false;
    if (unknown || !(first || isnan(hi) || factor > worst)) continue;
    unknown = isnan(hi);
    worst = factor;
    if (binding) *binding = (iso_res)r;
  }
  return fits;
}

iso_budget iso_budget_left(const iso_budget *b, const iso_cost *spent) {
  iso_budget left = *b;
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    double *l = iso_budget_at(&left, (iso_res)r), hi = iso_cost_get(spent, (iso_res)r).hi;
    if (*l < INFINITY && INFO[r].kind == ISO_KIND_CONSUMABLE) *l = hi < *l ? *l - hi : 0;  // NaN leaves nothing
  }
  return left;
}

// A number with its unit that reads back as at least v, rounded up to three digits: for advice.
static void print_least(iso_str *s, double v, iso_unit u) {
  iso_budget b = iso_budget_none();
  double digits = pow(10, floor(log10(v)) - 2), up = ceil(v / digits * (1 - 1e-12)) * digits;
  char three[40];
  (void)snprintf(three, sizeof three, "%.3g", up);  // 189 * 0.01 is not 1.89
  up = strtod(three, NULL);
  if (u == ISO_UNIT_BYTE) {
    double base = v < 0x1p20 ? 1 : 0x1p20;
    up = ceil(v / base) * base;
  }
  for (int r = 0; r < ISO_RES_COUNT; r++)
    if (INFO[r].unit == u) {
      *iso_budget_at(&b, (iso_res)r) = up;
      iso_str one = {0};
      iso_budget_print(&b, &one);
      const char *eq = one.p ? strchr(one.p, '=') : NULL;
      if (eq) iso_str_add(s, eq + 1);
      iso_str_free(&one);
      return;
    }
}

iso_status iso_budget_refuse(const iso_budget *b, const iso_cost *total, const iso_cost *asked, const char *label, iso_err *err) {
  iso_res r = ISO_RES_wall;
  if (iso_budget_fits(b, total, &r)) return iso_fail(err, ISO_EBUG, "%.60s: refused although it fits the budget", label);
  char limit[48], ask[48], left[48];
  double lim = iso_budget_get(b, r), hi = iso_cost_get(total, r).hi, want = iso_cost_get(asked, r).hi;
  iso_unit_print(lim, INFO[r].unit, limit, sizeof limit);
  if (isnan(hi)) {
    iso_fail(err, ISO_EBUDGET, "%.60s: its %s is unknown, and the budget limits %s to %s", label, INFO[r].name, INFO[r].name, limit);
    return iso_hint(err, ISO_EBUDGET, "drop the limit on %s, or have it measured first (isoflop calibrate)", INFO[r].name);
  }
  double rest = lim - (hi - want);
  iso_unit_print(want, INFO[r].unit, ask, sizeof ask);
  iso_unit_print(rest > 0 ? rest : 0, INFO[r].unit, left, sizeof left);
  iso_fail(err, ISO_EBUDGET, "%.60s: needs %s of %s, %s of %s is left", label, ask, INFO[r].name, left, limit);
  iso_str s = {0};
  for (int k = 0; k < ISO_RES_COUNT; k++) {
    double need = iso_cost_get(total, (iso_res)k).hi;
    if (within(need, iso_budget_get(b, (iso_res)k)) || !isfinite(need)) continue;
    iso_str_fmt(&s, "%s%s=", s.n ? "," : "", INFO[k].name);
    print_least(&s, need, INFO[k].unit);
  }
  if (s.n) iso_hint(err, ISO_EBUDGET, "the least that would do: --budget %s", s.p);
  iso_str_free(&s);
  return ISO_EBUDGET;
}
