// Which devices, how many, and how to share a model over them: a sweep scored by what a dollar or a second buys, and what holds the best back.
#ifndef ISO_PLAN_DEVICE_CHOICE_H
#define ISO_PLAN_DEVICE_CHOICE_H
#include "plan/train_plan.h"

// What a choice is scored by; more is better.
typedef enum iso_choice_goal {
  ISO_CHOICE_LOSS_PER_USD,    // (ln V - loss reached) / dollars of the run: nats below a uniform guess over the vocabulary, per dollar
  ISO_CHOICE_TOKENS_PER_USD,  // tokens trained on / dollars of the run, whatever its length
  ISO_CHOICE_TOKENS_PER_S,    // tokens / seconds
  ISO_CHOICE_LOSS,            // - loss reached
  ISO_CHOICE_GOALS
} iso_choice_goal;
const char *iso_choice_goal_name(iso_choice_goal g);  // "loss-per-usd", ...
iso_status iso_choice_goal_find(const char *name, iso_choice_goal *out, iso_err *err);

// How weights are shared over data-parallel devices: copies (DDP), and ZeRO 1 to 3 (3 is FSDP); or any layout with tensor, pipeline or context
// parallelism.
typedef enum iso_choice_share {
  ISO_CHOICE_DDP,
  ISO_CHOICE_ZERO1,
  ISO_CHOICE_ZERO2,
  ISO_CHOICE_FSDP,
  ISO_CHOICE_MODEL,
  ISO_CHOICE_SHARES
} iso_choice_share;
const char *iso_choice_share_name(iso_choice_share s);  // "DDP", "ZeRO-1", "ZeRO-2", "FSDP", "model parallel"

// So many devices of one kind. Everything is borrowed.
typedef struct iso_choice_devices {
  int64_t devices;
  const iso_layout_machine *machine;
  const iso_layout_cal *cal;
  const iso_device *device;  // its measured tables are used; NULL: none
} iso_choice_devices;

typedef struct iso_choice_req {
  iso_layout_job job;  // shape (dense) and batch; flash and tables are set by the sweep
  const iso_law *law;  // in nats per token, of parameters and tokens
  const iso_law_const *set;
  double x[ISO_LAW_INPUT_MAX];  // its other inputs
  iso_budget budget;            // limits of iso_train_limit; a token count is budget.tok
  double g_per_kwh;
  iso_choice_goal goal;
  const iso_choice_devices *at;
  int n;
  int64_t max_micro_batch;
  bool plain, flash;    // which kinds of attention to try
  bool model_parallel;  // also tensor, pipeline and context parallelism (iso_layout_search_run)
} iso_choice_req;

// The best layout of one kind of attention and sharing on some devices.
typedef struct iso_choice_run {
  int at;  // of the request
  bool flash;
  iso_choice_share share;
  iso_layout layout;
  iso_layout_step step;
  iso_layout_mem memory;
  double steps;
  iso_est tokens, loss, wall_s, usd, joule, co2_g;  // of the run; the loss over sets of the same runs as well
  double tok_per_usd, loss_per_usd;
  iso_est score;  // by the step's interval
} iso_choice_run;

// What twice as much of one thing would do to tokens a second on the best run's devices, attention and layout chosen anew.
typedef enum iso_choice_lift {
  ISO_CHOICE_LIFT_COMPUTE,   // peak of matrix products
  ISO_CHOICE_LIFT_MEMORY,    // memory bandwidth
  ISO_CHOICE_LIFT_INTRA,     // links inside a node, and half their latency
  ISO_CHOICE_LIFT_INTER,     // links between nodes, and half their latency
  ISO_CHOICE_LIFT_LAUNCH,    // half the seconds of launches and of kernels too small to fill a device
  ISO_CHOICE_LIFT_CAPACITY,  // memory capacity
  ISO_CHOICE_LIFTS
} iso_choice_lift;
const char *iso_choice_lift_name(iso_choice_lift l);  // "compute", "memory bandwidth", ...

enum { ISO_CHOICE_DEVICES_MAX = 256 };
typedef struct iso_choice {
  double params;
  int64_t tried, too_big;
  int n;
  iso_choice_run *run;                       // owned, best score first
  iso_err left_out[ISO_CHOICE_DEVICES_MAX];  // by index of the request: why no run is on these; status ISO_OK: one is
  int alike;                                 // other entries of the request whose best run's interval of the score meets the best one's
  double lift[ISO_CHOICE_LIFTS];             // 0.3: 30% more tokens a second; by the model alone where the device has measured tables
  iso_choice_lift binding;                   // the largest
} iso_choice;

// ISO_EINVAL for a request that makes no sense, ISO_EUNSUP for a mixture of experts, another unit of loss or a set that is not confirmed; when
// nothing runs, the status and reason of the first devices. Close with iso_choice_close.
iso_status iso_choice_run_all(const iso_choice_req *q, iso_choice *out, iso_err *err);
void iso_choice_close(iso_choice *c);
#endif
