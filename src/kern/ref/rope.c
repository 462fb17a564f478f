// Reference rotary position embedding.
#include <math.h>

#include "kern/ref/ref.h"

// angle = sign pos theta^(-2i/Hd): y[i] = x[i] cos - x[i+Hd/2] sin, y[i+Hd/2] = x[i+Hd/2] cos + x[i] sin for i < Hd/2
//   (Su et al. 2021, arXiv 2104.09864, in the halves order of Hugging Face Llama); its gradient is the same with -sign.
// x, y [M,R] (y may be x), pos i[M] or NULL (then m mod T); the first `heads` heads of Hd turn, the rest is copied.
// angles in f64: relative error of the angle 2^-52.
// mat 0; vec 3 M heads Hd (sines and cosines are a table of pos and i, shared by layers and heads: free).
void iso_ref_rope(const iso_kcall *c) {
  const double *x = c->p[0];
  const int32_t *pos = c->p[1];
  double *y = c->p[2], vec = 0;
  int64_t M = c->d[0], R = c->d[1], T = c->d[2], heads = c->d[3], Hd = c->d[4], half = Hd / 2;
  for (int64_t m = 0; m < M; m++, x += R, y += R) {
    double at = (double)c->d[5] * (double)(pos ? pos[m] : m % T);
    for (int64_t h = 0; h < heads; h++) {
      for (int64_t i = h * Hd; i < h * Hd + half; i++) {
        double angle = at * pow(c->a[0], -2.0 * (double)(i - h * Hd) / (double)Hd);
        double cs = cos(angle), sn = sin(angle), lo = x[i], hi = x[i + half];
        y[i] = lo * cs - hi * sn;
        y[i + half] = hi * cs + lo * sn;
        vec += 6;
      }
    }
    for (int64_t i = heads * Hd; i < R; i++) y[i] = x[i];
  }
  ref_tally(c, 0, vec);
}
