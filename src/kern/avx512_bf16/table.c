// The kernel table for CPUs whose dot products of bf16 pairs (AVX512_BF16) run faster than f32: AMD since Zen 4.
#include "kern/bf16/table.h"

extern const iso_kern_table iso_kern_avx512_native_bf16;
const iso_kern_table iso_kern_avx512_native_bf16 = BF16_BLOCKS_TABLE("avx512+bf16");
