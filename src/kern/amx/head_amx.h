// The head with softmax and cross-entropy on Intel's tile unit (AMX): the slot head_loss of kern/slots.def.
#ifndef ISO_KERN_AMX_HEAD_AMX_H
#define ISO_KERN_AMX_HEAD_AMX_H
#include "kern/kern.h"

// loss, dx = dlogits W and dW += dlogits' x without a matrix of f32 logits: exp(logit - target's logit) leaves the block in which it was
// summed as bf16, packed for both products; the softmax's denominator is divided out of dx and of x.
// shapes: x [M,D]; W [V,D]; targets [M]; dx [M,D]; dW [V,D]
// numerics: x, W, the unnormalised probabilities and x over the denominator are rounded to bf16 before they are multiplied; sums in f32,
// a row's denominator and loss in f64. Where a token of a row is e^88 times as likely as its target, `plain` does the rows at hand.
// cost: 2 M V D flop for the loss, 6 M V D with gradients; writes and reads 8 M V bytes of scratch
void iso_head_loss_amx(const iso_kcall *c, iso_kern_fn plain);
size_t iso_head_loss_amx_scratch(const int64_t *d);
#endif
