// Rotary position embedding in the halves convention.
#ifndef ISO_KERN_VEC_ROPE_H
#define ISO_KERN_VEC_ROPE_H
#include "kern/kern.h"
#include "kern/vec/vec.h"

enum { ROPE_HALF_MAX = 256, ROPE_ROWS = 16 };

typedef struct rope_args {
  const iso_kcall *c;
  int64_t positions;  // rows with positions of their own, or those of a sequence
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
  bool from = narrow(c, 0), to = narrow(c, 2);
  for (int64_t h = 0; h < heads; h++)
    for (int64_t i = 0; i < half; i += VL) {  // explicit vectors: in place, the compiler could not tell x from y
      int64_t n = half - i, at = m * r + h * hd + i;
      vf a = vstream_n(c->p[0], at, n, from), b = vstream_n(c->p[0], at + half, n, from), cv = vload(co + i), sv = vload(si + i);
      vstore_n(c->p[2], at, a * cv - b * sv, n, to);
      vstore_n(c->p[2], at + half, b * cv + a * sv, n, to);
    }
  for (int64_t j = heads * hd; j < r && c->p[0] != c->p[2]; j += VL)
    vstore_n(c->p[2], m * r + j, vload_n(c->p[0], m * r + j, r - j, from), r - j, to);
}

// Some neighbouring positions: their angles serve every sequence and head, and their rows lie together in memory.
static inline void rope_task(void *arg, int64_t task, int worker) {
  (void)worker;
  const rope_args *s = arg;
  const iso_kcall *c = s->c;
  int64_t half = c->d[4] / 2, t0 = task * ROPE_ROWS, t1 = t0 + ROPE_ROWS < s->positions ? t0 + ROPE_ROWS : s->positions;
  float co[ROPE_ROWS][ROPE_HALF_MAX + VL], si[ROPE_ROWS][ROPE_HALF_MAX + VL], sign = c->d[5] < 0 ? -1.0f : 1.0f;
  const int32_t *pos = c->p[1];
  for (int64_t t = t0; t < t1; t++) {
    rope_angles(s->freq, half, pos ? pos[t] : (double)t, co[t - t0], si[t - t0]);
    for (int64_t i = 0; i < half; i++) si[t - t0][i] *= sign;
  }
  for (int64_t m = t0; m < c->d[0]; m += s->positions)
    for (int64_t t = 0; t < t1 - t0 && m + t < c->d[0]; t++) rope_row(c, m + t, co[t], si[t]);
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
  a.positions = c->p[1] || c->d[2] > c->d[0] ? c->d[0] : c->d[2];
  iso_pool_run(c->pool, (a.positions + ROPE_ROWS - 1) / ROPE_ROWS, rope_task, &a);
}
#endif
