// `isoflop fit --law`: fits any law to the rows of a table and answers questions with it.
#ifndef ISO_CLI_FIT_LAW_H
#define ISO_CLI_FIT_LAW_H
#include "cli/cli.h"

// Options that need --law.
#define CLI_FIT_LAW_OPTS                                                                                                                           \
  {"law", CLI_TEXT, "NAME[,NAME...]", NULL, "fit this law (isoflop law list) instead; several, with --holdout: compare them on what is held out"}, \
      {"column", CLI_LIST, "NAME=EXPR", NULL, "--law: input or target NAME from this column or expression over columns"},                          \
      {"rows", CLI_TEXT, "EXPR", NULL, "--law: use rows where this holds, as in 'tokens/params>=10'"},                                             \
      {"holdout", CLI_TEXT, "EXPR", NULL, "--law: hold back rows where this holds, as in 'train_flop>1e21', and predict them"},                    \
      {"cluster", CLI_TEXT, "COLUMN", NULL, "--law: rows of equal value are resampled together, as checkpoints of one run"},                       \
      {"objective", CLI_TEXT, "NAME", NULL, "--law: huber-log, huber, square-log or square (default: the law's)"},                                 \
      {"starts", CLI_INT, "N", "400", "--law: starts of the minimiser"},                                                                           \
      {"best", CLI_TEXT, "INPUT[,NAME=VALUE...]", NULL, "--law: print the INPUT at which the target is best, the other inputs as given"},          \
      {"max-reach", CLI_REAL, "R", "20", "--law: refuse questions further outside the rows fitted than this ratio, in any input or the FLOPs"}, {  \
    "extrapolate", CLI_FLAG, NULL, NULL, "--law: answer them all the same"                                                                         \
  }

// The verb under --law; returns the exit code.
int cli_fit_law(const cli_args *a);
// True, with a message, when an option that needs --law is given without it.
bool cli_fit_law_misused(const cli_args *a);
#endif
