// Shapes by number of parameters: the published models come out again, and every size is met.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "plan/layout/layout.h"

// LLaMA and Llama 3: their own counts give their own shapes, within a few layers and a step of width.
static void test_published(void **s) {
  (void)s;
  static const char *const NAME[] = {"llama-7b", "llama-13b", "llama-33b", "llama-65b", "llama3-8b", "llama3-70b", "llama3-405b"};
  for (size_t i = 0; i < ISO_COUNT(NAME); i++) {
    iso_layout_shape want, got;
    iso_layout_counts cw, cg;
    iso_err err = {0};
    assert_int_equal(iso_layout_shape_named(NAME[i], 4096, &want, &err), ISO_OK);
    iso_layout_count(&want, &cw);
    assert_int_equal(iso_layout_shape_family((double)cw.params, want.vocab, 4096, &got, &err), ISO_OK);
    iso_layout_count(&got, &cg);
    if (fabs((double)cg.params / (double)cw.params - 1) > 0.03 || fabs(log((double)got.width / (double)want.width)) > log(1.25) ||
        fabs(log((double)got.layers / (double)want.layers)) > log(1.5))
      fail_msg("%s: %lld x %lld with %lld parameters, published %lld x %lld with %lld", NAME[i], (long long)got.layers, (long long)got.width,
               (long long)cg.params, (long long)want.layers, (long long)want.width, (long long)cw.params);
  }
}

// Any size from 10 million to 10 trillion within 5%, with an aspect that published models have.
static void test_sizes(void **s) {
  (void)s;
  for (double n = 1e7; n < 1e13; n *= 1.07) {
    iso_layout_shape got;
    iso_layout_counts c;
    iso_err err = {0};
    assert_int_equal(iso_layout_shape_family(n, 32000, 2048, &got, &err), ISO_OK);
    iso_layout_count(&got, &c);
    double aspect = (double)got.width / (double)got.layers;
    if (fabs((double)c.params / n - 1) > 0.05 || aspect < 40 || aspect > 300)
      fail_msg("%g: %lld x %lld has %lld parameters", n, (long long)got.layers, (long long)got.width, (long long)c.params);
    assert_int_equal(got.heads * got.head_dim, got.width);
    assert_int_equal(got.heads % got.kv_heads, 0);
  }
}

static void test_refused(void **s) {
  (void)s;
  iso_layout_shape got;
  iso_err err = {0};
  assert_int_equal(iso_layout_shape_family(1e6, 32000, 2048, &got, &err), ISO_EINVAL);
  assert_non_null(strstr(err.msg, "vocabulary"));
  assert_int_equal(iso_layout_shape_family(NAN, 32000, 2048, &got, &err), ISO_EINVAL);
  assert_int_equal(iso_layout_shape_family(1e20, 32000, 2048, &got, &err), ISO_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_published), cmocka_unit_test(test_sizes), cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
