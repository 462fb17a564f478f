// How far published laws of dense language models disagree about one run: the interval of a loss whose law has none of its own.
#ifndef ISO_PLAN_LAW_BETWEEN_H
#define ISO_PLAN_LAW_BETWEEN_H
#include "plan/law_ask.h"

// One set of each group of runs that a dense law was fitted to: other text, tokenizers, recipes, forms. i from 0; NULL past the last.
const iso_law_const *iso_law_between_set(int i, const iso_law **law);
// Standard deviation of the logarithm of their losses at `params` and `tokens`; those whose `runs` are `skip` (NULL: none) do not count. *n
// (may be NULL) gets how many do.
double iso_law_between_sd(double params, double tokens, const char *skip, int *n);
// Where a run of one's own may end, when all that is known is one law's loss y: law and run are both draws from such laws, so their logarithms
// differ by sqrt(2) of that deviation; Student's t for how few they are. In the unit of y. NaN bounds for y that is no loss.
iso_fit_interval iso_law_between(double y, double params, double tokens, double level, const char *skip);
#endif
