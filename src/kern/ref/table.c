// The table of the reference kernels: f64, one thread, the specification of every slot.
#include "kern/ref/ref.h"

static size_t scratch(iso_kslot s, const int64_t *d, int threads) {
  (void)threads;
  int64_t n = 0;
  if (s == ISO_K_attention) n = d[1];         // probabilities of one query, T
  if (s == ISO_K_attention_cached) n = d[1];  // S
  if (s == ISO_K_head_loss) n = d[2];         // logits of one row, V
  if (s == ISO_K_muon) {                      // X and aX + BX of one part, A and A^2
    int64_t r = d[1] < d[2] ? d[1] : d[2];
    n = 2 * d[1] * d[2] + 2 * r * r;
  }
  return (size_t)n * sizeof(double);
}

const iso_kern_table iso_kern_ref = {
    .name = "ref",
    .elem = ISO_DTYPE_f64,
    .fn =
        {
#define X(name, doc) [ISO_K_##name] = iso_ref_##name,
#include "kern/slots.def"
#undef X
        },
    .scratch = scratch,
};
