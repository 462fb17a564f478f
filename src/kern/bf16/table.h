// Assembles a kernel table of AVX-512 whose products, attention and head take bf16 in blocks (kern/bf16); the rest is kern/vec.
#ifndef ISO_KERN_BF16_TABLE_H
#define ISO_KERN_BF16_TABLE_H
#include "kern/bf16/attention.h"
#include "kern/bf16/head.h"
#include "kern/bf16/muon.h"
#include "kern/vec/probe.h"
#include "kern/vec/table.h"

static inline size_t blocks_scratch(iso_kslot s, const int64_t *d, int threads) {
  size_t vec = vec_scratch(s, d, threads, PRODUCT_BF16_BLOCKS);
  if (s == ISO_K_muon) return muon_bytes(d, &MUON_BLOCKS) * (size_t)threads;
  if (s == ISO_K_head_loss) return larger_size(vec, head_loss_blocks_scratch(d));
  return s == ISO_K_attention || s == ISO_K_attention_bwd ? attention_blocks_scratch(s, d, threads) : vec;
}

#define BF16_BLOCKS_TABLE(title)                                                                                                                    \
  {                                                                                                                                                 \
    .name = title, .elem = ISO_DTYPE_f32,                                                                                                           \
    .fn =                                                                                                                                           \
        {VEC_COMMON_SLOTS,                                                                                                                          \
         VEC_LINEAR_SLOTS(blocks), [ISO_K_attention] = attention_blocks, [ISO_K_attention_bwd] = attention_bwd_blocks, [ISO_K_muon] = muon_blocks}, \
    .scratch = blocks_scratch, .bf16 = &BF16_OPS, .narrow = true, .probes = &vec_probes                                                             \
  }
#endif
