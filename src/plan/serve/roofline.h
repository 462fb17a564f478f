// Time of one serving step from bytes, FLOPs, link bytes and kernel launches; what fits in memory; the four costs of a long context.
#ifndef ISO_PLAN_SERVE_ROOFLINE_H
#define ISO_PLAN_SERVE_ROOFLINE_H
#include "plan/serve/device.h"
#include "plan/serve/shape.h"

// Bytes per element of weights and cache, and the width of the matrix products.
typedef struct iso_serve_format {
  char name[8];
  double weight_b, expert_b, head_b, kv_b;
  int bits;  // 16, 8 or 4: which peak the products run at
} iso_serve_format;
// "bf16", "fp8" (fp8 cache, head in bf16), "fp4" (4.5 bits with their scales, fp8 cache; latent attention stays in fp8), "int4" (weight-only:
// products in bf16; of models with experts only these). Shapes with mxfp4 keep their own format. ISO_EINVAL for other names.
iso_status iso_serve_format_get(const char *name, const iso_serve_shape *s, iso_serve_format *out, iso_err *err);

// One replica of tp x dp devices: attention is cut tp ways and its sequences are shared out over dp ranks, the MLP is cut tp ways, experts
// moe_tp x moe_ep ways. For models without experts moe_tp = moe_ep = 1 and dp = 1.
typedef struct iso_serve_layout {
  int64_t tp, dp, moe_tp, moe_ep;
} iso_serve_layout;
// n devices: tensor parallelism for attention, experts spread over the devices.
iso_serve_layout iso_serve_layout_tp(const iso_serve_shape *s, int64_t n);

// Times from measured operator tables (ops.h).
typedef struct iso_serve_ops iso_serve_ops;

// What passes over the weights read from outside device memory (ondemand.h); all zero: nothing, memory holds them.
typedef struct iso_serve_fetch {
  double prompt_s;  // of a pass over prompts, which needs every weight
  double step_s;    // of a decoding step, whatever its batch
  double rows_s;    // more, in a step that needs all experts or neurons that may be read for it
  double fresh;     // share of those that one sequence's token needs
  double used;      // share of the rows_b bytes of MLP weights that it uses, read or held before
  double rows_b;    // 0: it uses all weights
} iso_serve_fetch;

// A replica, checked and counted: everything the functions below need.
typedef struct iso_serve_setup {
  iso_serve_shape shape;
  iso_serve_device device;
  iso_serve_format format;
  iso_serve_layout layout;
  iso_serve_counts n;
  int64_t devices;
  double weight_b;           // weights on one device
  iso_serve_fetch fetch;     // weights that are elsewhere
  const iso_serve_ops *ops;  // borrowed; NULL, as iso_serve_setup_init leaves it: everything by the roofline
} iso_serve_setup;
// ISO_EINVAL when the shape, the device or the layout makes no sense. Whether it fits is iso_serve_capacity's to say.
iso_status iso_serve_setup_init(iso_serve_setup *u, const iso_serve_shape *s, const iso_serve_device *d, const iso_serve_format *f,
                                iso_serve_layout layout, iso_err *err);

// What one iteration does: `seqs` sequences decode a token each against `ctx` cached tokens on average, and prefill_tok prompt tokens are
// processed that attend to prefill_ctx tokens on average (half the prompt when a prompt is processed at once).
typedef struct iso_serve_step {
  double seqs, ctx, prefill_tok, prefill_ctx;
} iso_serve_step;

