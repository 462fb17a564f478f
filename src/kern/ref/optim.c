// Reference optimizer kernels: sum of squares, AdamW, Muon.
#include <assert.h>
#include <math.h>

#include "kern/ref/ref.h"

// hyp.grad_sumsq += sum g^2.
// g [n].
// blocks of 16384 summed in order, then added in order.
// mat 0; vec 2 n + ceil(n / 16384).
void iso_ref_sumsq(const iso_kcall *c) {
  const double *g = c->p[0];
  iso_hyp *hyp = c->p[1];
  double vec = 0;
  for (int64_t at = 0; at < c->d[0]; at += 16384) {
    double s = 0;
    for (int64_t i = at; i < c->d[0] && i < at + 16384; i++) {
      s += g[i] * g[i];
      vec += 2;
    }
    hyp->grad_sumsq += s;
    vec += 1;
  }
  ref_tally(c, 0, vec);
}

// g' = clip g, m = b1 m + (1-b1) g', v = b2 v + (1-b2) g'^2, w = w (1 - lr a1 wd a0) - lr a1 (m/bias1) / (sqrt(v/bias2) + eps)
//   (Loshchilov and Hutter 2019, arXiv 1711.05101, as torch.optim.AdamW after clip_grad_norm_); g is zeroed.
// w, g, m, v [n]; a: decay factor a0, rate factor a1.
// elementwise.
// mat 0; vec 16 n.
void iso_ref_adamw(const iso_kcall *c) {
  double *w = c->p[0], *g = c->p[1], *m = c->p[2], *v = c->p[3], vec = 0;
  const iso_hyp *h = c->p[4];
  double clip = iso_hyp_clip_factor(h), rate = h->lr * c->a[1], keep = 1 - rate * h->weight_decay * c->a[0];
  for (int64_t i = 0; i < c->d[0]; i++) {
    double e = clip * g[i];
    m[i] = h->beta1 * m[i] + (1 - h->beta1) * e;
    v[i] = h->beta2 * v[i] + (1 - h->beta2) * e * e;
    double step = (m[i] / h->bias1) / (sqrt(v[i] / h->bias2) + h->eps);
    w[i] = w[i] * keep - rate * step;
    g[i] = 0;
    vec += 16;
  }
  ref_tally(c, 0, vec);
}

// C [r,c] = A [r,k] B [k,c]; with bt, B is [c,k]. Counts mat 2 r c k.
static void product(double *out, const double *a, const double *b, int64_t r, int64_t cols, int64_t k, bool bt, double *mat) {
  for (int64_t i = 0; i < r; i++) {
    for (int64_t j = 0; j < cols; j++) {
      double s = 0;
      for (int64_t l = 0; l < k; l++) {
        s += a[i * k + l] * (bt ? b[j * k + l] : b[l * cols + j]);
        *mat += 2;
      }
      out[i * cols + j] = s;
    }
  }
}

// X [r,c], r <= c, in place: X = aX + (bA + cA^2) X, A = X X', `steps` times. y [r,c], a1, a2 [r,r] are scratch.
static void newton_schulz(double *x, int64_t r, int64_t cols, int steps, double *y, double *a1, double *a2, iso_kcount *t) {
  for (int s = 0; s < steps; s++) {
    product(a1, x, x, r, r, cols, true, &t->mat_flop);
    product(a2, a1, a1, r, r, r, false, &t->mat_flop);
    for (int64_t i = 0; i < r * r; i++) {
      a2[i] = -4.7750 * a1[i] + 2.0315 * a2[i];
      t->vec_flop += 3;
    }
    product(y, a2, x, r, cols, r, false, &t->mat_flop);
    for (int64_t i = 0; i < r * cols; i++) {
      x[i] = 3.4445 * x[i] + y[i];
      t->vec_flop += 2;
    }
  }
}

// One part w, g, m [rows,K] of a matrix; see iso_ref_muon.
static void muon_part(const iso_kcall *c, double *w, double *g, double *m, int64_t rows, int64_t K, iso_kcount *t) {
  const iso_hyp *h = c->p[3];
  bool flip = rows > K;
  int64_t r = flip ? K : rows, cols = flip ? rows : K, n = rows * K;
  double *x = (double *)(void *)c->scratch, *y = x + n, *a1 = y + n, *a2 = a1 + r * r, sum = 0;
  for (int64_t i = 0; i < n; i++) {
    m[i] = h->momentum * m[i] + g[i];
    double u = h->momentum * m[i] + g[i];
    sum += u * u;
    x[flip ? i % K * rows + i / K : i] = u;
    g[i] = 0;
    t->vec_flop += 6;
  }
  double norm = sqrt(sum) + 1e-7;
  t->vec_flop += 2;
  for (int64_t i = 0; i < n; i++) {
    x[i] /= norm;
    t->vec_flop += 1;
  }
  newton_schulz(x, r, cols, h->ns_steps, y, a1, a2, t);
  double rate = h->muon_lr * c->a[1], keep = 1 - rate * h->muon_decay * c->a[0], size = rate * 0.2 * sqrt((double)cols);
  for (int64_t i = 0; i < n; i++) {
    w[i] = w[i] * keep - size * x[flip ? i % K * rows + i / K : i];
    t->vec_flop += 3;
  }
}

// m = mu m + g, u = mu m + g, X = u / (|u|_F + 1e-7), ns_steps quintic Newton-Schulz iterations on X (on its transpose if tall),
//   w = w (1 - lr a1 wd a0) - lr a1 0.2 sqrt(max(rows,K)) X (Jordan et al. 2024, kellerjordan.github.io/posts/muon; the scale
//   is Liu et al. 2025, arXiv 2502.16982, section 2.2); no clipping; g is zeroed.
// w, g, m [L,N,K]: each of the L matrices is cut by rows into up to four parts (q, k, v of a fused matrix), each orthogonalised alone.
// sums in order; the iteration does not converge to 1: singular values end within about [0.7, 1.2] by design.
// over L and the parts, R rows, r = min(R,K), c = max(R,K): mat ns (4 r r c + 2 r r r); vec 10 R K + 2 + ns (3 r r + 2 r c).
void iso_ref_muon(const iso_kcall *c) {
  double *w = c->p[0], *g = c->p[1], *m = c->p[2];
  int64_t L = c->d[0], N = c->d[1], K = c->d[2];
  iso_kcount t = {0};
  for (int64_t l = 0; l < L; l++) {
    int64_t row = 0;
    for (int i = 3; i < 7 && (i == 3 || c->d[i] > 0); i++) {
      int64_t rows = c->d[3] > 0 ? c->d[i] : N, at = (l * N + row) * K;
      muon_part(c, w + at, g + at, m + at, rows, K, &t);
      row += rows;
      if (rows == N) break;
    }
    assert(row == N && "the parts of a matrix must cover its rows");
  }
  ref_tally(c, t.mat_flop, t.vec_flop);
}
