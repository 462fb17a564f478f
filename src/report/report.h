// Reports of a run: what the store knows about it in one struct, and that struct as HTML, on a terminal and as JSON.
//
// Most of a report comes from the store's tables. What has no column is in the run's result_json (else config_json) under "summary":
//
//   summary.title         text: heading of the report
//   summary.hw            object of iso_hw_json; without it hw/<hw_id>.json of isoflop's home is read
//   summary.plan          {"params": N, "tokens": D, "batch_tok": tokens per optimizer step, "lr": peak learning rate,
//                          "config": object or text (the model's shape and hyperparameters), "why": text,
//                          "predicted": {"loss": EST (nats per token), "bpb": EST}}
//   summary.fit           object of iso_fit_json and "curve": [{"train_flop", "params", "tokens", "loss": EST}], the optimum along C;
//                         without it the newest row of `fits` is used: params_json and interval_json by parameter name
//   summary.isoflop       object of iso_parabolas_json and "text": how it compares with the law
//   summary.sample        generated text, valid UTF-8 (invalid bytes of a sample become U+FFFD when it is stored)
//   summary.sample_prompt text it began with
//   summary.notes         [text, ...]: warnings and remarks
//
// EST is a number, [lo, mean, hi], or an object with value, lo and hi; beside a plain "loss", "lo" and "hi" are its
// interval. result_json itself: "params", "tokens", "elapsed_s", "bits_per_byte", "val_loss_nats", and "predicted" and "measured": objects
// from resource (budget.def), "bits_per_byte" and "val_loss_nats" to EST, for the whole run. Values of the wrong type count as absent:
// a report of a half-finished run is better than none.
//
// Points: metric "val_loss_nats" or "bits_per_byte". Those of runs of kind "sweep" and of runs below them are the sweep; the others that
// are measured are results of the main run.
#ifndef ISO_REPORT_REPORT_H
#define ISO_REPORT_REPORT_H
#include "cost/front.h"
#include "cost/hw.h"
#include "store/store.h"

// Unknown numbers are NaN (-1 for int64_t) and absent text is NULL, everywhere in these structs. Text is borrowed from the report's arena
// and may hold any bytes: writers escape it.

typedef struct iso_report_sweep {
  const char *run, *label;
  double params, tokens, flop;
  double loss, loss_se;  // measured, in law_metric
  double law_loss;       // by the fitted law
  int level;             // index of its FLOP level, -1: none
  bool final;            // the main run's result, not part of the sweep
} iso_report_sweep;

typedef struct iso_report_param {
  const char *name;
  double value, lo, hi, se;
} iso_report_param;

typedef struct iso_report_optimum {
  double flop, params, tokens;
  iso_est loss;
} iso_report_optimum;

typedef struct iso_report_fit {
  bool known;
  const char *law, *formula, *source;
  int64_t n_points, resamples;
  double objective, delta, level, noise_sd;  // noise_sd: of log loss
  const iso_report_param *param;             // for display: A, not log A
  int n_param;
  double n_min, n_max, d_min, d_max, c_min, c_max;  // ranges of parameters, tokens, FLOPs that were fitted
  const iso_report_optimum *curve;                  // by rising FLOPs
  int n_curve;
  bool curve_has_interval;
} iso_report_fit;

typedef struct iso_report_parabola {
  double flop, coef[3], log_n0;  // loss = coef[0] + coef[1] u + coef[2] u^2, u = log N - log_n0
  double n_min, n_max;
  iso_est params;  // minimum; mean holds the estimate
  double loss;
  bool outside, concave;
} iso_report_parabola;

typedef struct iso_report_isoflop {
  bool known;
  const char *text;
  iso_est a;  // exponent in N* = k C^a
  const iso_report_parabola *at;
  int n;
} iso_report_isoflop;

typedef struct iso_report_plan {
  bool known;
  double params, tokens, batch_tok, lr;
  const char *config, *why;  // config: compact JSON or text
  iso_est loss, bpb;
} iso_report_plan;

