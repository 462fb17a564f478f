// Attention on Intel's tile unit (AMX): the slots attention and attention_bwd of kern/slots.def.
#ifndef ISO_KERN_AMX_ATTENTION_AMX_H
#define ISO_KERN_AMX_ATTENTION_AMX_H
#include "kern/kern.h"

// o = softmax(scale q k' + causal mask) v, whole rows of scores at a time.
// shapes: qkv [B T, (H+2K) Hd]; o [B T, H Hd]; lse [B,H,T]
// numerics: q, k, v and the unnormalised probabilities are rounded to bf16 before they are multiplied; softmax and sums in f32
// cost: 2 B H Hd T (T+1) mat flop (causal half); executes up to 96 T keys more
void iso_attention_amx(const iso_kcall *c);
// As attention_bwd of kern/vec (Dao et al. 2022, arXiv 2205.14135, algorithm 4), with do, p and ds rounded to bf16 in products.
void iso_attention_bwd_amx(const iso_kcall *c);
size_t iso_attention_amx_scratch(iso_kslot slot, const int64_t *d, int threads);
#endif
