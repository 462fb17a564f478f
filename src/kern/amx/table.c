// The kernel table for CPUs with AMX: blocks of bf16 products on the tile unit.
#include "kern/bf16/table.h"

extern const iso_kern_table iso_kern_amx_bf16;
const iso_kern_table iso_kern_amx_bf16 = BF16_BLOCKS_TABLE("avx512+amx");
