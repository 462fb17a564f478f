// CPUID and XGETBV, decoded (Intel SDM vol. 2A, CPUID; vol. 1, 13.3 for XCR0).
#include "kern/cpuid.h"

#include <stdio.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

void iso_cpu_read(iso_cpu_words *w) {
  memset(w, 0, sizeof *w);
#if defined(__x86_64__)
  uint32_t a, b, c, d;
  if (!__get_cpuid(0, &w->max_leaf, &w->vendor[0], &w->vendor[2], &w->vendor[1])) return;
  if (__get_cpuid(1, &a, &b, &c, &d)) {
    w->leaf1_eax = a;
    w->leaf1_ecx = c;
    if (c & (1u << 27)) {  // OSXSAVE: XGETBV may be used
      uint32_t lo, hi;
      __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
      w->xcr0 = (uint64_t)hi << 32 | lo;
    }
  }
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    w->leaf7_ebx = b;
    w->leaf7_ecx = c;
    w->leaf7_edx = d;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) w->leaf7_1_eax = a;
  }
#endif
}

iso_cpu iso_cpu_decode(const iso_cpu_words *w) {
  iso_cpu c = {0};
  memcpy(c.vendor, w->vendor, 12);
  int family = (int)(w->leaf1_eax >> 8 & 15), model = (int)(w->leaf1_eax >> 4 & 15);
  if (family == 6 || family == 15) model |= (int)(w->leaf1_eax >> 16 & 15) << 4;
  if (family == 15) family += (int)(w->leaf1_eax >> 20 & 255);
  c.family = family;
  c.model = model;
  bool ymm = (w->xcr0 & 0x6) == 0x6, zmm = (w->xcr0 & 0xE6) == 0xE6, tiles = (w->xcr0 & 0x60000) == 0x60000;
  bool fma = w->leaf1_ecx >> 12 & 1, f16c = w->leaf1_ecx >> 29 & 1, avx2 = w->leaf7_ebx >> 5 & 1;
  c.avx2 = ymm && fma && f16c && avx2;
  uint32_t need = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
  c.avx512 = c.avx2 && zmm && (w->leaf7_ebx & need) == need;
  c.avx512_vnni = c.avx512 && (w->leaf7_ecx >> 11 & 1);
  c.avx512_bf16 = c.avx512 && (w->leaf7_1_eax >> 5 & 1);
  c.amx_bf16 = c.avx512 && tiles && (w->leaf7_edx >> 22 & 1);
  return c;
}

bool iso_cpu_dots_pay(const iso_cpu *c) { return c->avx512_bf16 && strcmp(c->vendor, "GenuineIntel") != 0; }

// arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA): Linux, Documentation/arch/x86/xstate.rst.
bool iso_cpu_allow_tiles(void) {
#if defined(__x86_64__) && defined(__linux__)
  enum { REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
  return syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XTILEDATA) == 0;
#else
  return false;
#endif
}

char *iso_cpu_isa(const iso_cpu *c, char *buf, size_t n) {
  (void)snprintf(buf, n, "%s%s%s%s",
                 c->avx512 ? "avx512"
                 : c->avx2 ? "avx2"
                           : "baseline",
                 c->avx512_vnni ? " vnni" : "", c->avx512_bf16 ? " bf16" : "", c->amx_bf16 ? " amx-bf16" : "");
  return buf;
}
