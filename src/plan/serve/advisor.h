// Advice on serving from the roofline: batch size, energy under a latency limit, experts in host memory, cost of thinking long.
#ifndef ISO_PLAN_SERVE_ADVISOR_H
#define ISO_PLAN_SERVE_ADVISOR_H
#include "plan/serve/roofline.h"

// The batching advisor (arXiv:2503.08311): among batches B whose inter-token latency meets the limit and whose throughput T(B) is at least
// eps x B x T(1), the one of highest throughput; only its cache is allocated, and replicas fill the memory that this frees.
typedef struct iso_batch_advice {
  double batch, itl_s, tok_per_s;
  double peak_batch, peak_tok_per_s;  // of the largest batch that fits, whatever its latency
  double of_peak;                     // tok_per_s over peak_tok_per_s
  double kv_share;                    // cache of `batch` over the cache that the largest batch takes
  double replicas;                    // copies of the weights with this cache that one set of devices holds
} iso_batch_advice;
// Sequences of prompt + output tokens. ISO_EINVAL for eps outside (0, 1] or when even one sequence misses the limit; ISO_ENOMEM when none fits.
iso_status iso_serve_advise(const iso_serve_setup *u, const iso_serve_coef *c, double prompt, double output, double slo_itl_s, double eps,
                            double mem_share, iso_batch_advice *out, iso_err *err);

// Energy under a latency limit: every power-of-two number of devices up to a node times every batch of 1, 2, 4, ... that fits.
typedef struct iso_energy_point {
  int64_t devices;
  double batch, itl_s, j_per_tok, tok_per_s;
  bool front;  // no other point is faster and uses less
} iso_energy_point;
enum { ISO_ENERGY_POINTS_MAX = 128 };
// Joules are of decoding: decode_w of every device over the tokens. *best is the index of the least joules with itl <= slo, -1 when none is.
// ISO_ENOMEM when the model fits no number of devices.
iso_status iso_serve_energy(const iso_serve_shape *s, const iso_serve_device *d, const iso_serve_format *f, const iso_serve_coef *c, double prompt,
                            double output, double slo_itl_s, double mem_share, iso_energy_point *out, int *n, int *best, iso_err *err);

// Kinetics (arXiv:2506.05333): FLOPs of n samples of `output` tokens after `prompt` tokens, weights' reads amortised away, and the cache's
// reads as FLOPs at an intensity of `flop_per_b` (its cost model counts elements at 562.5).
typedef struct iso_eflops {
  double compute, memory;
} iso_eflops;
iso_eflops iso_serve_eflops(double params, double layers, double heads, double kv_heads, double head_dim, double prompt, double output,
                            double samples, double flop_per_element);

// Experts streamed from host memory while the device works (MoE-Lens, arXiv:2504.09345). The paper's bound counts prompt tokens as well; rates here
// are of output tokens, g of every p + g.
typedef struct iso_offload_rate {
  double stream_s;        // weights over the host link, once
  double pme;             // prefix-memory efficiency 2 (p + g) / ((2 p + g) g), prompt and output tokens per cached token and pass
  double host_tok_per_s;  // pme x cache tokens in host memory / stream_s x g / (p + g)
  double device_tok_per_s;
  double tok_per_s;   // the lesser
  double overlap;     // a cache freed as sequences end holds this many times more: (p + g) / (p + g / 2)
  const char *bound;  // "host" or "device"
} iso_offload_rate;
// kv_b: host memory for the cache. ISO_EINVAL for a model without experts or numbers that are not positive.
iso_status iso_serve_offload(const iso_serve_setup *u, const iso_serve_coef *c, double prompt, double output, double kv_b, iso_offload_rate *out,
                             iso_err *err);
#endif
