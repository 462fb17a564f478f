// Seconds of a training step or a forward pass from its price: non-negative rates per FLOP, byte, call and updated byte, fitted to timed steps.
#ifndef ISO_MEASURE_STEP_MODEL_H
#define ISO_MEASURE_STEP_MODEL_H
#include "cost/budget.h"
#include "measure/calibrate.h"
#include "train/trainer.h"

// What a pass does, as the graph counts it: the regressors.
typedef struct iso_step_work {
  double flop;      // matrix products, recomputation and optimizer included
  double bytes;     // moved by forward and backward if nothing stays in caches
  double calls;     // kernel launches
  double update_b;  // moved by gradient norm and update, which stream from memory
} iso_step_work;
// A training step.
iso_step_work iso_step_work_train(const iso_train_price *p);
// A forward pass with loss over `batch` windows of `seq` tokens; multiply by the number of passes.
iso_status iso_step_work_eval(const iso_model_config *c, int64_t batch, int64_t seq, const iso_kern_table *kern, iso_step_work *out, iso_err *err);

enum { ISO_STEP_TERMS = 4, ISO_STEP_OBS = 96 };
// A timed pass. `weight` 1 for probes; more for steps like those to be predicted.
typedef struct iso_step_obs {
  iso_step_work work;
  double seconds, weight;
} iso_step_obs;

// t = rate . (flop, bytes, calls, update_b), rates >= 0, minimising the weighted squares of relative errors. Plain storage.
typedef struct iso_step_model {
  char hw_id[20], kernels[40], precision[8], date[24];
  double rate[ISO_STEP_TERMS];  // s/FLOP, s/B, s/call, s/B
  double rel_sd;                // standard deviation of the relative error of an observation of mean weight
  double t;                     // Student's two-sided 90% value for the fit's degrees of freedom
  int n;                        // observations kept; when full, the oldest of the lightest goes first
  iso_step_obs obs[ISO_STEP_OBS];
} iso_step_model;

// An empty model of this machine and ctx->kern.
iso_status iso_step_model_init(const iso_ctx *c, const iso_hw *hw, iso_step_model *out, iso_err *err);
// Adds n observations and fits again. ISO_EINVAL when one is not positive and finite; the model is then unchanged.
iso_status iso_step_model_refit(iso_step_model *m, const iso_step_obs *obs, int64_t n, iso_err *err);
// Seconds of `w` with the 90% prediction interval of the regression (Student t on the residuals, leverage included, at least 1% either way);
// unknown without observations.
iso_est iso_step_model_predict(const iso_step_model *m, const iso_step_work *w);

// Times steps and forward passes of small Llama shapes with `o`'s optimizer (NULL: iso_train_defaults) and fits *out: quick up to 3 s, full
// up to 15 s. The first step of a probe is dropped, the median of the others kept. ctx->kern is what runs. `m` (may be NULL) is sampled in each step.
// Nothing is written.
iso_status iso_calibrate_steps(iso_ctx *c, iso_calibrate_level level, const iso_hw *hw, const iso_train_opts *o, iso_meter *m, iso_step_model *out,
                               iso_err *err);
// Bytes that its largest probe holds with `o`'s optimizer; which probes run depends on the time they take.
iso_status iso_calibrate_steps_ram_b(const iso_ctx *c, iso_calibrate_level level, const iso_train_opts *o, double *out, iso_err *err);

// hw/<id>.steps.json beside the hardware descriptor.
iso_status iso_step_model_save(iso_ctx *c, const iso_step_model *m, iso_err *err);
// ISO_EIO when there is none; ISO_EUNSUP when it was made on another machine or with other kernels than ctx->kern; ISO_EFORMAT when damaged.
iso_status iso_step_model_load(const iso_ctx *c, const char *hw_id, iso_step_model *out, iso_err *err);
json_t *iso_step_model_json(const iso_step_model *m);
iso_status iso_step_model_from_json(const json_t *j, const char *what, iso_step_model *out, iso_err *err);
#endif
