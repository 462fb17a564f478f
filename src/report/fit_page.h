// The page of a fit: one HTML file with the runs, the law, its residuals, IsoFLOP curves, held-out rows, parameters and checklist.
#ifndef ISO_REPORT_FIT_PAGE_H
#define ISO_REPORT_FIT_PAGE_H
#include "base/str.h"
#include "plan/fit/isoflop_checklist.h"

// Everything is borrowed; absent parts are NULL. Texts may hold any bytes.
typedef struct iso_fit_page {
  const char *source, *metric;  // file or run; what the target is called there
  const char *command, *rev;
  const iso_law_data *rows, *held;  // rows: always
  const iso_lawfit *fit;
  const iso_lawfit_score *score;  // of held
  const iso_law_data_opts *how;   // how the rows were read
  // IsoFLOP methods; `points` are what they saw, in the order of rows.
  const iso_fit_data *points;
  const iso_curves *curves;
  const iso_curves_opts *curves_how;
  const iso_parabolas *parabolas;
  const iso_envelope *envelope;
  const char *text;  // how methods compare; else NULL
} iso_fit_page;

// The checklist of the law's fit, or of the methods without one. Fills items (ISO_LAWFIT_ITEMS); returns how many.
int iso_fit_page_checklist(const iso_fit_page *p, iso_lawfit_item *items);
// The data of the page as one object: law, inputs, rows (by column), held, params, optimum (N* along C), curves with their traces,
// parabola, envelope, power (each method's line with its interval), checklist, warnings. *out is owned by the caller.
iso_status iso_fit_page_json(const iso_fit_page *p, json_t **out, iso_err *err);
// A whole HTML document that loads nothing from elsewhere, appended to *out. Its data is that object in the script block "iso-data", and each
// number in a table is a <data value> element with 17 digits.
iso_status iso_fit_page_html(const iso_fit_page *p, iso_str *out, iso_err *err);
// The document in a file, written atomically.
iso_status iso_fit_page_save(iso_ctx *c, const iso_fit_page *p, const char *path, iso_err *err);
#endif
