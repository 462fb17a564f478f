// The budget as a type: resources from budget.def, cost vectors with intervals, limits, and how they combine.
#ifndef ISO_COST_BUDGET_H
#define ISO_COST_BUDGET_H
#include "base/json.h"
#include "base/str.h"
#include "base/unit.h"

typedef enum iso_res {
#define X(name, unit, serial, parallel, kind, scope, help) ISO_RES_##name,
#include "cost/budget.def"
#undef X
  ISO_RES_COUNT
} iso_res;

// How a resource combines: seconds add one after another and overlap side by side; peak bytes the other way round.
typedef enum iso_rule { ISO_RULE_SUM, ISO_RULE_MAX } iso_rule;
// A consumable is used up; a capacity is held and given back.
typedef enum iso_res_kind { ISO_KIND_CONSUMABLE, ISO_KIND_CAPACITY } iso_res_kind;
// What one limit covers: one device, one rank of a distributed job, or the job.
typedef enum iso_res_scope { ISO_SCOPE_DEVICE, ISO_SCOPE_RANK, ISO_SCOPE_JOB } iso_res_scope;

typedef struct iso_res_info {
  const char *name;  // CLI key, JSON key, SQL column stem
  iso_unit unit;     // SI base units: FLOP, s, B, J, g, USD, tokens, a count
  iso_rule serial, parallel;
  iso_res_kind kind;
  iso_res_scope scope;
  const char *help;
} iso_res_info;
const iso_res_info *iso_res_get(iso_res r);
// Resource by name; an unknown name is ISO_EINVAL with "did you mean".
iso_status iso_res_find(const char *name, iso_res *out, iso_err *err);

// An estimate: low, mean, high. Unknown is NaN in all three. Measured values have lo = mean = hi.
typedef struct iso_est {
  double lo, mean, hi;
} iso_est;
static inline iso_est iso_est_exact(double v) { return (iso_est){v, v, v}; }
static inline iso_est iso_est_range(double lo, double mean, double hi) { return (iso_est){lo, mean, hi}; }
iso_est iso_est_unknown(void);
// mean x (1 - rel), mean, mean x (1 + rel).
static inline iso_est iso_est_rel(double mean, double rel) { return (iso_est){mean * (1 - rel), mean, mean * (1 + rel)}; }
// Intervals add end to end (as if errors were fully correlated: never too narrow).
static inline iso_est iso_est_add(iso_est a, iso_est b) { return (iso_est){a.lo + b.lo, a.mean + b.mean, a.hi + b.hi}; }
// n >= 0; zero times unknown is zero.
iso_est iso_est_scale(iso_est a, double n);
// Element by element; NaN on either side gives NaN.
iso_est iso_est_max(iso_est a, iso_est b);

typedef struct iso_cost {
#define X(name, unit, serial, parallel, kind, scope, help) iso_est name;
#include "cost/budget.def"
#undef X
} iso_cost;

iso_cost iso_cost_zero(void);
iso_cost iso_cost_unknown(void);
// Zero in every resource but one.
iso_cost iso_cost_of(iso_res r, iso_est e);
iso_est *iso_cost_at(iso_cost *c, iso_res r);
iso_est iso_cost_get(const iso_cost *c, iso_res r);
// a then b.
iso_cost iso_cost_serial(iso_cost a, iso_cost b);
// a beside b, at the same time.
iso_cost iso_cost_parallel(iso_cost a, iso_cost b);
// n of a, one after another (n >= 0, may be a mean count; a capacity counts once when n > 0).
iso_cost iso_cost_times(iso_cost a, double n);
// n of a, side by side.
iso_cost iso_cost_abreast(iso_cost a, double n);
// {"wall": 12.5, "energy": [lo, mean, hi], "instr": null}: a number when exact, null when unknown. Owned by the caller; NULL: no memory.
json_t *iso_cost_json(const iso_cost *c);
// Reads what iso_cost_json writes. Absent keys are unknown; unknown keys, lo > mean and mean > hi are ISO_EFORMAT.
iso_status iso_cost_from_json(const json_t *j, const char *what, iso_cost *out, iso_err *err);

// Limits. An absent limit is +INFINITY.
typedef struct iso_budget {
#define X(name, unit, serial, parallel, kind, scope, help) double name;
#include "cost/budget.def"
#undef X
} iso_budget;

iso_budget iso_budget_none(void);
double *iso_budget_at(iso_budget *b, iso_res r);
double iso_budget_get(const iso_budget *b, iso_res r);
bool iso_budget_is_bounded(const iso_budget *b);
// "5m,600MiB", "train_flop=5e17,wall=90s,usd=$0.10". Every limit positive and finite. ISO_EINVAL: empty items, duplicates
// (also by alias), unknown keys and units, zero, negative.
iso_status iso_budget_parse(const char *text, iso_budget *out, iso_err *err);
// Normalised text that iso_budget_parse reads back exactly: "wall=300s,peak_ram=600MiB"; "none" when nothing is limited. Appends to s.
void iso_budget_print(const iso_budget *b, iso_str *s);
// {"wall": 300.0}: finite limits only. Owned by the caller; NULL: no memory.
json_t *iso_budget_json(const iso_budget *b);
// Numbers in base units or strings with units; null is no limit; unknown keys are ISO_EFORMAT.
iso_status iso_budget_from_json(const json_t *j, const char *what, iso_budget *out, iso_err *err);
// Whether `total` stays within every finite limit at its high estimate; unknown never fits a finite limit. A relative slack of 1e-12
// covers rounding in sums. *binding (may be NULL) gets an unknown resource first, else the one that is passed by the largest factor.
bool iso_budget_fits(const iso_budget *b, const iso_cost *total, iso_res *binding);
// Limits less spent.hi for consumables (not below 0; unknown spent leaves 0 of a finite limit); capacities stay whole.
iso_budget iso_budget_left(const iso_budget *b, const iso_cost *spent);
// Fills an ISO_EBUDGET error: what `label` asks of the binding resource, what is left, and as a hint the least budget that would do
// for `total` (= everything committed and this). Returns ISO_EBUDGET.
iso_status iso_budget_refuse(const iso_budget *b, const iso_cost *total, const iso_cost *asked, const char *label, iso_err *err);
#endif
