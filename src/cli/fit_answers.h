// What `isoflop fit` answers about one set of runs: the parametric law, IsoFLOP curves, parabolas, the envelope, and how they are shown.
#ifndef ISO_CLI_FIT_ANSWERS_H
#define ISO_CLI_FIT_ANSWERS_H
#include "plan/fit/isoflop_curves.h"
#include "plan/fit/isoflop_envelope.h"
#include "plan/fit/isoflop_method.h"

typedef struct cli_fit_request {
  bool law, parabolas, curves, envelope;
  double flop, n, d, level;  // NaN: not asked
  iso_fit_opts fit;
  iso_parabola_opts parabola;
  iso_curves_opts curve;
  iso_envelope_opts env;
} cli_fit_request;

typedef struct cli_fit_answers {
  iso_fit_data data;  // owned
  const char *source, *metric;
  bool has_fit, has_parabolas, has_curves, has_envelope, has_compare, has_best, has_loss;
  iso_fit fit;  // owned
  iso_parabolas par;
  iso_curves cur;
  iso_envelope env;
  iso_parabolas_compare cmp;
  iso_fit_best best;
  iso_fit_interval loss;
  char note[500];  // why a part is missing
  double seconds;
} cli_fit_answers;

// Answers the request from w->data. What one method cannot do is left out with a note when another can; the envelope, which few tables
// allow, without one.
iso_status cli_fit_solve(iso_ctx *c, const cli_fit_request *q, cli_fit_answers *w, iso_err *err);
void cli_fit_answers_close(cli_fit_answers *w);
void cli_fit_print(const cli_fit_request *q, const cli_fit_answers *w);
// Owned by the caller.
json_t *cli_fit_answers_json(const cli_fit_request *q, const cli_fit_answers *w);
// One line of the table of groups: its exponent by each method that was asked for.
void cli_fit_print_row(const char *name, const cli_fit_request *q, const cli_fit_answers *w);
#endif
