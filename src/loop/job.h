// Running a chosen training run: resume, train inside the budget, evaluate, export, store.
#ifndef ISO_LOOP_JOB_H
#define ISO_LOOP_JOB_H
#include "loop/choose.h"
#include "model/fmt_hf.h"
#include "plan/noise_scale.h"

typedef struct iso_job_opts {
  const iso_choice *choice;
  const char *out_dir;           // gets the model, its tokenizer, the checkpoint and run.json
  const char *init_dir;          // start from this model folder, or NULL
  bool follow_clock;             // the wall budget decides the end (else steps alone)
  bool watch;                    // on texts that are seen often, end early when text kept back says that more epochs hurt
  double reserve_s;              // wall seconds to keep for what comes after this job (report, sample)
  bool repeat;                   // use factors of a recorded run (--replay)
  const double *factors;         // borrowed
  int64_t n_factors, kept_back;  // of schedule.json
  int64_t steps;                 // that an unfinished run was opened for, 0: a new one
  const char *point_label;
} iso_job_opts;

typedef struct iso_job_result {
  int64_t params, steps, tokens;
  double train_loss;  // smoothed, nats per token
  iso_loss val;
  double val_stderr;  // of nats per token, from the spread over windows; NaN unknown
  double bits_per_byte;
  iso_cost train, eval;  // measured
  int64_t peak_planned_b;
  bool stopped;            // the user asked to stop; the checkpoint is written
  bool early;              // ended before its budget because more would not have helped
  iso_noise_window noise;  // of the gradients, in tokens; n = 0 unless the options ask for it
} iso_job_result;

// Trains and leaves the model in out_dir. On ISO_ECANCEL the checkpoint is saved and result->stopped is set.
iso_status iso_job_run(iso_env *e, const iso_job_opts *o, iso_job_result *out, iso_err *err);
// An unfinished run in a folder: what it has used, the step it has reached of how many, and its job.json.
typedef struct iso_job_pending {
  bool there;
  iso_cost used;
  int64_t step, steps;
  json_t *job;  // owned
} iso_job_pending;
iso_status iso_job_pending_open(const char *out_dir, iso_job_pending *out, iso_err *err);
void iso_job_pending_close(iso_job_pending *p);
// What the user asked for, as job.json and demo.json keep it, is the same as now; else ISO_EINVAL that names the option.
iso_status iso_job_same(const json_t *saved, const json_t *now, const char *out_dir, const char *file, iso_err *err);
// Fingerprint of the environment's data, for what the user asked for.
json_t *iso_job_data_json(const iso_env *e);
// Reads "used" of a checkpoint or of demo.json.
iso_status iso_job_used(const json_t *j, const char *what, iso_cost *out, iso_err *err);
// What was measured of the gradient's noise: the scale in tokens with its standard error, the critical batch that it predicts, and what this
// run's batch costs beside it; NULL when nothing was.
json_t *iso_job_noise_json(const iso_noise_window *w);
// Held-out loss of a model on the environment's data; limit_tok 0: all of it, or what is scored by end_s of the clock.
iso_status iso_job_eval(iso_env *e, iso_model *m, int64_t ctx, int64_t limit_tok, double end_s, iso_loss *out, iso_err *err);
// Batches from the environment's shards, for iso_trainer_open; arg is an iso_job_feed.
typedef struct iso_job_feed {
  const iso_shards *data;
  uint64_t seed;
} iso_job_feed;
iso_status iso_job_batch(void *arg, int64_t first, int64_t n, int64_t t, int32_t *x, int32_t *y, iso_err *err);
#endif
