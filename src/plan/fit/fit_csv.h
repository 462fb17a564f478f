// Reads runs from a CSV file: parameters, tokens, training FLOPs, loss.
#ifndef ISO_PLAN_FIT_FIT_CSV_H
#define ISO_PLAN_FIT_FIT_CSV_H
#include "base/csv.h"
#include "plan/fit/fit.h"

// The format is that of base/csv.h. Header names are compared without case, with spaces and hyphens as underscores:
//   N     params, parameters, n_params, num_params, model_size, n
//   D     tokens, train_tokens, training_tokens, n_tokens, d          (C / (6 N) when absent or empty)
//   C     train_flops, train_flop, training_flop, training_flops, flops, flop, compute, c   (6 N D when absent or empty)
//   loss  loss, final_loss, val_loss, eval_loss, l
// The earliest alias in a list wins when several columns match. A row whose loss is empty is a run that has not ended: skipped, counted.
typedef struct iso_fit_csv_opts {
  const char *const *where;  // borrowed "column=value" texts, all of which a row must match exactly
  int n_where;
  int64_t drop_highest;  // drop this many of the highest losses
} iso_fit_csv_opts;

// Which rows of a table pass the filters: *out is malloc'ed, one flag a row, owned by the caller. ISO_EINVAL for a bad filter.
iso_status iso_fit_csv_rows(const iso_csv *t, const iso_fit_csv_opts *o, bool **out, iso_err *err);
// The points in those rows of *t for which `use` is true (NULL: all that pass the filters). Errors name line and column: ISO_EFORMAT for
// missing columns and values that are not positive finite numbers; ISO_EINVAL for a bad `where` or no row left. Close with
// iso_fit_data_close.
iso_status iso_fit_csv_points(const iso_csv *t, const bool *use, const iso_fit_csv_opts *o, iso_fit_data *out, iso_err *err);

// For errors of a missing column: names how another is taken for it, and the first column whose name holds `name`. Returns ISO_EFORMAT.
iso_status iso_fit_csv_hint_like(const iso_csv *t, const char *name, iso_err *err);

// Rows that agree in some columns, in the order of their first rows.
typedef struct iso_fit_groups {
  int64_t n;
  int64_t *of;     // owned: group of each row, -1 for rows that are left out
  int64_t *first;  // owned: a row of each group
} iso_fit_groups;
// ISO_EINVAL for more than 1,000 groups: such a column tells rows apart, not protocols. Close with iso_fit_groups_close.
iso_status iso_fit_csv_groups(const iso_csv *t, const bool *use, const int *col, int n_col, iso_fit_groups *out, iso_err *err);
void iso_fit_groups_close(iso_fit_groups *g);

// Parses `n` bytes; `what` names the source in messages. Close with iso_fit_data_close.
iso_status iso_fit_csv_parse(const char *text, size_t n, const char *what, const iso_fit_csv_opts *o, iso_fit_data *out, iso_err *err);
// The same for a file of at most 1 GiB.
iso_status iso_fit_csv_load(const char *path, const iso_fit_csv_opts *o, iso_fit_data *out, iso_err *err);
#endif