// At most ISO_REPORT_CURVE_MAX samples; where there were more (n_all), each is the mean of its neighbours, samples with a validation loss
// or an event excepted.
enum { ISO_REPORT_CURVE_MAX = 400, ISO_REPORT_FRONTS = 4 };
typedef struct iso_report_curve {
  const char *run, *label;
  double params;
  bool main;  // of the main run, not of the sweep
  const iso_store_sample *s;
  int64_t n, n_all;
} iso_report_curve;

// Indices into `points` of one front, by rising cost.
typedef struct iso_report_front {
  iso_res res;  // train_flop or wall
  bool predicted;
  const int64_t *idx;
  int64_t n;
} iso_report_front;

typedef struct iso_report_data {
  iso_arena *arena;  // owned: everything below lives in it
  const char *title, *id, *kind, *status, *created, *ended, *command, *rev, *out_dir, *convention, *data_hash, *tok_hash, *note;
  int64_t seed;
  double steal_s;
  bool has_hw;
  iso_hw hw;  // id is set also when has_hw is not
  iso_budget budget;
  const char *budget_text;  // normalised; "none"
  iso_report_plan plan;
  double params, tokens, elapsed_s;
  double bpb, bpb_se, val_loss;  // measured, held-out text; val_loss in nats per token
  iso_est bpb_predicted, val_loss_predicted;
  iso_cost predicted, measured;  // of the whole run
  bool totals_from_ledger;       // predicted and measured are sums over ledger rows that have both
  const iso_run_row *ledger;
  int64_t n_ledger;
  const iso_report_sweep *sweep;
  int64_t n_sweep;
  const char *law_metric;    // of sweep, fit and isoflop: "val_loss_nats" or, when no point with parameters and tokens has that, "bits_per_byte"
  const double *level_flop;  // n_levels, rising
  int n_levels;
  iso_report_fit fit;
  iso_report_isoflop isoflop;
  const iso_report_curve *curve;
  int64_t n_curve;
  const char *metric;             // of the fronts: "bits_per_byte" or "val_loss_nats"; NULL: no front
  const iso_store_point *points;  // of that metric
  int64_t n_points;
  iso_report_front front[ISO_REPORT_FRONTS];  // measured by FLOPs, by seconds; predicted by FLOPs, by seconds
  const char *sample, *sample_prompt;
  size_t sample_n, sample_prompt_n;
  const char *const *notes;
  int64_t n_notes;
} iso_report_data;

// Everything unknown; the arena is open. For reports of data that is in no store.
iso_status iso_report_blank(iso_report_data *out, iso_err *err);
// Reads a run ("demo", "train" or any other kind) and the runs below it. run_id as iso_store_find takes it; the latest run (NULL)
// that is part of another stands for the one at the top. *out is closed on failure.
iso_status iso_report_load(iso_ctx *c, iso_store *s, const char *run_id, iso_report_data *out, iso_err *err);
void iso_report_close(iso_report_data *d);

// The struct as one object, keys as the fields; invalid UTF-8 becomes U+FFFD. *out is owned by the caller.
iso_status iso_report_json(const iso_report_data *d, json_t **out, iso_err *err);
// A whole HTML document that loads nothing from elsewhere, appended to *out. Its data is the object of iso_report_json in the script block
// "iso-data", and each number in a table is a <data value> element with 17 digits.
iso_status iso_report_html(const iso_report_data *d, iso_str *out, iso_err *err);
// The document in a file, written atomically.
iso_status iso_report_html_save(iso_ctx *c, const iso_report_data *d, const char *path, iso_err *err);

typedef struct iso_report_term {
  bool colour;  // ANSI colours
  bool ascii;   // no characters beyond ASCII
  int width;    // columns; 0: 80; between 40 and 400
} iso_report_term;
// The same for a terminal, appended to *out. Control bytes from the run's texts never reach it.
iso_status iso_report_text(const iso_report_data *d, const iso_report_term *t, iso_str *out, iso_err *err);

// The list of `isoflop runs`: id, kind, status, when, params, tokens, bits per byte, seconds, output folder; rows as iso_store_runs gives.
iso_status iso_report_runs_text(const iso_store_run *rows, int64_t n, const iso_report_term *t, iso_str *out, iso_err *err);
// {"runs": [...]} with the same columns and parent, command, rev, note. *out is owned by the caller.
iso_status iso_report_runs_json(const iso_store_run *rows, int64_t n, json_t **out, iso_err *err);
#endif
