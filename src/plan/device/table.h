// A table of measured rows with what was learned from them: predicts times of other shapes as roofline prior times learned efficiency.
#ifndef ISO_PLAN_DEVICE_TABLE_H
#define ISO_PLAN_DEVICE_TABLE_H
#include "base/ctx.h"
#include "cost/budget.h"
#include "plan/device/model.h"
#include "plan/score.h"

typedef enum iso_basis {
  ISO_BASIS_model,    // roofline with usual efficiencies, or beyond what was measured, or another number class than was measured
  ISO_BASIS_measured  // measured rows lie around this shape
} iso_basis;
const char *iso_basis_name(iso_basis b);

// A predicted time. lo to hi holds 90% of measurements where the basis is measured; none of the three is below floor_s.
typedef struct iso_time {
  iso_est s;       // seconds
  double floor_s;  // roofline
  iso_basis basis;
} iso_time;

typedef struct iso_device_table {
  iso_num num;                       // class of the operands that were measured
  char source[160], date[16];        // where the rows come from, when they were fitted
  iso_rows rows;                     // owned
  iso_prior prior;                   // fitted to the rows
  iso_krig krig;                     // owned: log(time / prior) over the features
  double reach;                      // shapes whose nearest row is farther are extrapolated: twice the 95% quantile among the rows
  double mape, median_err, p90_err;  // of each row (or of a sample) from the others, relative
  int64_t checked;                   // rows behind these errors
} iso_device_table;

// Learns from rows (copied). Deterministic. Rows below the floor by more than a fifth are refused when they are more than 5% of all: then
// the file is of another device, unit or operator (ISO_EFORMAT with the first such line). ISO_EINVAL for fewer than 16 rows, ISO_EUNSUP as
// iso_model_work. `what` names the source. Close with iso_device_table_close.
iso_status iso_device_table_fit(iso_pool *pool, const iso_device_spec *s, const iso_rows *rows, iso_num t, const char *what, iso_device_table *out,
                                iso_err *err);
void iso_device_table_close(iso_device_table *t);
// Time of a shape with operands of class t. Other classes than the table's keep its efficiency at the same shape, as a model.
// ISO_EINVAL and ISO_EUNSUP as iso_model_work; ISO_EUNSUP also when no row is of that collective.
iso_status iso_device_table_time(const iso_device_table *tab, const iso_device_spec *s, const double *shape, iso_num t, iso_time *out, iso_err *err);
// The same from the usual prior alone.
iso_status iso_device_model_time(const iso_device_spec *s, iso_table_kind k, const double *shape, iso_num t, iso_time *out, iso_err *err);

// How well times are predicted.
typedef struct iso_device_error {
  int64_t line;  // of the row in its file
  double shape[ISO_ROW_COLS_MAX], measured_s, predicted_s;
} iso_device_error;
typedef struct iso_device_score {
  iso_table_kind kind;
  iso_score errors;
  int64_t fitted;    // rows calibrated on
  double coverage;   // share of measurements inside the intervals
  int64_t measured;  // predictions whose basis is measured
  int n_worst;
  iso_device_error worst[ISO_SCORE_WORST];  // largest errors first
} iso_device_score;

// Predicts every row with `tab`.
iso_status iso_device_score_rows(const iso_device_table *tab, const iso_device_spec *s, const iso_rows *rows, iso_num t, iso_device_score *out,
                                 iso_err *err);
// Calibrates on a random half of the rows (by seed) and predicts the other half.
iso_status iso_device_score_split(iso_pool *pool, const iso_device_spec *s, const iso_rows *rows, iso_num t, uint64_t seed, iso_device_score *out,
                                  iso_err *err);
// Collectives: calibrates on the rows of less than `bytes` and predicts the others.
iso_status iso_device_score_above(iso_pool *pool, const iso_device_spec *s, const iso_rows *rows, double bytes, iso_device_score *out, iso_err *err);
json_t *iso_device_score_json(const iso_device_score *sc);

// The table as JSON: rows by column, prior, length scales, errors. NULL: no memory.
json_t *iso_device_table_json(const iso_device_table *t);
iso_status iso_device_table_from_json(const iso_device_spec *s, const json_t *j, const char *what, iso_device_table *out, iso_err *err);
#endif
