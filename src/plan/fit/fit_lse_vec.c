// The loops over data points of the log-sum-exp fit, compiled for 2, 4 and 8 doubles at a time; the CPU chooses at run time.
#include "plan/fit/fit_lse_vec.h"

#include <math.h>

#define INLINE static inline __attribute__((always_inline))
enum { LSE_SUMS = 1 + ISO_LSE_P };

#define LSE_W 2
#define LSE_FN(name) name##_2
#include "plan/fit/fit_lse_loop.h"
#if defined(__x86_64__)
#define LSE_W 4
#define LSE_FN(name) name##_4
#include "plan/fit/fit_lse_loop.h"
#define LSE_W 8
#define LSE_FN(name) name##_8
#include "plan/fit/fit_lse_loop.h"
#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f,avx512dq,avx512vl")))
AVX2 static void eval_avx2(const iso_lse *s, iso_lse_work *w, const double *p, double sum[LSE_SUMS][ISO_LSE_LANES]) { eval_body_4(s, w, p, sum); }
AVX2 static void hess_avx2(const iso_lse *s, const iso_lse_work *w, double sum[ISO_LSE_H][ISO_LSE_LANES]) { hess_body_4(s, w, sum); }
AVX512 static void eval_avx512(const iso_lse *s, iso_lse_work *w, const double *p, double sum[LSE_SUMS][ISO_LSE_LANES]) { eval_body_8(s, w, p, sum); }
AVX512 static void hess_avx512(const iso_lse *s, const iso_lse_work *w, double sum[ISO_LSE_H][ISO_LSE_LANES]) { hess_body_8(s, w, sum); }

int iso_lse_vec_isa(void) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) return 2;
  return __builtin_cpu_supports("avx2") ? 1 : 0;
}
#else
int iso_lse_vec_isa(void) { return 0; }
#endif

static double total(const double a[ISO_LSE_LANES]) { return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7])); }

double iso_lse_vec_eval(const iso_lse *s, iso_lse_work *w, const double *p, double *grad) {
  double sum[LSE_SUMS][ISO_LSE_LANES];
#if defined(__x86_64__)
  if (s->isa == 2)
    eval_avx512(s, w, p, sum);
  else if (s->isa == 1)
    eval_avx2(s, w, p, sum);
  else
    eval_body_2(s, w, p, sum);
#else
  eval_body_2(s, w, p, sum);
#endif
  for (int k = 0; k < ISO_LSE_P; k++) grad[k] = total(sum[1 + k]);
  return total(sum[0]);
}

void iso_lse_vec_hess(const iso_lse *s, const iso_lse_work *w, double *h) {
  double sum[ISO_LSE_H][ISO_LSE_LANES];
#if defined(__x86_64__)
  if (s->isa == 2)
    hess_avx512(s, w, sum);
  else if (s->isa == 1)
    hess_avx2(s, w, sum);
  else
    hess_body_2(s, w, sum);
#else
  hess_body_2(s, w, sum);
#endif
  for (int k = 0; k < ISO_LSE_H; k++) h[k] = total(sum[k]);
}
