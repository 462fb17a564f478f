// isoflop plan pools: on which of several data pools to train for a budget of samples, and at which budgets the choice changes.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan/args.h"
#include "cli/plan/fit.h"
#include "cli/why.h"
#include "plan/pools.h"

static const char *const EXAMPLES[] = {"isoflop plan pools --data pools.csv --budgets 1e8,1e9samples",
                                       "isoflop plan pools --data pools.csv --budgets 500M --sizes best=100M,rest=1.2B --json", NULL};
static const cli_opt OPTS[] = {
    {"data", CLI_TEXT, "FILE", NULL, "CSV of runs on one pool each: pool (its name), samples (seen), pool_size (different ones), error"},
    {"budgets", CLI_TEXT, "N,...", NULL, "samples to train on, as in 1e8,1e9samples"},
    {"sizes", CLI_TEXT, "NAME=N,...", NULL, "different samples that a pool has (default: the largest pool_size of its runs)"},
    {"max-reach", CLI_REAL, "R", "20", "refuse budgets further outside the runs' samples than this ratio"},
    CLI_PLAN_FIT_OPTS,
    CLI_PLAN_OPTS,
};
// Changes of the choice are looked for this far round the budgets.
#define AROUND 30.0

enum { BUDGETS_MAX = 16, CHANGES_MAX = 32, OTHERS = 5, SUBSETS = 1 << ISO_POOLS_FIT_MAX };
typedef struct answer {
  iso_csv table;  // owned; pools' names are its
  const char *name[ISO_POOLS_FIT_MAX];
  double unique[ISO_POOLS_FIT_MAX], level, budget[BUDGETS_MAX];
  int64_t runs[ISO_POOLS_FIT_MAX];
  int pools, budgets;
  iso_pools_law law;
  iso_law_data rows;  // owned
  cli_plan_fit fit;   // owned
} answer;

// Pools of the estimate (i < 0) or of refit i.
static void rows_of(const answer *o, int64_t i, iso_pool_row *row, double *n0, double *d) {
  iso_pools_rows(i < 0 ? o->fit.p : cli_plan_fit_sample(&o->fit, i), o->pools, o->unique, row, n0, d);
}

// ---- reading --------------------------------------------------------------------------------------------------------

static int pool_of(const answer *o, const char *name) {
  for (int i = 0; i < o->pools; i++)
    if (strcmp(o->name[i], name) == 0) return i;
  return -1;
}

static iso_status read_rows(answer *o, const char *path, iso_err *err) {
  static const char *const NAME[4] = {"pool", "samples", "pool_size", "error"};
  const iso_csv *t = &o->table;
  int col[4];
  double sum = 0, least = INFINITY;
  for (int k = 0; k < 4; k++) ISO_TRY(iso_csv_need(t, NAME[k], &col[k], err));
  // The law follows from the rows; only its number of inputs is needed to hold them.
  ISO_TRY(iso_pools_law_open(1, 1, 1, &o->law, err));
  ISO_TRY(iso_law_data_open(&o->law.law, t->rows, &o->rows, err));
  for (int64_t r = 0; r < t->rows; r++) {
    const char *name = iso_csv_cell(t, r, col[0]);
    double *x = o->rows.x + r * ISO_POOLS_INPUTS;
    int i = pool_of(o, name);
    if (i < 0 && o->pools == ISO_POOLS_FIT_MAX) return iso_fail(err, ISO_EFORMAT, "%.200s: more than %d pools", path, ISO_POOLS_FIT_MAX);
    if (i < 0) o->name[i = o->pools++] = name;
    for (int k = 0; k < 2; k++) ISO_TRY(iso_csv_positive(t, r, col[k + 1], NAME[k + 1], &x[k], err));
    ISO_TRY(iso_csv_positive(t, r, col[3], NAME[3], &o->rows.y[r], err));
    if (isnan(x[0]) || isnan(x[1]) || isnan(o->rows.y[r]))
      return iso_fail(err, ISO_EFORMAT, "%.200s, run %lld: samples, pool_size or error is empty", path, (long long)r + 1);
    x[2] = i + 1;
    o->runs[i]++;
    o->unique[i] = fmax(o->unique[i], x[1]);
    sum += log(x[0]);
    least = fmin(least, o->rows.y[r]);
  }
  if (o->pools < 2) return iso_fail(err, ISO_EFORMAT, "%.200s: %d pool, expected runs on two or more", path, o->pools);
  return iso_pools_law_open(o->pools, exp(sum / (double)t->rows), least, &o->law, err);
}

