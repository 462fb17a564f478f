// Kernel tables for avx2: the vector kernels of kern/vec compiled for this instruction set.
#include "kern/vec/table.h"

#include "kern/vec/probe.h"

extern const iso_kern_table iso_kern_avx2, iso_kern_avx2_bf16;
const iso_kern_table iso_kern_avx2 = {.name = "avx2",
                                      .elem = ISO_DTYPE_f32,
                                      .fn = {VEC_COMMON_SLOTS, VEC_LINEAR_SLOTS(f32), VEC_F32_SLOTS},
                                      .scratch = vec_scratch_f32,
                                      .probes = &vec_probes};
const iso_kern_table iso_kern_avx2_bf16 = {.name = "avx2+bf16-emulated",
                                           .elem = ISO_DTYPE_f32,
                                           .fn = {VEC_COMMON_SLOTS, VEC_LINEAR_SLOTS(emu), VEC_F32_SLOTS},
                                           .scratch = vec_scratch_emu,
                                           .bf16 = &BF16_OPS,
                                           .probes = &vec_probes};
