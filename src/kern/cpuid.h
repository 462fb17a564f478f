// What the CPU can do and the operating system saves on a task switch.
#ifndef ISO_KERN_CPUID_H
#define ISO_KERN_CPUID_H
#include "base/status.h"

// The raw words, so that detection can be tested with words recorded on other machines.
typedef struct iso_cpu_words {
  uint32_t max_leaf, vendor[3];
  uint32_t leaf1_eax, leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_edx, leaf7_1_eax;
  uint64_t xcr0;  // 0 when OSXSAVE is off
} iso_cpu_words;

typedef struct iso_cpu {
  bool avx2, avx512, avx512_vnni, avx512_bf16, amx_bf16;
  int family, model;
  char vendor[13];
} iso_cpu;

void iso_cpu_read(iso_cpu_words *out);           // all zero on other architectures
iso_cpu iso_cpu_decode(const iso_cpu_words *w);  // a pure function
// Whether the vectors' bf16 dot products (avx512_bf16) are faster than f32 ones on rounded operands: twice on AMD, half on Intel, which
// has its tiles for them.
bool iso_cpu_dots_pay(const iso_cpu *c);
// Asks the system for the tile registers of AMX, which a Linux process may not use before; false when it refuses.
bool iso_cpu_allow_tiles(void);
// "avx2 fma f16c" or "avx512 vnni bf16"; returns buf.
char *iso_cpu_isa(const iso_cpu *c, char *buf, size_t n);
#endif