static iso_status read_count(const char *text, const char *what, double *out, iso_err *err) {
  char number[40];
  size_t n = strlen(text), tail = strlen("samples");
  if (n > tail && strcmp(text + n - tail, "samples") == 0) n -= tail;
  if (n == 0 || n >= sizeof number) return iso_fail(err, ISO_EINVAL, "%s: \"%.60s\", expected a number as in 1e8 or 100M", what, text);
  memcpy(number, text, n);
  number[n] = 0;
  iso_status st = iso_unit_parse(number, ISO_UNIT_COUNT, out, err);
  if (st != ISO_OK) return iso_err_prefix(err, st, "%s", what);
  return *out >= 1 && *out <= 1e18 ? ISO_OK : iso_fail(err, ISO_EINVAL, "%s: %g, expected 1 to 1e18", what, *out);
}

static iso_status put_size(void *self, const char *key, const char *value, iso_err *err) {
  answer *o = self;
  int i = pool_of(o, key);
  return i < 0 ? iso_fail(err, ISO_EINVAL, "no pool \"%.60s\" in the runs", key) : read_count(value, key, &o->unique[i], err);
}

static iso_status read_budgets(answer *o, const char *text, iso_err *err) {
  for (const char *s = text;; s++) {
    char one[60];
    size_t n = strcspn(s, ",");
    if (n >= sizeof one || o->budgets == BUDGETS_MAX) return iso_fail(err, ISO_EINVAL, "--budgets: expected up to %d numbers", BUDGETS_MAX);
    memcpy(one, s, n);
    one[n] = 0;
    ISO_TRY(read_count(one, "--budgets", &o->budget[o->budgets++], err));
    s += n;
    if (!*s) return ISO_OK;
  }
}

