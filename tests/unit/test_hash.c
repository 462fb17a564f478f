// iso_hash against values that a Python model of its definition gives, and its behaviour on near-equal inputs.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>  // needs the ones above
// clang-format on

#include "base/hash.h"

// Python: M=2**64-1
// def mix(z): z=(z^z>>30)*0xBF58476D1CE4E5B9&M; z=(z^z>>27)*0x94D049BB133111EB&M; return z^z>>31
// def word(h,w): p=(h^w)*0x9e3779b97f4a7c15; return p&M^p>>64
// def hash(h,b): n=len(b); k=n//8*8
//   for i in range(0,k,8): h=word(h,int.from_bytes(b[i:i+8],'little'))
//   return mix(word(word(h,int.from_bytes(b[k:],'little')),n))
static void equals_the_model(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint64_t hash;
  } cases[] = {
      {"", UINT64_C(0x1237e0238cb9dfdb)},
      {"a", UINT64_C(0xb1c328ce29625577)},
      {"12345678", UINT64_C(0x47376ddd46cddb64)},
      {"compute-optimal language models", UINT64_C(0x3eb8c0d1eb4b1c73)},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_int_equal(iso_hash(ISO_HASH_SEED, cases[i].text, strlen(cases[i].text)), cases[i].hash);
}

static int by_value(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

// All inputs of up to 40 zero bytes with at most two bits set: no two of equal hash, and each bit of the result is set about half the time.
static void separates_near_inputs(void **state) {
  (void)state;
  enum { BITS = 40 * 8, COUNT = 41 + BITS + BITS * (BITS - 1) / 2 };
  uint64_t *h = malloc(COUNT * sizeof *h);
  assert_non_null(h);
  size_t n = 0;
  uint8_t b[40] = {0};
  for (size_t len = 0; len <= 40; len++) h[n++] = iso_hash(ISO_HASH_SEED, b, len);
  for (int i = 0; i < BITS; i++) {
    b[i / 8] ^= (uint8_t)(1 << i % 8);
    h[n++] = iso_hash(ISO_HASH_SEED, b, 40);
    for (int j = 0; j < i; j++) {
      b[j / 8] ^= (uint8_t)(1 << j % 8);
      h[n++] = iso_hash(ISO_HASH_SEED, b, 40);
      b[j / 8] ^= (uint8_t)(1 << j % 8);
    }
    b[i / 8] ^= (uint8_t)(1 << i % 8);
  }
  assert_int_equal(n, COUNT);
  for (int bit = 0; bit < 64; bit++) {
    int64_t ones = 0;
    for (size_t i = 0; i < n; i++) ones += (h[i] >> bit) & 1;
    double sigma = (double)(2 * ones - COUNT) / 226.7;  // sqrt(COUNT)
    assert_true(sigma > -6 && sigma < 6);
  }
  qsort(h, n, sizeof *h, by_value);
  for (size_t i = 1; i < n; i++) assert_true(h[i] != h[i - 1]);
  free(h);
}

static void chaining_marks_the_border(void **state) {
  (void)state;
  uint64_t a = iso_hash(iso_hash(ISO_HASH_SEED, "ab", 2), "c", 1), b = iso_hash(iso_hash(ISO_HASH_SEED, "a", 1), "bc", 2);
  assert_true(a != b);
  assert_true(a != iso_hash(ISO_HASH_SEED, "abc", 3));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equals_the_model),
      cmocka_unit_test(separates_near_inputs),
      cmocka_unit_test(chaining_marks_the_border),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
