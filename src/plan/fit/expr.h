// Small expressions over named numbers and texts, as in 'train_flop>1e21 && set=="c4"' or '6*params*tokens'.
#ifndef ISO_PLAN_FIT_EXPR_H
#define ISO_PLAN_FIT_EXPR_H
#include "base/status.h"

// Grammar, loosest first: || ; && ; ! ; one of < <= > >= == != between sums ; + - ; * / ; unary - ; ^ (to the right); numbers with the
// suffixes of base/unit.h (70B, 1.4T, 2.5PF), names (letters, digits, _ and . after a letter or _; anything else between backquotes),
// texts in '...' or "...", parentheses, and log, exp, sqrt, min, max of numbers. True is 1, false 0; a comparison with NaN is false. Texts
// can only be compared, by == and !=, with names (whose text is meant then) or texts.
typedef struct iso_expr iso_expr;

// What a name stands for: an index of the caller's, or -1 after filling *err.
typedef int (*iso_expr_name_fn)(void *self, const char *name, iso_err *err);
// The number behind an index (NaN: empty), and its text; either may fail.
typedef iso_status (*iso_expr_num_fn)(void *self, int index, double *out, iso_err *err);
typedef iso_status (*iso_expr_text_fn)(void *self, int index, const char **out, iso_err *err);

// ISO_EINVAL with the place of what is wrong. At most 200 operations and 40 levels of parentheses.
iso_status iso_expr_open(const char *text, iso_expr_name_fn name, void *self, iso_expr **out, iso_err *err);
void iso_expr_close(iso_expr *e);
iso_status iso_expr_eval(const iso_expr *e, iso_expr_num_fn num, iso_expr_text_fn text, void *self, double *out, iso_err *err);
#endif