static iso_status solve(const cli_args *a, void *self, iso_err *err) {
  answer *o = self;
  const char *data = cli_text(a, "data"), *budgets = cli_text(a, "budgets"), *sizes = cli_text(a, "sizes");
  double most = cli_real(a, "max-reach");
  if (!data || !budgets) return iso_fail(err, ISO_EINVAL, "--%s is missing", data ? "budgets" : "data");
  if (!(most >= 1)) return iso_fail(err, ISO_EINVAL, "--max-reach must be 1 or more");
  ISO_TRY(read_budgets(o, budgets, err));
  ISO_TRY(cli_plan_fit_check(a, err));
  o->level = cli_real(a, "level");
  ISO_TRY(iso_csv_load(data, &o->table, err));
  ISO_TRY(read_rows(o, data, err));
  if (sizes) ISO_TRY(cli_pairs(sizes, "--sizes", put_size, o, err));
  iso_status st = cli_plan_fit_data(a, &o->rows, data, &o->fit, err);
  if (st != ISO_OK) return cli_input(st, err);
  for (int i = 0; i < o->budgets; i++) {
    double reach = fmax(o->budget[i] / o->fit.x_hi[0], o->fit.x_lo[0] / o->budget[i]);
    if (reach <= most) continue;
    iso_fail(err, ISO_EUNSUP, "a budget of %g samples is %.3g times outside the runs (%g to %g)", o->budget[i], reach, o->fit.x_lo[0],
             o->fit.x_hi[0]);
    return iso_hint(err, ISO_EUNSUP, "add runs nearer to it, or raise --max-reach");
  }
  return ISO_OK;
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

static json_t *names_json(const answer *o, unsigned use) {
  json_t *a = json_array();
  for (int i = 0; i < o->pools; i++)
    if (use >> i & 1) json_array_append_new(a, json_string(o->name[i]));
  return a;
}

static double unique_of(const answer *o, unsigned use) {
  double sum = 0;
  for (int i = 0; i < o->pools; i++)
    if (use >> i & 1) sum += o->unique[i];
  return sum;
}

// An error with what the refits say of the same pools.
static json_t *error_range(const answer *o, double value, unsigned use, double seen, double *refits) {
  iso_pool_row row[ISO_POOLS_FIT_MAX];
  double n0, d;
  for (int64_t i = 0; i < o->fit.fit.resamples; i++) {
    rows_of(o, i, row, &n0, &d);
    refits[i] = iso_pools_error(row, o->pools, use, seen, n0, d);
  }
  return cli_plan_fit_range(value, refits, o->fit.fit.resamples, o->level);
}

// Subsets by error: the best few, each pool alone, and all of them.
static json_t *alternatives(const answer *o, double seen, unsigned chosen, double *refits) {
  iso_pool_row row[ISO_POOLS_FIT_MAX];
  double n0, d, y[SUBSETS];
  unsigned all = (1u << o->pools) - 1;
  json_t *list = json_array();
  rows_of(o, -1, row, &n0, &d);
  for (unsigned use = 1; use <= all; use++) y[use] = iso_pools_error(row, o->pools, use, seen, n0, d);
  y[chosen] = NAN;
  for (unsigned taken = 0; taken < all - 1; taken++) {
    unsigned best = 0;
    for (unsigned use = 1; use <= all; use++)
      if (!isnan(y[use]) && (!best || y[use] < y[best])) best = use;
    bool single = (best & (best - 1)) == 0;
    if (taken < OTHERS || single || best == all)
      json_array_append_new(list, json_pack("{s:o, s:o, s:f}", "use", names_json(o, best), "error", error_range(o, y[best], best, seen, refits),
                                            "epochs", seen / unique_of(o, best)));
    y[best] = NAN;
  }
  return list;
}

static json_t *budget_json(const answer *o, double seen, double *refits) {
  iso_pool_row row[ISO_POOLS_FIT_MAX];
  iso_pools_choice c, b;
  double n0, d;
  int64_t n = o->fit.fit.resamples, same = 0;
  rows_of(o, -1, row, &n0, &d);
  if (iso_pools_choose(row, o->pools, seen, n0, d, &c, NULL) != ISO_OK) return json_null();
  for (int64_t i = 0; i < n; i++) {
    rows_of(o, i, row, &n0, &d);
    same += iso_pools_choose(row, o->pools, seen, n0, d, &b, NULL) == ISO_OK && b.use == c.use;
  }
  double reach = fmax(1, fmax(seen / o->fit.x_hi[0], o->fit.x_lo[0] / seen));
  rows_of(o, -1, row, &n0, &d);
  double more = iso_pools_choose(row, o->pools, 1.01 * seen, n0, d, &b, NULL) == ISO_OK ? b.error - c.error : NAN;
  json_t *shadow = json_pack("{s:o, s:s}", "error_per_percent", iso_json_num(more), "interval", "none: a slope at the budget");
  return json_pack("{s:f, s:s, s:o, s:o, s:o, s:f, s:o, s:f, s:o}", "samples", seen, "binding", "samples", "shadow", shadow, "use",
                   names_json(o, c.use), "error", error_range(o, c.error, c.use, seen, refits), "epochs", c.epochs, "refits_that_agree",
                   n ? json_real((double)same / (double)n) : json_null(), "reach", reach, "alternatives", alternatives(o, seen, c.use, refits));
}

// Where `to` becomes better than `from` in these pools, nearest to log budget `near`; NaN when nowhere within AROUND.
static double crossing(const iso_pool_row *row, int n, double n0, double d, unsigned from, unsigned to, double near) {
  enum { SCAN = 80, HALVINGS = 30 };
  double step = 2 * log(AROUND) / SCAN, best = NAN, last = NAN;
  for (int i = 0; i <= SCAN; i++) {
    double u = near - log(AROUND) + step * i, gap = iso_pools_error(row, n, to, exp(u), n0, d) - iso_pools_error(row, n, from, exp(u), n0, d);
    double lo = u - step, hi = u;
    for (int k = 0; last > 0 && gap <= 0 && k < HALVINGS; k++) {
      double mid = 0.5 * (lo + hi);
      *(iso_pools_error(row, n, to, exp(mid), n0, d) > iso_pools_error(row, n, from, exp(mid), n0, d) ? &lo : &hi) = mid;
    }
    if (last > 0 && gap <= 0 && !(fabs(hi - near) >= fabs(best - near))) best = hi;
    last = gap;
  }
  return exp(best);
}

static json_t *changes_json(const answer *o, double *refits) {
  iso_pools_change at[CHANGES_MAX];
  iso_pool_row row[ISO_POOLS_FIT_MAX];
  double n0, d, lo = INFINITY, hi = 0;
  int64_t n = o->fit.fit.resamples;
  json_t *all = json_array();
  rows_of(o, -1, row, &n0, &d);
  for (int i = 0; i < o->budgets; i++) {
    lo = fmin(lo, o->budget[i] / AROUND);
    hi = fmax(hi, o->budget[i] * AROUND);
  }
  // Below n0 the law says nothing: there the error is still that of no training.
  int m = hi > n0 ? iso_pools_changes(row, o->pools, fmax(lo, n0), hi, n0, d, at, CHANGES_MAX) : 0;
  for (int k = 0; k < m; k++) {
    for (int64_t i = 0; i < n; i++) {
      rows_of(o, i, row, &n0, &d);
      refits[i] = crossing(row, o->pools, n0, d, at[k].from, at[k].to, log(at[k].seen));
    }
    json_array_append_new(all, json_pack("{s:o, s:o, s:o}", "samples", cli_plan_fit_range(at[k].seen, refits, n, o->level), "from",
                                         names_json(o, at[k].from), "to", names_json(o, at[k].to)));
  }
  return all;
}

// The fit without what it says of the pools' numbers, which are no quantity.
static json_t *fit_json(const answer *o) {
  json_t *j = cli_plan_fit_json(&o->fit), *warn = json_object_get(j, "warnings");
  for (size_t i = json_array_size(warn); i-- > 0;)
    if (strncmp(json_string_value(json_array_get(warn, i)), "number ", 7) == 0) json_array_remove(warn, i);
  return j;
}

static json_t *pools_json(const answer *o, double *refits) {
  json_t *all = json_array();
  for (int i = 0; i < o->pools; i++) {
    json_t *range[2];
    for (int k = 0; k < 2; k++) {
      int at = 2 + 2 * i + k;  // log_b, log_tau
      for (int64_t r = 0; r < o->fit.fit.resamples; r++) refits[r] = exp(cli_plan_fit_sample(&o->fit, r)[at]);
      range[k] = cli_plan_fit_range(exp(o->fit.p[at]), refits, o->fit.fit.resamples, o->level);
    }
    json_array_append_new(all, json_pack("{s:s, s:f, s:I, s:o, s:o}", "name", o->name[i], "unique", o->unique[i], "runs", (json_int_t)o->runs[i], "b",
                                         range[0], "tau", range[1]));
  }
  return all;
}

static iso_status answer_json(const cli_args *a, const void *self, json_t **out, iso_err *err) {
  (void)a;
  const answer *o = self;
  double *refits = malloc((size_t)(o->fit.fit.resamples + 1) * sizeof *refits);
  json_t *budgets = json_array();
  if (!refits) return iso_fail(err, ISO_ENOMEM, "no memory for %lld refits", (long long)o->fit.fit.resamples);
  for (int i = 0; i < o->budgets; i++) json_array_append_new(budgets, budget_json(o, o->budget[i], refits));
  json_t *shared[2];
  for (int k = 0; k < 2; k++) {
    for (int64_t i = 0; i < o->fit.fit.resamples; i++) refits[i] = exp(cli_plan_fit_sample(&o->fit, i)[k]);
    shared[k] = cli_plan_fit_range(exp(o->fit.p[k]), refits, o->fit.fit.resamples, o->level);
  }
  *out = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "kind", "pools", "pools", pools_json(o, refits), "budgets", budgets, "changes",
                   changes_json(o, refits), "n0", shared[0], "d", shared[1], "fit", fit_json(o), "intervals",
                   o->fit.fit.resamples ? "refits of the law" : "none: no refits were made");
  free(refits);
  return ISO_OK;
}

