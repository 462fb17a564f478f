// Private to calib*.c: measured points as rows of work, and fits over part of them.
#ifndef ISO_PLAN_SERVE_CALIB_IMPL_H
#define ISO_PLAN_SERVE_CALIB_IMPL_H
#include "plan/serve/calib.h"

// Parameters of time per output token: seconds per second at peak of memory, decode products, links, prefill; seconds per kernel, per
// exchange, per exchange between nodes. Parameters of TTFT: fixed, prefill, step, queue.
enum { ISO_CALIB_TIME_N = 7, ISO_CALIB_TTFT_N = 4 };

typedef struct iso_calib_row {
  double x[ISO_CALIB_TIME_N], floor_s;  // tpot = sum x[i] theta[i]
  double prefill_s, queue;              // of one prompt at peak on its prefill worker; prompts in flight per prefill worker
  double log_tpot, log_ttft, log_step;
  int group;
  int64_t point;  // index in the points
} iso_calib_row;

typedef struct iso_calib_table {
  iso_calib_row *row;  // owned
  int64_t n;
  iso_calib_group group[ISO_CALIB_GROUPS_MAX];  // names only
  int groups;
} iso_calib_table;

// Rows of all used points. Close with iso_calib_table_close.
iso_status iso_calib_table_open(const iso_serve_points *p, iso_calib_table *t, iso_err *err);
void iso_calib_table_close(iso_calib_table *t);
// Fits a table but the dropped rows (by row; NULL: none). Leaves each row's log of the fitted step in log_step.
iso_status iso_calib_table_fit(iso_calib_table *t, const bool *drop, iso_calib *c, iso_err *err);
void iso_calib_predict_row(const iso_calib *c, const iso_serve_point *p, iso_calib_row *r, double *tpot_s, double *ttft_s);

// calib_check.c: whether two points are of one model, and Kendall's tau over the rows with use[i] (NULL: all).
bool iso_calib_same_model(const iso_serve_point *a, const iso_serve_point *b, bool by_shape);
iso_status iso_calib_rank(const iso_serve_points *p, const iso_calib_table *t, const double *pred, const bool *use, iso_calib_tau *out, iso_err *err);
#endif
