// bf16 matrix products on Intel's tile unit (AMX), from f32 operands that are rounded while they are packed.
#ifndef ISO_KERN_AMX_GEMM_AMX_H
#define ISO_KERN_AMX_GEMM_AMX_H
#include "kern/gemm.h"

// As iso_gemm_bf16; scratch of iso_gemm_bf16_scratch() bytes holds both operands, packed and padded to panels of 32.
// numerics: operands rounded to nearest even (subnormal ones to zero), products and sums in f32; the order of sums depends on k alone
void iso_gemm_amx(iso_pool *pool, const iso_gemm *g, unsigned char *scratch);
// dw = A' B and dx = A B of the same A, which is packed for both in one pass; dw.k = dx.m. Scratch: iso_gemm_bf16_bwd_scratch().
void iso_gemm_amx_bwd(iso_pool *pool, const iso_gemm *dw, const iso_gemm *dx, unsigned char *scratch);
// The same of operands that are packed already (kern/amx/tiles.h), as left and right, to ceil(k / 32) steps; a, b and their strides are not read.
void iso_gemm_amx_packed(iso_pool *pool, const iso_gemm *g, const uint16_t *a, const uint16_t *b);
#endif