// ---- the table ------------------------------------------------------------------------------------------------------

static const char *names_text(const json_t *list, char *buf, size_t n) {
  *buf = 0;
  for (size_t i = 0; i < json_array_size(list); i++) {
    size_t at = strlen(buf);
    (void)snprintf(buf + at, n - at, "%s%s", i ? " + " : "", json_string_value(json_array_get(list, i)));
  }
  return buf;
}

static void print_budget(const json_t *b) {
  const json_t *others = json_object_get(b, "alternatives");
  char text[300];
  printf("\n%.4g samples: train on %s\n", cli_at(b, "samples"), names_text(json_object_get(b, "use"), text, sizeof text));
  if (isnan(cli_at(b, "error.lo")))
    printf("%12.5g  %7.2f epochs\n", cli_at(b, "error.value"), cli_at(b, "epochs"));
  else
    printf("%12.5g  %7.2f epochs  (error %.5g to %.5g; %.0f%% of the refits choose the same)\n", cli_at(b, "error.value"), cli_at(b, "epochs"),
           cli_at(b, "error.lo"), cli_at(b, "error.hi"), 100 * cli_at(b, "refits_that_agree"));
  for (size_t i = 0; i < json_array_size(others); i++) {
    const json_t *o = json_array_get(others, i);
    printf("%12.5g  %7.2f epochs  %s\n", cli_at(o, "error"), cli_at(o, "epochs"), names_text(json_object_get(o, "use"), text, sizeof text));
  }
  printf("held back by the samples: 1%% more of them change the error by %+.3g\n", cli_at(b, "shadow.error_per_percent"));
  if (cli_at(b, "reach") > 1) printf("an extrapolation: %.3g times outside the runs\n", cli_at(b, "reach"));
}

