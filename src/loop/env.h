// What every language-model job shares: budget, meters, store, machine, data.
#ifndef ISO_LOOP_ENV_H
#define ISO_LOOP_ENV_H
#include "cost/hw.h"
#include "cost/meter.h"
#include "cost/price.h"
#include "cost/run.h"
#include "measure/step_model.h"
#include "store/store.h"
#include "text/data.h"

typedef struct iso_env_opts {
  iso_budget budget;
  const char *store;    // path; NULL: isoflop's home
  const char *prices;   // path; NULL: built in
  const char *journal;  // of the budget; NULL: none
  const char *kind;     // of the run in the store: "demo", "train"
  const char *command;  // as the user typed it
  const char *rev;      // of the program
  const char *parent;   // run that this one belongs to, or NULL
  int64_t seed;
  const iso_cost *used;  // what earlier, interrupted calls have used, or NULL
} iso_env_opts;

typedef struct iso_env {
  iso_ctx *ctx;      // borrowed
  iso_run *run;      // owned: the budget
  iso_store *store;  // owned
  char run_id[ISO_RUN_ID];
  iso_prices prices;
  iso_hw hw;
  iso_step_model steps;
  double pace;  // seconds that long runs take over what `steps` predicts from short ones; 1 until a sweep has measured it
  iso_precision precision;
  iso_meter meter;    // of the whole job
  iso_cost used;      // by interrupted calls of the same job
  double base_rss_b;  // anonymous memory before anything was planned
  iso_shards *data;   // owned
  iso_tok *tok;       // owned
  double val_bytes_per_tok;
  int64_t text_vocab, text_max_b;  // settled on by iso_env_text
  int dir_fd;                      // owned: the folder that is locked for this job; 0: none
  iso_arena *arena;                // owned: strings of the summary
  json_t *notes;                   // owned array of text
} iso_env;

// Makes the folder of a job and keeps other processes' jobs out of it until iso_env_close.
iso_status iso_env_own(iso_env *e, const char *dir, iso_err *err);
// Whether a limit ends a training run; memory, disk and inference alone do not.
bool iso_env_bounds(const iso_budget *b);
iso_status iso_env_open(iso_ctx *c, const iso_env_opts *o, iso_env **out, iso_err *err);
// Finishes the run in the store with `status` ("done", "failed", "stopped") and the result object (borrowed, may be NULL).
void iso_env_close(iso_env *e, const char *status, const json_t *result);
// Remembers a remark for the report, and shows it.
void iso_env_note(iso_env *e, iso_event_kind kind, const char *phase, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

// Clock time at which the first limit is reached that seconds of full load use up (wall, cpu, energy, co2, usd; +INFINITY without one), as far as
// the job has been measured now; *which (may be NULL) gets that resource.
double iso_env_end_s(iso_env *e, iso_res *which);
// The cost of `seconds` of full load on this machine, with train or infer FLOPs left at zero: wall, cpu, energy, co2, usd.
iso_cost iso_env_seconds(const iso_env *e, iso_est seconds);
// No prediction exceeds the wall limit: the clock stops the run.
void iso_env_clamp(const iso_env *e, iso_cost *whole);
// The seconds to that time.
double iso_env_affordable_s(iso_env *e);

// A metered phase: reserve at the estimate, then settle with what the meter saw.
typedef struct iso_phase {
  iso_env *env;
  iso_hold *hold;
  iso_meter meter;
  iso_cost predicted, measured;
} iso_phase;
iso_status iso_phase_start(iso_env *e, const char *label, const iso_cost *estimate, iso_phase *out, iso_err *err);
iso_status iso_phase_end(iso_phase *p, iso_err *err);

// ---- phases ---------------------------------------------------------------------------------------------------------

// What a calibration costs: seconds that its level keeps to, and what is resident now with its largest buffer or probe on top.
iso_status iso_env_calibrate_cost(const iso_env *e, iso_calibrate_level level, iso_cost *out, iso_err *err);
// Loads this machine's calibration, or makes a quick one (`fresh`: always), and chooses kernels for `prec` ("auto", "f32", "bf16").
iso_status iso_env_machine(iso_env *e, bool fresh, const char *prec, iso_err *err);

// Builds shards from text in `dir` (or opens finished ones of the same sources) and opens them with their tokenizer.
iso_status iso_env_data(iso_env *e, const iso_data_opts *o, iso_data_report *rep, iso_err *err);
// The same from files as a job gets them: the vocabulary by the budget, and no more text than a twelfth of the time can read.
typedef struct iso_text_opts {
  const char *const *texts;  // n of them; n = 0: GCIDE
  int n;
  const char *out_dir;       // gets data/
  const char *tokenizer;     // of a model that is trained further, or NULL
  int64_t vocab, max_bytes;  // 0: by the budget
  const json_t *as;          // what iso_env_text_json said of an interrupted call, or NULL: by the same budget, not by what is left of it
} iso_text_opts;
// The files are there: looked at before time is spent on the machine.
iso_status iso_env_text_there(const iso_text_opts *o, iso_err *err);
iso_status iso_env_text(iso_env *e, const iso_text_opts *o, iso_err *err);
// The vocabulary and the bytes of text that were settled on, for a job that is interrupted.
json_t *iso_env_text_json(const iso_env *e);
// The longest context up to `want` (0: 256) that the training text fills several times.
int64_t iso_env_context(const iso_env *e, int64_t want);
iso_status iso_env_open_shards(iso_env *e, const char *dir, iso_err *err);

// The GEMM peak of the precision that this job runs in (FLOP/s; NaN when it is unknown).
double iso_env_peak_flop_s(const iso_env *e);
// The object that --json ends with: params, tokens, elapsed_s, bits_per_byte, predicted, measured by resource.
iso_cost iso_env_measured(iso_env *e);
json_t *iso_env_machine_json(const iso_env *e);
#endif
