// Inputs of a law on the command line, and how a law is shown.
#ifndef ISO_CLI_LAW_ARGS_H
#define ISO_CLI_LAW_ARGS_H
#include "cli/cli.h"
#include "plan/fit/lawfit.h"

// Reads "params=70B,tokens=1.4T" (or, for laws that split a budget, "70B,1.4T") over the law's absent values in x; `what` names the
// option in messages. ISO_EINVAL.
iso_status cli_law_inputs(const iso_law *law, const char *text, const char *what, double *x, iso_err *err);
// The same without asking for inputs that are missing: NaN.
iso_status cli_law_some_inputs(const iso_law *law, const char *text, const char *what, double *x, iso_err *err);
// Reads "alpha=0.34,A=406.4" (names or signs of constants) over those of `base` into a set called "given"; base NULL or not confirmed: all
// of them must be there. ISO_EINVAL.
iso_status cli_law_constants(const iso_law *law, const char *text, const iso_law_const *base, iso_law_const *out, iso_err *err);
// Reads "dimension,train_flop=1e21": which input is looked for (*k), and the others over the law's absent values in x. ISO_EINVAL.
iso_status cli_law_best(const iso_law *law, const char *text, int *k, double *x, iso_err *err);
// The same without asking for inputs that are missing.
iso_status cli_law_some_best(const iso_law *law, const char *text, int *k, double *x, iso_err *err);
// The range in which input k is looked for when nothing bounds it: shares end at 1.
void cli_law_best_range(const iso_law *law, int k, double *lo, double *hi);
// "params = 7e+10, tokens = 1.4e+12", without inputs that are infinite.
void cli_law_inputs_text(const iso_law *law, const double *x, char *buf, size_t n);
#endif
