// The shape that a published family of decoders would give a model of so many parameters.
#include <math.h>
#include <stdio.h>

#include "plan/layout/layout.h"

// Width over layers of LLaMA (102 to 128), GPT-3 175B (128) and Llama 3 (102 to 130); quality hardly depends on it (Kaplan et al. 2020,
// arXiv:2001.08361, figure 5).
static const double ASPECT = 128;
// Llama 3.2 ties embedding and head at 1B and 3B, Llama 3 at 8B does not.
static const double TIED_BELOW = 4e9;

static int64_t next_width(int64_t w) { return w + (w < 1024 ? 64 : w < 4096 ? 128 : w < 16384 ? 1024 : 2048); }

// SwiGLU of 8/3 width, to multiples of 256 as in LLaMA; grouped queries of 8 KV heads from width 4096 on (Llama 2 70B, Llama 3).
static iso_layout_shape of_width(int64_t w, int64_t vocab, int64_t seq, bool tied) {
  iso_layout_shape s = {.layers = 1, .width = w, .head_dim = w <= 1024 ? 64 : 128, .vocab = vocab, .seq = seq, .gated = true, .tied = tied};
  s.heads = w / s.head_dim;
  s.kv_heads = w < 4096 ? s.heads : 8;
  s.mlp = (8 * w / 3 + 255) / 256 * 256;
  return s;
}

iso_status iso_layout_shape_family(double params, int64_t vocab, int64_t seq, iso_layout_shape *out, iso_err *err) {
  double best = INFINITY;
  if (!(params >= 1 && params <= 1e16)) return iso_fail(err, ISO_EINVAL, "shape: %g parameters, expected 1 to 1e16", params);
  for (int64_t w = 64; w <= 1 << 19; w = next_width(w)) {
    iso_layout_shape s = of_width(w, vocab, seq, params < TIED_BELOW);
    iso_layout_counts c;
    ISO_TRY(iso_layout_shape_check(&s, err));
    iso_layout_count(&s, &c);
    double layer = (double)c.layer_dense, rest = (double)c.params - layer, want = (params - rest) / layer;
    if (want < 0.5) continue;
    // Layers that pipelines can share out.
    int64_t step = want >= 30 ? 4 : want >= 11 ? 2 : 1;
    s.layers = (int64_t)llround(want / (double)step) * step;
    if (s.layers > 4096) continue;
    // A tenth off in size weighs as much as a factor of four in aspect.
    double off = fabs(log((rest + layer * (double)s.layers) / params)) / 0.05 + fabs(log2((double)w / (double)s.layers / ASPECT));
    if (off >= best) continue;
    best = off;
    *out = s;
  }
  if (!(best < INFINITY)) {
    iso_fail(err, ISO_EINVAL, "shape: %g parameters do not pay for a vocabulary of %lld", params, (long long)vocab);
    return iso_hint(err, ISO_EINVAL, "take a smaller vocabulary");
  }
  iso_layout_counts c;
  iso_layout_count(out, &c);
  snprintf(out->name, sizeof out->name, "%.3g parameters", (double)c.params);
  return iso_layout_shape_check(out, err);
}
