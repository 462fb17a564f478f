// isoflop law show: a law and the answers of its published sets to a question.
#ifndef ISO_CLI_LAW_SHOW_H
#define ISO_CLI_LAW_SHOW_H
#include "cli/cli.h"
#include "plan/law_ask.h"

typedef struct cli_law_question {
  const iso_law *law;
  const iso_law_const *only;  // NULL: all published sets
  iso_law_const given;        // --with; `only` points at it
  double x[ISO_LAW_INPUT_MAX];
  bool at;              // x is complete: the target is asked for
  double observed;      // a measured target at x; NaN: none
  double flop, target;  // NaN: not asked
  double serve_tok;     // tokens served over the model's life, with target; NaN: not asked
  int solve;            // input at which the target is `target`, -1: none, then it is the compute
  int best;             // input at which the target is best; -1: none. With flop: at that compute, sizes chosen as well
  double best_x[ISO_LAW_INPUT_MAX];
  double level;  // of the intervals
} cli_law_question;

// Prints the law and its answers; returns the exit code. Ends with a failure when a question was asked that no set answers.
int cli_law_show(const cli_args *a, const cli_law_question *q);
#endif
