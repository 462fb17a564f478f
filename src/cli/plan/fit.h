// Laws that a plan needs fitted: from a CSV of runs, or from what isoflop fit --law printed with --json.
#ifndef ISO_CLI_PLAN_FIT_H
#define ISO_CLI_PLAN_FIT_H
#include "cli/cli.h"
#include "plan/fit/lawfit.h"

#define CLI_PLAN_FIT_OPTS                                                                                                      \
  {"bootstrap", CLI_INT, "N", "200", "refits for the intervals; 0: none"}, {"starts", CLI_INT, "N", "200", "starts of a fit"}, \
      {"level", CLI_REAL, "P", "0.9", "coverage of the intervals"}, {                                                          \
    "seed", CLI_INT, "N", "0", "seed of starts and refits"                                                                     \
  }

// A law's parameters, ranges seen, and as many sets of refitted parameters as there are (none from a saved fit).
typedef struct cli_plan_fit {
  const iso_law *law;
  double p[ISO_LAW_PARAM_MAX], x_lo[ISO_LAW_INPUT_MAX], x_hi[ISO_LAW_INPUT_MAX];
  iso_lawfit fit;  // owned; of a saved fit: zeros
  char source[300];
} cli_plan_fit;

// ISO_EINVAL for options out of range.
iso_status cli_plan_fit_check(const cli_args *a, iso_err *err);
// Fits `law` to the rows of *t for which `use` is true (NULL: all); `columns` as in iso_law_data_opts.
iso_status cli_plan_fit_rows(const cli_args *a, const iso_csv *t, const char *name, const iso_law *law, const bool *use, const char *const *columns,
                             int n_columns, cli_plan_fit *out, iso_err *err);
// The same for rows that are in the law's form already.
iso_status cli_plan_fit_data(const cli_args *a, const iso_law_data *rows, const char *name, cli_plan_fit *out, iso_err *err);
// The fit of `law` in a file of isoflop fit --law NAME --json.
iso_status cli_plan_fit_saved(const char *path, const iso_law *law, cli_plan_fit *out, iso_err *err);
// --fit FILE of a subverb: a saved fit (.json) or a CSV to fit `law` to, whose `columns` errors name; without FILE the published constants
// `c`, which come without refits.
iso_status cli_plan_fit_open(const cli_args *a, const iso_law *law, const iso_law_const *c, const char *columns, cli_plan_fit *out, iso_err *err);
void cli_plan_fit_close(cli_plan_fit *f);
// Parameters of refit i, or the estimate where there is none.
const double *cli_plan_fit_sample(const cli_plan_fit *f, int64_t i);
// What JSON says of it: law, source, points, residual, refits, warnings.
json_t *cli_plan_fit_json(const cli_plan_fit *f);
// The interval from refitted values (NaN ones left out; reordered): quantiles round the level. lo and hi are null below 20 of them.
json_t *cli_plan_fit_range(double value, double *refits, int64_t n, double level);
#endif
