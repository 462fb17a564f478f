// Rotary position embedding in the halves convention.
#ifndef ISO_KERN_VEC_ROPE_H
#define ISO_KERN_VEC_ROPE_H
#include "kern/kern.h"
#include "kern/vec/vec.h"

enum { ROPE_HALF_MAX = 256 };

typedef struct rope_args {
  const iso_kcall *c;
  double freq[ROPE_HALF_MAX];
} rope_args;

// sin and cos of pos * freq[i]: reduced to [-pi/4, pi/4] in f64, so that long contexts stay exact, then polynomials
// of degree 7 and 8 in f64 (error below 1e-8).
static inline void rope_angles(const double *freq, int64_t half, double pos, float *co, float *si) {
  for (int64_t i = 0; i < half; i++) {
    double x = pos * freq[i], k = (x * 0.63661977236758134308 + 6755399441055744.0) - 6755399441055744.0;
    double r = (x - k * 1.5707963267341256) - k * 6.0771005065061922e-11, r2 = r * r;
    double s = r * (1 + r2 * (-1.0 / 6 + r2 * (1.0 / 120 + r2 * (-1.0 / 5040 + r2 * (1.0 / 362880)))));
    double c = 1 + r2 * (-0.5 + r2 * (1.0 / 24 + r2 * (-1.0 / 720 + r2 * (1.0 / 40320 + r2 * (-1.0 / 3628800)))));
    int q = (int)((int64_t)k & 3);
    double ss = q & 1 ? c : s, cc = q & 1 ? s : c;
    si[i] = (float)(q & 2 ? -ss : ss);
    co[i] = (float)(q == 1 || q == 2 ? -cc : cc);
  }
}

static inline void rope_row(const iso_kcall *c, int64_t m, const float *co, const float *si) {
  int64_t r = c->d[1], heads = c->d[3], hd = c->d[4], half = hd / 2;
  const float *x = (const float *)c->p[0] + m * r;
  float *y = (float *)c->p[2] + m * r;
  for (int64_t h = 0; h < heads; h++) {
    const float *xh = x + h * hd;
    float *yh = y + h * hd;
    int64_t i = 0;
    for (; i + VL <= half; i += VL) {  // explicit vectors: in place, the compiler could not tell x from y
      vf a = vload(xh + i), b = vload(xh + i + half), cv = vload(co + i), sv = vload(si + i);
      vstore(yh + i, a * cv - b * sv);
      vstore(yh + i + half, b * cv + a * sv);
    }
    for (; i < half; i++) {
      float a = xh[i], b = xh[i + half];
      yh[i] = a * co[i] - b * si[i];
      yh[i + half] = b * co[i] + a * si[i];
    }
  }
  if (x != y && r > heads * hd) memcpy(y + heads * hd, x + heads * hd, (size_t)(r - heads * hd) * sizeof *y);
}

// One task per position: its angles serve every sequence and head.
static inline void rope_task(void *arg, int64_t t, int worker) {
  (void)worker;
  const rope_args *s = arg;
  const iso_kcall *c = s->c;
  int64_t half = c->d[4] / 2, step = c->d[2];
  float co[ROPE_HALF_MAX], si[ROPE_HALF_MAX], sign = c->d[5] < 0 ? -1.0f : 1.0f;
  const int32_t *pos = c->p[1];
  rope_angles(s->freq, half, pos ? pos[t] : (double)t, co, si);
  for (int64_t i = 0; i < half; i++) si[i] *= sign;
  if (pos)
    rope_row(c, t, co, si);
  else
    for (int64_t m = t; m < c->d[0]; m += step) rope_row(c, m, co, si);
}

// y[i] = x[i] cos - x[i+Hd/2] sin, y[i+Hd/2] = x[i+Hd/2] cos + x[i] sin, angle = pos theta^(-2i/Hd)
// (Su et al. 2021, arXiv 2104.09864, halves convention of GPT-NeoX and Hugging Face Llama)
// shapes: x, y [M,R]; the first heads*Hd columns are rotated; head dimension at most 512
// numerics: angles reduced in f64, f32 rotation: relative error 4 eps
// cost: 3 M heads Hd vec flop, angles left out; reads and writes M R elements
static inline void rope_f32(const iso_kcall *c) {
  rope_args a = {.c = c};
  int64_t half = c->d[4] / 2;
  for (int64_t i = 0; i < half; i++) a.freq[i] = pow(c->a[0], -2.0 * (double)i / (double)c->d[4]);
  int64_t t = c->p[1] ? c->d[0] : c->d[2] < c->d[0] ? c->d[2] : c->d[0];
  iso_pool_run(c->pool, t, rope_task, &a);
}
#endif
