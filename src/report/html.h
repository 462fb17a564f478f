// Private to report: the parts of the HTML document that C writes; the rest is in web/report.html.
#ifndef ISO_REPORT_HTML_H
#define ISO_REPORT_HTML_H
#include "report/report.h"

// Each appends markup. Tables scroll by themselves on narrow screens.
void iso_html_cards(const iso_report_data *d, iso_str *s);
void iso_html_totals(const iso_report_data *d, iso_str *s);
void iso_html_ledger(const iso_report_data *d, iso_str *s);
void iso_html_sweep(const iso_report_data *d, iso_str *s);
void iso_html_fit_intro(const iso_report_data *d, iso_str *s);
void iso_html_fit_table(const iso_report_data *d, iso_str *s);
void iso_html_fit_caption(const iso_report_data *d, iso_str *s);
void iso_html_plan(const iso_report_data *d, iso_str *s);
void iso_html_origin(const iso_report_data *d, iso_str *s);
void iso_html_sub(const iso_report_data *d, iso_str *s);

// What both writers of reports need.
// The heading: the run's title, else what its budget was.
void iso_report_title(const iso_report_data *d, unsigned text_flags, iso_str *s);
// "2025-11-25 21:32 UTC" of an ISO 8601 time; other text as it is.
void iso_report_when(const char *iso8601, unsigned text_flags, iso_str *s);
// "AMD EPYC, 2 threads"; nothing when the machine is unknown.
void iso_report_machine(const iso_report_data *d, unsigned text_flags, iso_str *s);
// "layers 6 · width 288" of a plan's config (text as it is).
void iso_report_config(const char *config, unsigned text_flags, iso_str *s);
// Resources in the order of reports, wall seconds first.
iso_res iso_report_res_at(int i);
// Whether any number of the resource is known and not zero.
bool iso_report_res_shown(const iso_report_data *d, iso_res r);
// An interval that says something.
static inline bool iso_report_has_interval(iso_est e) { return e.hi > e.lo; }
#endif
