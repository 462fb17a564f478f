// Calibrating the layout model on measured steps, and checking what the calibration is worth on steps that it has not seen.
#ifndef ISO_PLAN_LAYOUT_FIT_H
#define ISO_PLAN_LAYOUT_FIT_H
#include "plan/layout/layout.h"
#include "plan/score.h"

typedef struct iso_layout_row {
  iso_layout_job job;
  iso_layout layout;
  double step_s;  // measured
  int64_t line;   // of its file
} iso_layout_row;

typedef struct iso_layout_rows {
  int64_t n;
  iso_layout_row *row;  // owned
  bool recompute_inferred;
  iso_layout_recompute recompute;  // where the file does not say: none when every row fits the machine's memory without, else full
} iso_layout_rows;

// A CSV of measured steps (base/csv.h). Columns:
//   gpus (checked against the product of the degrees), global_batch, micro_batch, d_model, heads, layers, seq_len, tensor, data, pipeline,
//   one of iteration_ms, iteration_s, tflops (TFLOP/s a device, with what is recomputed and every pair of attention, as Megatron-LM prints
//   them) and mfu (a share of the 16-bit peak, without recomputation, every pair); optional vocab (51,200), kv_heads, mlp, head_dim, gated,
//   tied, experts, experts_used, context, expert, chunks, zero, recompute (none, selective, full), schedule (interleaved with chunks, else
//   1f1b), seq_parallel (zero and this are off where there is nothing to split), offload, flash, dropout (1 unless flash or gated), params_b (not
//   used). Shapes are GPT's unless the row says otherwise; gated: LLaMA's, no biases and positions, and not tied.
// ISO_EFORMAT names line and column; ISO_EINVAL a layout that breaks a rule. Close with iso_layout_rows_close.
iso_status iso_layout_rows_parse(const char *text, size_t n, const char *what, const iso_layout_machine *m, iso_layout_rows *out, iso_err *err);
iso_status iso_layout_rows_load(const char *path, const iso_layout_machine *m, iso_layout_rows *out, iso_err *err);
void iso_layout_rows_close(iso_layout_rows *r);

enum { ISO_LAYOUT_FREE_MAX = 12 };

typedef struct iso_layout_fit_opts {
  int n_free;
  iso_layout_cal_id free[ISO_LAYOUT_FREE_MAX];  // the rest stays as in `base`
  iso_layout_cal base;
  double prior;   // weight of the start values: one spread (layout_cal.def) off costs as much as a log-residual of `prior`
  double robust;  // log-residuals beyond this count linearly (pseudo-Huber); +INFINITY: least squares
  int max_iter;
} iso_layout_fit_opts;
// Twelve numbers, nine of them common: on one node also what tensor parallelism and unfused kernels add to launches and the head's extra;
// over several nodes also the links between them, the overlap and the stragglers. What is not fitted stands at nought or its start value.
iso_layout_fit_opts iso_layout_fit_opts_default(bool nodes);
// The same by whether a row has more devices than a node. Too few rows for twelve numbers: n_free = 0, two numbers move the default
// calibration (iso_layout_fit_stack).
iso_layout_fit_opts iso_layout_fit_opts_for(const iso_layout_rows *r, const iso_layout_machine *m);

typedef struct iso_layout_fit {
  iso_layout_cal cal;
  int64_t n;
  int iters;
  double objective;
  double mape, resid_sd;  // on the rows of the fit: mean |predicted / measured - 1|, and of log seconds
} iso_layout_fit;

// Levenberg-Marquardt on log-residuals in logits and logs of the free numbers. `pick` (n_pick indices) chooses rows; NULL: all.
// ISO_EINVAL when there are fewer rows than free numbers, none or too many free numbers, or one named twice; ISO_ENUM when no step is finite.
iso_status iso_layout_fit_run(const iso_layout_rows *r, const int64_t *pick, int64_t n_pick, const iso_layout_machine *m,
                              const iso_layout_fit_opts *o, iso_layout_fit *out, iso_err *err);

