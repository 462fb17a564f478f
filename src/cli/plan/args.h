// What the subverbs of plan share: the run that keeps a plan, models, clusters and devices by name, and tables from JSON.
#ifndef ISO_CLI_PLAN_ARGS_H
#define ISO_CLI_PLAN_ARGS_H
#include "cli/cli.h"
#include "cost/price.h"
#include "plan/device/device.h"
#include "plan/layout/layout_search.h"
#include "plan/serve/plan_json.h"
#include "store/store.h"

#define CLI_PLAN_OPTS                                                                                                                        \
  {"region", CLI_TEXT, "CODE", NULL, "grid, for carbon: a country (DE, US, ...) or one source of energy (coal, wind, ...; default: world)"}, \
      {"store", CLI_TEXT, "FILE", NULL, "run store that keeps the plan (default: runs.db in isoflop's home)"}, {                             \
    "prices", CLI_TEXT, "FILE", NULL, "JSON with prices and carbon intensity"                                                                \
  }
#define CLI_CLUSTER_OPTS                                                                                                            \
  {"cluster", CLI_TEXT, "NxDEVICE", NULL, "devices to train on, as in 512xa100-80; isoflop hw list has names"},                     \
      {"usd-h", CLI_REAL, "USD", NULL, "price of a device-hour (default: the device's)"},                                           \
      {"pue", CLI_REAL, "RATIO", NULL, "energy at the meter over energy of the machines (default: the prices file's, else 1.1)"}, { \
    "memory-limit", CLI_TEXT, "BYTES", NULL, "use so much of a device's memory at most, as in 72GiB (default: all of it)"           \
  }
// Where the intervals of training steps are from.
#define CLI_PLAN_STEP_INTERVALS "90% of the calibration's residuals; bytes and FLOPs are counted on the graph"
#define CLI_PLAN_NOTE_EXIT "A plan that the devices' memory does not hold is refused with the bytes and ends with 5."

// A plan being made: its row of kind "plan" in the store, and prices. It has no limits of its own: a plan's --budget is the training
// run's, not this program's.
typedef struct cli_plan {
  iso_store *store;  // owned
  char run_id[ISO_RUN_ID];
  iso_prices prices;
} cli_plan;
// *out must stay where it is: Ctrl-C marks its row as interrupted.
iso_status cli_plan_open(const cli_args *a, cli_plan *out, iso_err *err);
// Ends it: stores the result and prints it, by `print` without --json, or the error. `result` is dropped. Returns the exit code: EXIT_BUDGET for a
// result with an object "infeasible".
int cli_plan_close(const cli_args *a, cli_plan *p, iso_status st, const iso_err *err, json_t *result, void (*print)(const json_t *));
// The whole of it for a subverb whose `plan` makes the result, owned by the caller, in one go.
typedef iso_status (*cli_plan_fn)(const cli_args *a, const iso_prices *prices, json_t **out, iso_err *err);
int cli_plan_run(const cli_args *a, cli_plan_fn plan, void (*print)(const json_t *));
// The same for an answer that is opened, solved, told and closed: `size` bytes of zeros for `self`, and what it owns closed whatever failed.
typedef struct cli_plan_answer {
  size_t size;
  iso_status (*solve)(const cli_args *a, void *self, iso_err *err);
  iso_status (*tell)(const cli_args *a, const void *self, json_t **out, iso_err *err);
  void (*close)(void *self);
  void (*print)(const json_t *result);
} cli_plan_answer;
int cli_plan_run_answer(const cli_args *a, const cli_plan_answer *k);

// --model: a name (layout_models.def or shapes.def), "layers,width,heads/kv_heads,mlp,vocab[,seq]", or a config.json (or its folder).
// ISO_EINVAL with "did you mean". A shape is that of isoflop's models (LLaMA's, tied head); after "gpt:" GPT's, after "llama:" not tied.
#define CLI_MODEL_HELP "a name as llama3-70b, [gpt:|llama:]layers,width,heads/kv_heads,mlp,vocab[,seq], or a config.json"
iso_status cli_model_layout(const char *text, int64_t seq, iso_layout_shape *out, iso_err *err);
// The same named in a file, whose name and line the caller adds to errors.
iso_status cli_model_in_file(const char *text, int64_t seq, iso_layout_shape *out, iso_err *err);
iso_status cli_model_serve(const char *text, iso_serve_shape *out, iso_err *err);
iso_serve_shape cli_serve_shape_of(const iso_layout_shape *s);
// The seq in such a shape; 0: none.
int64_t cli_model_seq(const char *text);
// --seq when given, else the model's own when it says one, else the option's default.
int64_t cli_seq(const cli_args *a);

// "512xa100-80"; a name alone is one device. *n keeps 0 for it when `bare_zero`. Close the device.
iso_status cli_devices(const char *text, const char *what, int64_t *n, iso_device **out, iso_err *err);
typedef struct cli_cluster {
  int64_t devices;
  iso_device *device;          // owned
  iso_layout_machine machine;  // with --usd-h, --pue and --memory-limit
  iso_layout_cal cal;          // the device's own, or the default
} cli_cluster;
iso_status cli_cluster_open(const cli_args *a, const iso_prices *prices, cli_cluster *out, iso_err *err);
void cli_cluster_close(cli_cluster *c);

// --batch as sequences of `seq` tokens: a bare number counts sequences; a number of tokens is met within 5% by the count with the largest
// power of two in it, because layouts divide it. 0: not given.
iso_status cli_batch(const cli_args *a, int64_t seq, int64_t *out, iso_err *err);
// The batch of the registered batch laws (plan/hyper.h) in sequences, a power of two; `fallback` without any. *rule says which they are,
// in `buf`.
int64_t cli_batch_by_law(double params, double tokens, int64_t seq, int64_t fallback, const char **rule, char *buf, size_t n);
// A positive quantity of an option in base units; NaN when it is not given.
iso_status cli_quantity(const cli_args *a, const char *name, iso_unit u, double *out, iso_err *err);
// Splits "key=value,key=value" and calls put for each; ISO_EINVAL names the option.
iso_status cli_pairs(const char *text, const char *what, iso_status (*put)(void *self, const char *key, const char *value, iso_err *err), void *self,
                     iso_err *err);

// A number (of an interval its value) or text at a dotted path of an object; NaN, and "" when it is not there.
double cli_at(const json_t *o, const char *path);
const char *cli_text_at(const json_t *o, const char *path);
const json_t *cli_json_at(const json_t *o, const char *path);
// A row for each of "warnings".
void cli_row_warnings(const json_t *o);
// A row "name  value (lo to hi)" of the interval at a path; nothing when it is not there.
void cli_row_range(const char *name, const json_t *o, const char *path, iso_unit u);
#endif
