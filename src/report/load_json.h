// Private to report: reading the parts of a report that the store keeps as JSON.
#ifndef ISO_REPORT_LOAD_JSON_H
#define ISO_REPORT_LOAD_JSON_H
#include "plan/law.h"
#include "report/report.h"

// A law that can be evaluated.
typedef struct iso_report_law {
  const iso_law *law;  // NULL: not known, or parameters are missing
  double p[ISO_LAW_PARAM_MAX];
} iso_report_law;

// Text parsed as a JSON object; NULL when absent or not one. Owned by the caller.
json_t *iso_report_object(const char *text);
// EST of report.h; unknown when absent or of another type.
iso_est iso_report_est(const json_t *v);
double iso_report_num(const json_t *o, const char *key);
// Text member in the arena; NULL when absent. *n (may be NULL) gets its bytes.
const char *iso_report_str(iso_arena *a, const json_t *o, const char *key, size_t *n);

// Each fills what it finds; ISO_ENOMEM is the only error.
iso_status iso_report_read_result(const json_t *result, iso_report_data *d, iso_err *err);
iso_status iso_report_read_plan(const json_t *plan, iso_report_data *d, iso_err *err);
iso_status iso_report_read_isoflop(const json_t *isoflop, iso_report_data *d, iso_err *err);
// `fit` (may be NULL), else the store's row (may be NULL).
iso_status iso_report_read_fit(const json_t *fit, const iso_store_fit *row, iso_report_data *d, iso_report_law *law, iso_err *err);
#endif