// Two numbers for a whole stack (iso_layout_cal_shift) from a handful of rows: the largest posterior density under Gaussian priors of the
// arithmetic's shift and of what the communication's differs from it, and the posterior's spread there.
typedef struct iso_layout_stack {
  double z[ISO_LAYOUT_SHIFTS], sd[ISO_LAYOUT_SHIFTS];  // each shift, and its spread on its own
  double apart_sd;                                     // of their difference
  double rows_sd;                                      // of log seconds: root mean square over the rows of the fit
} iso_layout_stack;
// Standard deviations of the priors of both shifts' common part and of their difference, and of log seconds of a row: the fixed point of
// maximum marginal likelihood over eight published stacks (tests/unit/test_layout_published.c, test_priors).
typedef struct iso_layout_stack_prior {
  double common_sd, apart_sd, row_sd;
} iso_layout_stack_prior;
iso_layout_stack_prior iso_layout_stack_priors(void);
// All rows but `skip` (-1: none). ISO_EINVAL without a row.
iso_status iso_layout_fit_stack(const iso_layout_rows *r, int64_t skip, const iso_layout_machine *m, const iso_layout_cal *base,
                                iso_layout_stack *out, iso_err *err);
// Both shifts with their spreads, how much of what was open about their difference the rows settled, and the priors.
json_t *iso_layout_stack_json(const iso_layout_stack *s);
// 0: the difference of both shifts is the prior's, 1: the rows'.
double iso_layout_stack_known(const iso_layout_stack *s);

enum { ISO_LAYOUT_SIZES_MAX = 64 };
typedef struct iso_layout_size_score {
  int64_t layers, width, n, cells;  // cells: (GPUs, global batch) with two or more layouts
  double mape;
  double regret;  // mean over cells: measured seconds of the layout predicted fastest over the best measured, minus 1
} iso_layout_size_score;

// Predicted steps beside measured ones.
typedef struct iso_layout_score {
  iso_score errors;
  double regret, regret_worst;  // over all cells, and the worst size's; NaN without a choice
  int64_t cells;
  int n_sizes, n_tensor, n_data, n_pipeline, n_worst;
  iso_layout_size_score size[ISO_LAYOUT_SIZES_MAX];  // a model size is (layers, width)
  iso_score_bias tensor[ISO_SCORE_DEGREES_MAX], data[ISO_SCORE_DEGREES_MAX], pipeline[ISO_SCORE_DEGREES_MAX];
  int64_t worst[ISO_SCORE_WORST];     // indices of rows, largest error first
  double worst_s[ISO_SCORE_WORST];    // predicted for them
  double worst_mfu[ISO_SCORE_WORST];  // measured, every pair of attention
} iso_layout_score;
// Every row predicted with `c`.
iso_status iso_layout_score_rows(const iso_layout_rows *r, const iso_layout_machine *m, const iso_layout_cal *c, iso_layout_score *out, iso_err *err);
json_t *iso_layout_score_json(const iso_layout_score *s, const iso_layout_rows *r);

typedef struct iso_layout_check_result {
  iso_layout_fit all;      // fitted to every row; all.cal.resid_sd is out.errors.sd_log
  iso_layout_stack stack;  // with few rows
  iso_score_splits held;   // fitted to two thirds, on the rest; none with few rows
  iso_layout_score out;    // every size left out in turn; with one size in the file, every third of the rows; with few rows, every row
} iso_layout_check_result;
// Of a single row, `out` is its own fit. `seed` numbers the splits, of which there are at most ISO_SCORE_SPLITS_MAX. Nothing to close.
iso_status iso_layout_check_fit(const iso_layout_rows *r, const iso_layout_machine *m, const iso_layout_fit_opts *o, int splits, uint64_t seed,
                                iso_layout_check_result *out, iso_err *err);
json_t *iso_layout_check_json(const iso_layout_check_result *c, const iso_layout_rows *r, const iso_layout_fit_opts *o);
#endif
