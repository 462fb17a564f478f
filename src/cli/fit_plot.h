// `isoflop fit --plot`: the page of a fit.
#ifndef ISO_CLI_FIT_PLOT_H
#define ISO_CLI_FIT_PLOT_H
#include "cli/fit_answers.h"
#include "cli/fit_law.h"

// Refuses a path that cannot become a file, before any work is done. ISO_EINVAL.
iso_status cli_plot_check(const char *path, iso_err *err);
// The page of one law's fit.
iso_status cli_law_plot(const cli_args *a, const cli_fit_source *s, const cli_law_request *q, const cli_law_answer *w, iso_err *err);
// The page of the Chinchilla fit and the IsoFLOP methods.
iso_status cli_fit_plot(const cli_args *a, const char *path, const cli_fit_request *q, const cli_fit_answers *w, iso_err *err);
#endif
