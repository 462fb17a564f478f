// The kernel table for CPUs with AMX: vector kernels of AVX-512, matrix products and attention in tiles.
#include "kern/amx/attention_amx.h"
#include "kern/amx/gemm_amx.h"
#include "kern/amx/head_amx.h"
#include "kern/vec/table.h"

#include "kern/vec/probe.h"

static void head_in_blocks(const iso_kcall *c) { iso_head_loss_amx(c, head_loss_amx); }

static size_t scratch(iso_kslot s, const int64_t *d, int threads) {
  if (s == ISO_K_head_loss) {
    size_t whole = vec_scratch_bf16(s, d, threads), blocks = iso_head_loss_amx_scratch(d);
    return whole > blocks ? whole : blocks;
  }
  return s == ISO_K_attention || s == ISO_K_attention_bwd ? iso_attention_amx_scratch(s, d, threads) : vec_scratch_bf16(s, d, threads);
}

extern const iso_kern_table iso_kern_amx_bf16;
const iso_kern_table iso_kern_amx_bf16 = {
    .name = "avx512+amx",
    .elem = ISO_DTYPE_f32,
    .fn = {VEC_COMMON_SLOTS, [ISO_K_linear] = linear_amx, [ISO_K_linear_bwd] = linear_bwd_amx, [ISO_K_head_loss] = head_in_blocks,
           VEC_ATTENTION_SLOTS(iso_attention_amx, iso_attention_bwd_amx)},
    .scratch = scratch,
    .bf16 = &BF16_TILES,
    .probes = &vec_probes};