static void print_plan(const json_t *r) {
  const json_t *pools = json_object_get(r, "pools"), *budgets = json_object_get(r, "budgets"), *changes = json_object_get(r, "changes");
  char from[300], to[300];
  printf("%-20s %12s %6s   %-28s %s\n", "pool", "samples", "runs", "utility b", "repetitions that halve it");
  for (size_t i = 0; i < json_array_size(pools); i++) {
    const json_t *p = json_array_get(pools, i);
    char b[60], tau[60];
    const char *const KEY[2] = {"b", "tau"};
    for (int k = 0; k < 2; k++) {
      const json_t *v = json_object_get(p, KEY[k]);
      if (isnan(cli_at(v, "lo")))
        (void)snprintf(k ? tau : b, sizeof b, "%.4g", cli_at(v, "value"));
      else
        (void)snprintf(k ? tau : b, sizeof b, "%.4g (%.4g to %.4g)", cli_at(v, "value"), cli_at(v, "lo"), cli_at(v, "hi"));
    }
    printf("%-20s %12.4g %6.0f   %-28s %s\n", cli_text_at(p, "name"), cli_at(p, "unique"), cli_at(p, "runs"), b, tau);
  }
  for (size_t i = 0; i < json_array_size(budgets); i++) print_budget(json_array_get(budgets, i));
  printf("\n");
  for (size_t i = 0; i < json_array_size(changes); i++) {
    const json_t *c = json_array_get(changes, i);
    char range[80] = "";
    if (!isnan(cli_at(c, "samples.lo"))) (void)snprintf(range, sizeof range, " (%.4g to %.4g)", cli_at(c, "samples.lo"), cli_at(c, "samples.hi"));
    cli_row(i ? "" : "the choice changes", "at %.4g samples%s: from %s to %s", cli_at(c, "samples.value"), range,
            names_text(json_object_get(c, "from"), from, sizeof from), names_text(json_object_get(c, "to"), to, sizeof to));
  }
  if (!json_array_size(changes)) cli_row("the choice changes", "nowhere within a factor of %g", AROUND);
  cli_row("from", "%s, n0 %.4g and floor %.4g shared", cli_text_at(r, "fit.source"), cli_at(r, "n0"), cli_at(r, "d"));
  cli_row("intervals", "%s", cli_text_at(r, "intervals"));
  const json_t *warn = cli_json_at(r, "fit.warnings");
  for (size_t i = 0; i < json_array_size(warn); i++) cli_row(i ? "" : "warnings", "%s", json_string_value(json_array_get(warn, i)));
}

