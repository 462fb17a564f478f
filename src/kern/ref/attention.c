// Reference causal grouped-query attention: over a batch, its gradient, and over a KV cache; by explicit scores.
#include <math.h>
#include <string.h>

#include "kern/ref/ref.h"

// One query q [Hd] against n keys and values, rows `stride` apart; p [n] receives the probabilities, o [Hd] the mean.
// Returns log(sum(exp(scores))). Counts: mat 4 n Hd, vec 5 n + 2.
static double attend(const double *q, const double *k, const double *v, int64_t n, int64_t stride, int64_t Hd, double scale, double *p, double *o,
                     iso_kcount *t) {
  double top = -INFINITY, sum = 0;
  for (int64_t j = 0; j < n; j++) {
    double s = 0;
    for (int64_t i = 0; i < Hd; i++) {
      s += q[i] * k[j * stride + i];
      t->mat_flop += 2;
    }
    p[j] = s * scale;
    t->vec_flop += 1;
    if (p[j] > top) top = p[j];
  }
  for (int64_t j = 0; j < n; j++) {
    p[j] = exp(p[j] - top);
    sum += p[j];
    t->vec_flop += 3;
  }
  for (int64_t i = 0; i < Hd; i++) o[i] = 0;
  for (int64_t j = 0; j < n; j++) {
    p[j] /= sum;
    t->vec_flop += 1;
    for (int64_t i = 0; i < Hd; i++) {
      o[i] += p[j] * v[j * stride + i];
      t->mat_flop += 2;
    }
  }
  t->vec_flop += 2;
  return top + log(sum);
}

// o_t = sum_{j<=t} softmax_j(scale q_t.k_j) v_j (Vaswani et al. 2017; grouped heads: Ainslie et al. 2023, arXiv 2305.13245).
// qkv [B T, (H+2K) Hd]: H query, K key, K value heads in each row; o [B T, H Hd]; lse [B,H,T] = log sum exp of scaled scores.
// largest score subtracted before exp; sums in order of keys.
// mat 2 B H Hd T (T+1); vec B H (5 T (T+1) / 2 + 2 T).
void iso_ref_attention(const iso_kcall *c) {
  const double *qkv = c->p[0];
  double *o = c->p[1], *lse = c->p[2], *p = (double *)(void *)c->scratch;
  int64_t B = c->d[0], T = c->d[1], H = c->d[2], K = c->d[3], Hd = c->d[4], R = (H + 2 * K) * Hd;
  iso_kcount t = {0};
  for (int64_t b = 0; b < B; b++) {
    for (int64_t h = 0; h < H; h++) {
      const double *k = qkv + b * T * R + (H + h / (H / K)) * Hd, *v = k + K * Hd;
      for (int64_t r = 0; r < T; r++) {
        const double *q = qkv + (b * T + r) * R + h * Hd;
        lse[(b * H + h) * T + r] = attend(q, k, v, r + 1, R, Hd, c->a[0], p, o + ((b * T + r) * H + h) * Hd, &t);
      }
    }
  }
  ref_tally(c, t.mat_flop, t.vec_flop);
}

// p = exp(scale q.k - lse), dp = do.v, ds = scale p (dp - do.o): dv_j += p do, dq_t += ds k, dk_j += ds q
//   (Dao et al. 2022, arXiv 2205.14135, section 3.1 and appendix B).
// qkv, dqkv [B T, (H+2K) Hd] (dqkv is overwritten), o, do [B T, H Hd], lse [B,H,T].
// sums in order of heads, queries, keys.
// mat 4 B H Hd T (T+1): the four products of the gradient over the keys j <= t (scores are recomputed, which the model
// count leaves out); vec B H (3 T (T+1) + 2 T Hd).
void iso_ref_attention_bwd(const iso_kcall *c) {
  const double *qkv = c->p[0], *o = c->p[1], *lse = c->p[2], *dout = c->p[3];
  double *dqkv = c->p[4], mat = 0, vec = 0, scale = c->a[0];
  int64_t B = c->d[0], T = c->d[1], H = c->d[2], K = c->d[3], Hd = c->d[4], R = (H + 2 * K) * Hd;
  for (int64_t i = 0; i < B * T * R; i++) dqkv[i] = 0;
  for (int64_t n = 0; n < B * H * T; n++) {
    int64_t b = n / (H * T), h = n / T % H, r = n % T, at = (b * T + r) * R + h * Hd;
    const double *q = qkv + at, *orow = o + ((b * T + r) * H + h) * Hd, *drow = dout + ((b * T + r) * H + h) * Hd;
    double *dq = dqkv + at, delta = 0;
    for (int64_t i = 0; i < Hd; i++) {
      delta += drow[i] * orow[i];
      vec += 2;
    }
    for (int64_t j = 0; j <= r; j++) {
      int64_t key = (b * T + j) * R + (H + h / (H / K)) * Hd, value = key + K * Hd;
      double s = 0, dp = 0;
      for (int64_t i = 0; i < Hd; i++) {
        s += q[i] * qkv[key + i];
        dp += drow[i] * qkv[value + i];
        mat += 2;
      }
      double p = exp(s * scale - lse[n]), ds = scale * p * (dp - delta);
      vec += 6;
      for (int64_t i = 0; i < Hd; i++) {
        dq[i] += ds * qkv[key + i];
        dqkv[key + i] += ds * q[i];
        dqkv[value + i] += p * drow[i];
        mat += 6;
      }
    }
  }
  ref_tally(c, mat, vec);
}

// cache[seq[m], pos[m]] = (k_m, v_m) for every row, then o_m attends over positions 0..pos[m] of its sequence.
// qkv [M, (H+2K) Hd], kcache, vcache [B,S,K Hd], seq, pos i[M], o [M, H Hd].
// as attention.
// with n = sum over m of (pos[m] + 1): mat 4 H Hd n; vec H (5 n + 2 M).
void iso_ref_attention_cached(const iso_kcall *c) {
  const double *qkv = c->p[0];
  double *kc = c->p[1], *vc = c->p[2], *o = c->p[5], *p = (double *)(void *)c->scratch;
  const int32_t *seq = c->p[3], *pos = c->p[4];
  int64_t M = c->d[0], S = c->d[1], H = c->d[2], K = c->d[3], Hd = c->d[4], R = (H + 2 * K) * Hd;
  iso_kcount t = {0};
  for (int64_t m = 0; m < M; m++) {
    int64_t at = (seq[m] * S + pos[m]) * K * Hd;
    memcpy(kc + at, qkv + m * R + H * Hd, (size_t)(K * Hd) * sizeof(double));
    memcpy(vc + at, qkv + m * R + (H + K) * Hd, (size_t)(K * Hd) * sizeof(double));
  }
  for (int64_t m = 0; m < M; m++) {
    for (int64_t h = 0; h < H; h++) {
      int64_t at = seq[m] * S * K * Hd + h / (H / K) * Hd;
      (void)attend(qkv + m * R + h * Hd, kc + at, vc + at, pos[m] + 1, K * Hd, Hd, c->a[0], p, o + (m * H + h) * Hd, &t);
    }
  }
  ref_tally(c, t.mat_flop, t.vec_flop);
}
