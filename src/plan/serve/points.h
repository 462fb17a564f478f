// Measured serving points: latency of a model on a layout of devices at a number of requests in flight, read from CSV.
#ifndef ISO_PLAN_SERVE_POINTS_H
#define ISO_PLAN_SERVE_POINTS_H
#include "plan/serve/roofline.h"

// Why a point cannot be predicted, hence is neither fitted nor judged.
typedef enum iso_point_skip {
  ISO_POINT_USED = 0,
  ISO_POINT_NO_BATCH,  // no number of requests in flight (most rows of split serving)
  ISO_POINT_MODEL,     // no shape of that name
  ISO_POINT_DEVICE,    // no device of that name
  ISO_POINT_PIPELINE,  // pipeline stages are not modelled
  ISO_POINT_SKIPS
} iso_point_skip;

typedef struct iso_serve_point {
  int64_t line;  // in the file
  char backend[16], model[64], system[32], precision[8];
  bool split;                       // prefill and decode on separate workers; the layout below is then of a decode worker
  bool together;                    // a fixed batch: all of its prompts at once, then its tokens with no prompt between them
  double prompt, output, batch;     // tokens; batch as in the file: per attention rank
  iso_serve_layout file;            // degrees as in the file; 0 where empty
  iso_serve_layout layout;          // as understood, see below
  double in_flight;                 // requests in decode on one worker = batch x attention ranks
  double workers, prefill_workers;  // of decode and of prefill; 1 when not split
  iso_serve_layout prefill;         // of a prefill worker when split
  double ttft_s, tpot_s;
  iso_point_skip skip;
  const iso_serve_shape *shape;  // borrowed from the table; NULL when unknown
  iso_serve_device device;       // name empty when unknown
} iso_serve_point;

// How the file's columns are understood. batch_size is per attention-parallel rank: the shared file holds the same measurement (equal TTFT and
// TPOT to the last digit) as (attention_dp 8, batch 16) and (attention_dp 64, batch 2), and in every other such pair batch x attention_dp agrees
// too. The same pairs show how degrees are written by one of the file's sources: where moe_tp = moe_ep = k > 1 and tp x dp = k x k, the replica
// has k devices, attention and experts each spread over all of them (tp 64, moe 8 x 8 equals tp 8, moe 1 x 8), and where tp = dp = k and
// moe_ep = k x k likewise. An empty attention_dp is moe_tp x moe_ep / tp. More attention ways than divide the heads are attention ranks.
// An empty precision is bf16 (the one model without, 8B on one H100 at batch 8, takes 7.9 ms: 16 GB of weights at 3.35 TB/s are 4.8 ms).
typedef struct iso_serve_points {
  iso_serve_point *at;  // owned
  int64_t n, used;
  int64_t skipped[ISO_POINT_SKIPS];
} iso_serve_points;

// Columns: backend, model, system, precision, mode (agg, disagg or static), prompt_tok, output_tok, batch_size, tp_size, pp_size, attention_dp_size,
// moe_tp_size, moe_ep_size, the same with decode_ and prefill_ and *_num_workers when mode is disagg, ttft_ms, tpot_ms. Others are ignored.
// Systems are names of compiled-in devices, or of `own` (may be NULL), which stands before them.
// Errors: ISO_EFORMAT names line, column and value. An unknown model or system is not an error but a skip. Close with iso_serve_points_close.
iso_status iso_serve_points_load(const char *path, const iso_device_spec *own, iso_serve_points *out, iso_err *err);
// The same from text.
iso_status iso_serve_points_parse(const char *text, size_t n, const char *what, const iso_device_spec *own, iso_serve_points *out, iso_err *err);
void iso_serve_points_close(iso_serve_points *p);
// The setup of a point's decode worker (or of its only kind). ISO_EINVAL when the point is skipped.
iso_status iso_serve_point_setup(const iso_serve_point *p, iso_serve_setup *out, iso_err *err);
const char *iso_point_skip_name(iso_point_skip s);
#endif
