// Reads runs from a CSV file: parameters, tokens, training FLOPs, loss.
#ifndef ISO_PLAN_FIT_CSV_H
#define ISO_PLAN_FIT_CSV_H
#include "plan/fit.h"

// The format: RFC 4180 (quotes, doubled quotes, line breaks inside quotes), LF or CRLF, an optional UTF-8 mark, a header row, '.' as
// decimal point; lines that start with # and blank lines are skipped. Header names are compared without case, with spaces and
// hyphens as underscores:
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

// Parses `n` bytes; `what` names the source in messages. Errors name line and column: ISO_EFORMAT for broken quotes, missing columns,
// too few or many fields, values that are not positive finite numbers; ISO_EINVAL for a bad `where` or no row left.
// Close with iso_fit_data_close.
iso_status iso_fit_csv_parse(const char *text, size_t n, const char *what, const iso_fit_csv_opts *o, iso_fit_data *out, iso_err *err);
// The same for a file of at most 1 GiB.
iso_status iso_fit_csv_load(const char *path, const iso_fit_csv_opts *o, iso_fit_data *out, iso_err *err);
#endif
