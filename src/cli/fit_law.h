// `isoflop fit --law`: fits any law to the rows of a table and answers questions with it.
#ifndef ISO_CLI_FIT_LAW_H
#define ISO_CLI_FIT_LAW_H
#include "cli/cli.h"
#include "cli/fit_source.h"
#include "plan/fit/lawfit.h"

// Options that need --law.
#define CLI_FIT_LAW_OPTS                                                                                                                          \
  {"law", CLI_TEXT, "NAME[,NAME...]", NULL, "fit this law (isoflop law list) instead; several: as --compare"},                                    \
      {"compare", CLI_TEXT, "NAME,NAME,...", NULL,                                                                                                \
       "fit these laws to the same rows with the same objective and rank them by their error on --holdout"},                                      \
      {"variants", CLI_FLAG, NULL, NULL,                                                                                                          \
       "--law: fit it again with other objectives, starts, optimisers, rows, parameter and FLOP counts: how far the answer moves"},               \
      {"column", CLI_LIST, "NAME=EXPR", NULL, "--law: input or target NAME from this column or expression over columns"},                         \
      {"rows", CLI_TEXT, "EXPR", NULL, "--law: use rows where this holds, as in 'tokens/params>=10'"},                                            \
      {"holdout", CLI_TEXT, "EXPR", NULL, "--law: hold back rows where this holds, as in 'train_flop>1e21', and predict them"},                   \
      {"cluster", CLI_TEXT, "COLUMN", NULL, "--law: rows of equal value are resampled together, as checkpoints of one run"},                      \
      {"objective", CLI_TEXT, "NAME", NULL, "--law: huber-log, huber, square-log or square (default: the law's)"},                                \
      {"starts", CLI_INT, "N", "400", "--law: starts of the minimiser"},                                                                          \
      {"best", CLI_TEXT, "INPUT[,NAME=VALUE...]", NULL, "--law: print the INPUT at which the target is best, the other inputs as given"},         \
      {"target", CLI_REAL, "VALUE", NULL, "--law: print the training compute whose optimum has this target, other inputs as in --predict"},       \
      {"max-reach", CLI_REAL, "R", "20", "--law: refuse questions further outside the rows fitted than this ratio, in any input or the FLOPs"}, { \
    "extrapolate", CLI_FLAG, NULL, NULL, "--law: answer them all the same"                                                                        \
  }

enum { CLI_LAWS_MAX = 16, CLI_RESAMPLES_MIN = 20 };

typedef struct cli_law_request {
  const iso_law *law[CLI_LAWS_MAX];
  int n_laws;
  bool compare, variants;
  iso_lawfit_opts fit;  // objective and delta are each law's own unless given
  bool own_objective, own_delta;
  iso_law_data_opts data;
  double most, flop;
  double target;  // NaN: not asked
  const char *predict, *best, *plot;
} cli_law_request;

// One law's answers.
typedef struct cli_law_answer {
  const iso_law *law;
  iso_law_data fitted, held;  // owned
  iso_lawfit fit;             // owned
  iso_lawfit_score score;     // owned
  bool has_best, has_loss, has_score;
  double x[ISO_LAW_INPUT_MAX];
  iso_fit_interval loss;
  double reach;
  int axis;
  iso_lawfit_best best;
  double best_reach;
  int best_axis;
  bool has_target;
  iso_lawfit_target target;
  double target_reach;
  int target_axis;
  bool has_best_input;
  iso_lawfit_best_input best_input;
} cli_law_answer;

// Reads the rows, fits, predicts what is held out. Close w with cli_law_answer_close, also after a failure.
iso_status cli_law_fit(const cli_args *a, const cli_fit_source *s, const cli_law_request *q, const iso_law *law, const bool *use, cli_law_answer *w,
                       iso_err *err);
void cli_law_answer_close(cli_law_answer *w);
void cli_law_print(const cli_fit_source *s, const cli_law_request *q, const cli_law_answer *w);
json_t *cli_law_answer_json(const cli_law_request *q, const cli_law_answer *w);
// fit_compare.c and fit_variants.c: print, or fill *out under --json.
iso_status cli_law_compare(const cli_args *a, const cli_fit_source *s, const cli_law_request *q, const bool *use, json_t **out, iso_err *err);
iso_status cli_law_variants(const cli_args *a, const cli_fit_source *s, const cli_law_request *q, const bool *use, json_t **out, iso_err *err);

// The verb under --law and --compare; returns the exit code.
int cli_fit_law(const cli_args *a);
// True, with a message, when --bootstrap asks for so few resamples that they make no interval.
bool cli_resamples_misused(const cli_args *a);
// True, with a message, when an option that needs --law is given without it.
bool cli_fit_law_misused(const cli_args *a);
#endif
