// What the reference kernels share: their prototypes and the operation counter.
#ifndef ISO_KERN_REF_REF_H
#define ISO_KERN_REF_REF_H
#include "kern/kern.h"

// iso_ref_<slot>: f64 buffers, one thread, naive loops; the specification of the slot (see slots.def for operands).
#define X(name, doc) void iso_ref_##name(const iso_kcall *c);
#include "kern/slots.def"
#undef X

// Loops count what they do: `mat` 2 per multiply-add of a matrix product, `vec` 1 per add, multiply, divide, sqrt, exp,
// log or tanh anywhere else. Comparisons, sign flips, copies, and numbers that do not depend on tensors are free.
static inline void ref_tally(const iso_kcall *c, double mat, double vec) {
  if (c->count == NULL) return;
  c->count->mat_flop += mat;
  c->count->vec_flop += vec;
}
#endif
