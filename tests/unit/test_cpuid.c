// Decoding of CPUID and XCR0 words: recorded ones, and ones built from the documented bit positions.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>  // needs the ones above
// clang-format on

#include "kern/cpuid.h"

#define AMD \
  { 0x68747541u, 0x69746e65u, 0x444d4163u }
#define INTEL \
  { 0x756e6547u, 0x49656e69u, 0x6c65746eu }

// Leaf 1 ECX: 12 FMA, 27 OSXSAVE, 28 AVX, 29 F16C. Leaf 7 EBX: 5 AVX2, 16 AVX512F, 17 DQ, 30 BW, 31 VL. Leaf 7 ECX: 11 VNNI.
// Leaf 7 EDX: 22 AMX-BF16, 24 AMX-TILE, 25 AMX-INT8. Leaf 7.1 EAX: 5 AVX512_BF16. XCR0: 1 SSE, 2 AVX, 5-7 opmask and zmm, 17-18 tiles.
// (Intel SDM vol. 2A, CPUID; vol. 1, 13.3.)
enum { FMA = 1 << 12, OSXSAVE = 1 << 27, AVX = 1 << 28, F16C = 1 << 29, AVX2 = 1 << 5 };
#define AVX512 (1u << 16 | 1u << 17 | 1u << 30 | 1u << 31)
static const uint64_t YMM = 0x7, ZMM = 0xE7, TILES = 0x600E7;

// Recorded on an AMD EPYC of family 25, model 1 (Zen 3) under KVM.
static const iso_cpu_words ZEN3 = {.max_leaf = 13,
                                   .vendor = AMD,
                                   .leaf1_eax = 0x00A00F11,
                                   .leaf1_ecx = 0xFFFA3203,
                                   .leaf7_ebx = 0x219C07AB,
                                   .leaf7_ecx = 0x00400684,
                                   .leaf7_edx = 0x00000010,
                                   .leaf7_1_eax = 0x00000000,
                                   .xcr0 = 0x7};

// Sapphire Rapids: family 6, model 143 (0x8F), stepping 8: CPUID signature 0x000806F8.
static iso_cpu_words sapphire_rapids(void) {
  return (iso_cpu_words){.max_leaf = 32,
                         .vendor = INTEL,
                         .leaf1_eax = 0x000806F8,
                         .leaf1_ecx = FMA | OSXSAVE | AVX | F16C,
                         .leaf7_ebx = AVX2 | AVX512,
                         .leaf7_ecx = 1u << 11,
                         .leaf7_edx = 1u << 22 | 1u << 24 | 1u << 25,
                         .leaf7_1_eax = 1u << 4 | 1u << 5,
                         .xcr0 = TILES};
}
// Zen 5 (Granite Ridge): family 26, model 68 (0x44): CPUID signature 0x00B40F40.
static iso_cpu_words zen5(void) {
  return (iso_cpu_words){.max_leaf = 16,
                         .vendor = AMD,
                         .leaf1_eax = 0x00B40F40,
                         .leaf1_ecx = FMA | OSXSAVE | AVX | F16C,
                         .leaf7_ebx = AVX2 | AVX512,
                         .leaf7_ecx = 1u << 11,
                         .leaf7_1_eax = 1u << 4 | 1u << 5,
                         .xcr0 = ZMM};
}

static void check(const iso_cpu_words *w, iso_cpu want, const char *isa) {
  iso_cpu c = iso_cpu_decode(w);
  char buf[64];
  assert_string_equal(c.vendor, want.vendor);
  assert_int_equal(c.family, want.family);
  assert_int_equal(c.model, want.model);
  assert_int_equal(c.avx2, want.avx2);
  assert_int_equal(c.avx512, want.avx512);
  assert_int_equal(c.avx512_vnni, want.avx512_vnni);
  assert_int_equal(c.avx512_bf16, want.avx512_bf16);
  assert_int_equal(c.amx_bf16, want.amx_bf16);
  assert_string_equal(iso_cpu_isa(&c, buf, sizeof buf), isa);
}

static void test_zen3(void **state) {
  (void)state;
  check(&ZEN3, (iso_cpu){.avx2 = true, .family = 25, .model = 1, .vendor = "AuthenticAMD"}, "avx2");
}

static void test_zen5(void **state) {
  (void)state;
  iso_cpu_words w = zen5();
  check(&w, (iso_cpu){true, true, true, true, false, 26, 68, "AuthenticAMD"}, "avx512 vnni bf16");
  w.leaf7_1_eax = 0;  // bf16 hidden by a hypervisor
  check(&w, (iso_cpu){true, true, true, false, false, 26, 68, "AuthenticAMD"}, "avx512 vnni");
}

