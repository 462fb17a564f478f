// Assembles one ISA's kernel tables; included once by each src/kern/<isa>/table.c, which alone sets the width.
#ifndef ISO_KERN_VEC_TABLE_H
#define ISO_KERN_VEC_TABLE_H
#include "kern/vec/attention.h"
#include "kern/vec/embed.h"
#include "kern/vec/linear.h"
#include "kern/vec/mlp.h"
#include "kern/vec/norm.h"
#include "kern/vec/optim.h"
#include "kern/vec/rope.h"

static inline size_t vec_scratch(iso_kslot slot, const int64_t *d, int threads, product_kind kind) {
  switch (slot) {
    case ISO_K_linear:
    case ISO_K_linear_bwd:
    case ISO_K_head_loss:
    case ISO_K_softmax_xent: return linear_scratch(slot, d, threads, kind);
    case ISO_K_rmsnorm_bwd:
    case ISO_K_layernorm_bwd: return norm_scratch(slot, d);
    case ISO_K_attention:
    case ISO_K_attention_bwd:
    case ISO_K_attention_cached: return att_scratch(slot, d, threads);
    case ISO_K_sumsq:
    case ISO_K_muon: return optim_scratch(slot, d, threads);
    default: return 0;
  }
}

static inline size_t vec_scratch_f32(iso_kslot s, const int64_t *d, int threads) { return vec_scratch(s, d, threads, PRODUCT_F32); }
static inline size_t vec_scratch_emu(iso_kslot s, const int64_t *d, int threads) { return vec_scratch(s, d, threads, PRODUCT_BF16_EMULATED); }

// The slots whose code does not depend on how products round.
#define VEC_COMMON_SLOTS                                                                                                                      \
  [ISO_K_embed] = embed_f32, [ISO_K_embed_bwd] = embed_bwd_f32, [ISO_K_rmsnorm] = rmsnorm_f32, [ISO_K_rmsnorm_bwd] = rmsnorm_bwd_f32,         \
  [ISO_K_layernorm] = layernorm_f32, [ISO_K_layernorm_bwd] = layernorm_bwd_f32, [ISO_K_rope] = rope_f32,                                      \
  [ISO_K_attention_cached] = attention_cached_f32, [ISO_K_swiglu] = swiglu_f32, [ISO_K_swiglu_bwd] = swiglu_bwd_f32, [ISO_K_gelu] = gelu_f32, \
  [ISO_K_gelu_bwd] = gelu_bwd_f32, [ISO_K_relu2] = relu2_f32, [ISO_K_relu2_bwd] = relu2_bwd_f32, [ISO_K_softmax_xent] = softmax_xent_f32,     \
  [ISO_K_add] = add_f32, [ISO_K_sumsq] = sumsq_f32, [ISO_K_adamw] = adamw_f32
// What kern/bf16 replaces besides linear layers.
#define VEC_F32_SLOTS [ISO_K_attention] = attention_f32, [ISO_K_attention_bwd] = attention_bwd_f32, [ISO_K_muon] = muon_f32
#define VEC_LINEAR_SLOTS(suffix) [ISO_K_linear] = linear_##suffix, [ISO_K_linear_bwd] = linear_bwd_##suffix, [ISO_K_head_loss] = head_loss_##suffix
#endif