void cli_why_pools(const json_t *p, cli_why *w) {
  const json_t *budgets = json_object_get(p, "budgets"), *changes = json_object_get(p, "changes");
  char text[300], to[300];
  for (size_t i = 0; i < json_array_size(budgets); i++) {
    const json_t *b = json_array_get(budgets, i), *others = json_object_get(b, "alternatives");
    cli_why_say(w->bound, "%.4g samples: %s is seen %.3g times; a repetition of a pool teaches less, a worse pool teaches less from the start",
                cli_at(b, "samples"), names_text(json_object_get(b, "use"), text, sizeof text), cli_at(b, "epochs"));
    for (size_t k = 0; k < json_array_size(others); k++)
      cli_why_lost(w, cli_at(json_array_get(others, k), "error") / cli_at(b, "error.value"), "error on %.4g samples of %s", cli_at(b, "samples"),
                   names_text(json_object_get(json_array_get(others, k), "use"), text, sizeof text));
  }
  for (size_t i = 0; i < json_array_size(changes); i++)
    cli_why_say(w->change, "at %.4g samples: from %s to %s", cli_at(json_array_get(changes, i), "samples.value"),
                names_text(json_object_get(json_array_get(changes, i), "from"), text, sizeof text),
                names_text(json_object_get(json_array_get(changes, i), "to"), to, sizeof to));
  cli_why_say(w->sources, "utilities: %s (%s)", cli_text_at(p, "fit.source"), cli_text_at(p, "fit.paper"));
}

static void close_all(void *self) {
  answer *o = self;
  cli_plan_fit_close(&o->fit);
  iso_law_data_close(&o->rows);
  iso_csv_close(&o->table);
}

static int run(cli_args *a) {
  static const cli_plan_answer ANSWER = {sizeof(answer), solve, answer_json, close_all, print_plan};
  return cli_plan_run_answer(a, &ANSWER);
}

const cli_verb cli_verb_plan_pools = {
    .name = "plan pools",
    .summary = "Which data pools to train on for a budget of samples, from runs on each; where the choice changes.",
    .examples = EXAMPLES,
    .usage = "--data FILE --budgets N,... [--sizes NAME=N,...] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "Goyal et al. 2024 (arXiv:2404.07177): a pool's utility b falls with repetition, by half every tau epochs. All pools are fitted at\n"
        "once with one n0 and floor; mixtures are predicted, not fitted, and every subset of up to seven pools is tried.",
    .stops_at_once = true,
    .run = run};