static void test_sapphire_rapids(void **state) {
  (void)state;
  iso_cpu_words w = sapphire_rapids();
  check(&w, (iso_cpu){true, true, true, true, true, 6, 143, "GenuineIntel"}, "avx512 vnni bf16 amx-bf16");
  w.xcr0 = ZMM;  // the system does not save tiles
  check(&w, (iso_cpu){true, true, true, true, false, 6, 143, "GenuineIntel"}, "avx512 vnni bf16");
}

// Dot products of bf16 without tiles: twice f32's rate on Zen 5, half of it on Sapphire Rapids.
static void test_dots_pay(void **state) {
  (void)state;
  iso_cpu_words amd = zen5(), intel = sapphire_rapids();
  iso_cpu a = iso_cpu_decode(&amd), i = iso_cpu_decode(&intel), old = iso_cpu_decode(&ZEN3);
  assert_true(iso_cpu_dots_pay(&a));
  assert_false(iso_cpu_dots_pay(&i));
  assert_false(iso_cpu_dots_pay(&old));
}

// The CPU has AVX-512, the system does not save (all of) its registers: using it would corrupt other processes' state or fault.
static void test_xcr0_lacks_zmm(void **state) {
  (void)state;
  const uint64_t lacking[] = {YMM, YMM | 0x60, YMM | 0xC0, YMM | 0xA0};
  for (size_t i = 0; i < ISO_COUNT(lacking); i++) {
    iso_cpu_words w = sapphire_rapids();
    w.xcr0 = lacking[i];
    check(&w, (iso_cpu){.avx2 = true, .family = 6, .model = 143, .vendor = "GenuineIntel"}, "avx2");
  }
}

// One of the four AVX-512 groups missing (Knights Landing has F only) is no AVX-512 for these kernels.
static void test_every_group_needed(void **state) {
  (void)state;
  const int bits[] = {16, 17, 30, 31};
  for (size_t i = 0; i < ISO_COUNT(bits); i++) {
    iso_cpu_words w = zen5();
    w.leaf7_ebx &= ~(1u << bits[i]);
    check(&w, (iso_cpu){.avx2 = true, .family = 26, .model = 68, .vendor = "AuthenticAMD"}, "avx2");
  }
  const uint32_t leaf1[] = {FMA, F16C};
  for (size_t i = 0; i < ISO_COUNT(leaf1); i++) {
    iso_cpu_words w = zen5();
    w.leaf1_ecx &= ~leaf1[i];
    check(&w, (iso_cpu){.family = 26, .model = 68, .vendor = "AuthenticAMD"}, "baseline");
  }
  iso_cpu_words w = zen5();
  w.leaf7_ebx &= ~(uint32_t)AVX2;
  check(&w, (iso_cpu){.family = 26, .model = 68, .vendor = "AuthenticAMD"}, "baseline");
}

// No OSXSAVE: iso_cpu_read leaves XCR0 at 0, and whatever the CPU has, nothing may be used.
static void test_no_osxsave(void **state) {
  (void)state;
  iso_cpu_words w = sapphire_rapids();
  w.leaf1_ecx &= ~(uint32_t)OSXSAVE;
  w.xcr0 = 0;
  check(&w, (iso_cpu){.family = 6, .model = 143, .vendor = "GenuineIntel"}, "baseline");
  w.xcr0 = 0x2;  // SSE alone
  check(&w, (iso_cpu){.family = 6, .model = 143, .vendor = "GenuineIntel"}, "baseline");
  iso_cpu_words none = {0};
  check(&none, (iso_cpu){0}, "baseline");
}

// This machine's words agree with what the compiler's runtime finds by itself.
static void test_this_machine(void **state) {
  (void)state;
#if defined(__x86_64__)
  iso_cpu_words w;
  iso_cpu_read(&w);
  iso_cpu c = iso_cpu_decode(&w);
  __builtin_cpu_init();
  assert_int_equal(c.avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && (w.leaf1_ecx & F16C) != 0);
  assert_int_equal(c.avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                                 __builtin_cpu_supports("avx512vl"));
  assert_int_equal(strcmp(c.vendor, "GenuineIntel") == 0, __builtin_cpu_is("intel") != 0);
  assert_int_equal(strcmp(c.vendor, "AuthenticAMD") == 0, __builtin_cpu_is("amd") != 0);
#else
  skip();
#endif
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_zen3),       cmocka_unit_test(test_zen5),           cmocka_unit_test(test_sapphire_rapids),
      cmocka_unit_test(test_dots_pay),   cmocka_unit_test(test_xcr0_lacks_zmm), cmocka_unit_test(test_every_group_needed),
      cmocka_unit_test(test_no_osxsave), cmocka_unit_test(test_this_machine),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