// Its work on the busiest device at peak rates, in seconds, and what is paid per event.
typedef struct iso_serve_work {
  double weight_b, kv_b;                          // bytes read
  double mem_s, flop_s, link_s;                   // of weights and cache; of decoding; of decoding's activations between devices
  double prefill_s, prefill_flop_s;               // products and transfers of prompt tokens; the products alone
  double launches, collectives, net_collectives;  // kernels; exchanges between devices; those of them that leave a node
  double store_s;                                 // weights read from outside device memory
  // With tables: their seconds of products and attention, of exchanges (else NaN), and what of mem_s, flop_s and prefill_flop_s they leave
  // to the roofline. Without, table_s is NaN. Launches are then those of kernels that no table times.
  double table_s, table_link_s, rest_mem_s, rest_flop_s, rest_prefill_s;
} iso_serve_work;
iso_serve_work iso_serve_work_of(const iso_serve_setup *u, const iso_serve_step *step);
// The mean step while `seqs` requests of `prompt` and `output` tokens are always in flight: decode at the middle of the output and, when prompts
// are processed between (mixed), the prompts of the seqs - 1 others spread over the output's steps.
iso_serve_work iso_serve_mean_work(const iso_serve_setup *u, double seqs, double prompt, double output, bool mixed);
// Share of a layer's experts that `tokens` tokens reach when each picks its own evenly.
double iso_serve_reached(const iso_serve_shape *s, double tokens);
// Share of what `sequences` need together when each needs `share` of it, independently.
double iso_serve_union(double share, double sequences);
// No step is faster: max of bytes, products, link bytes and reads of weights at peak.
double iso_serve_floor_s(const iso_serve_work *w);

// From work to time. overlap: max(mem, flop) as in a roofline; else their sum, as measured servers behave (calib.h fits the numbers).
typedef struct iso_serve_coef {
  bool overlap;
  double mem, flop, link, prefill;       // seconds per second at peak, >= 1 in a sane calibration
  double launch_s, collective_s, net_s;  // per event
  double scale;                          // one factor over all, of a (system, backend, precision)
} iso_serve_coef;
// Tables are taken as they are: of `mem`, `flop` and `prefill` only their rests take factors.
// All at peak: the roofline.
iso_serve_coef iso_serve_coef_ideal(void);
// Peak scaled by two efficiencies, in (0, 1].
iso_serve_coef iso_serve_coef_efficiency(double flop_eff, double mem_eff);
// Never below the floor. Weights from outside device memory are waited for: what is needed is known too late, or all of a step is.
double iso_serve_time_s(const iso_serve_work *w, const iso_serve_coef *c);
double iso_serve_step_s(const iso_serve_setup *u, const iso_serve_coef *c, const iso_serve_step *step);
// The largest part of a step's time: "memory", "compute", "link", "launch" or "store" (weights from outside device memory).
const char *iso_serve_bound(const iso_serve_work *w, const iso_serve_coef *c);

// Memory of a replica.
typedef struct iso_serve_room {
  double weight_b;          // on one device
  double kv_b_per_seq;      // of one sequence of `tok` tokens, over all devices that hold part of it
  double kv_dev_b_per_seq;  // its part on one device of its attention rank
  double free_b;            // for the cache, on one device
  double seqs;              // sequences that fit on the replica at once, a whole number
  double cache_tok;         // tokens that fit
} iso_serve_room;
// `tok` tokens per sequence, `share` of a device's memory usable, in (0, 1]. ISO_ENOMEM when the weights alone do not fit: names the bytes.
iso_status iso_serve_capacity(const iso_serve_setup *u, double tok, double share, iso_serve_room *out, iso_err *err);

// The costs of one context (Fu 2024, arXiv:2405.08944) and what they draw.
typedef struct iso_serve_phases {
  iso_serve_room room;
  double ttft_s;     // prefill of one prompt alone
  double itl_s;      // a decode step at `batch`
  double switch_s;   // cache of one sequence out to host memory and another's in
  double output_s;   // ttft + output tokens x itl
  double tok_per_s;  // output tokens of the batch over itl
  double prefill_j, decode_j_per_tok;
  double ttft_floor_s, itl_floor_s;
  const char *ttft_bound, *itl_bound;
} iso_serve_phases;
// Prompt and output in tokens; decode is at the middle of the output. batch <= 0: as many as fit. ISO_ENOMEM when the batch does not fit.
iso_status iso_serve_phases_of(const iso_serve_setup *u, const iso_serve_coef *c, double prompt, double output, double batch, double mem_share,
                               iso_serve_phases *out, iso_err *err);
#endif
