// Causal grouped-query attention: forward with online softmax, backward from the log-sum-exp, and with a KV cache.
#ifndef ISO_KERN_VEC_ATTENTION_H
#define ISO_KERN_VEC_ATTENTION_H
#include "kern/kern.h"
#include "kern/vec/mini.h"
#include "kern/vec/transpose.h"
#include "kern/vec/vec.h"

// Query rows at a time, keys at a time (forward).
enum { ATT_Q = 48, ATT_K = 256 };

static inline int64_t att_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

typedef struct att_shape {
  int64_t b, t, h, kv, hd, row;  // row: length of a row of qkv
  int64_t hp, wp, tp;            // head dimension padded to vectors and to panels of two, length to panels
  float scale;
} att_shape;

static inline att_shape att_dims(const int64_t *d, double scale) {
  att_shape s = {.b = d[0], .t = d[1], .h = d[2], .kv = d[3], .hd = d[4], .scale = (float)scale};
  s.row = (s.h + 2 * s.kv) * s.hd;
  s.hp = att_up(s.hd, VL);
  s.wp = att_up(s.hd, 2 * VL);
  s.tp = att_up(s.t, 2 * VL);
  return s;
}

typedef struct att_args {
  const iso_kcall *c;
  att_shape s;
  size_t per_worker;
} att_args;

// dst[n,hp] = k * src rows (hd of each, `stride` apart), zero-padded.
static inline void att_copy(float *dst, const float *src, int64_t n, int64_t stride, const att_shape *s, float k) {
  vf kv = vset(k);
  for (int64_t i = 0; i < n; i++) {
    int64_t j = 0;
    for (; j + VL <= s->hd; j += VL) vstore(dst + i * s->hp + j, kv * vload(src + i * stride + j));
    if (j < s->hd) vstore(dst + i * s->hp + j, kv * vload_part(src + i * stride + j, s->hd - j, 0));
  }
}

// dst rows (hd of each, `stride` apart) = k * src[n,hp].
static inline void att_copy_back(float *dst, const float *src, int64_t n, int64_t stride, const att_shape *s, float k) {
  vf kv = vset(k);
  for (int64_t i = 0; i < n; i++) {
    int64_t j = 0;
    for (; j + VL <= s->hd; j += VL) vstore(dst + i * stride + j, kv * vload(src + i * s->hp + j));
    if (j < s->hd) vstore_part(dst + i * stride + j, kv * vload(src + i * s->hp + j), s->hd - j);
  }
}

static inline float att_dot(const float *x, const float *y, int64_t n) {
  vf s = vset(0);
  int64_t j = 0;
  for (; j + VL <= n; j += VL) s = vfma(vload(x + j), vload(y + j), s);
  float r = vsum(s);
  for (; j < n; j++) r += x[j] * y[j];
  return r;
}

// dst[wp / 2 VL][tp][2 VL] = n rows of src (hd of each, `stride` apart), zero-padded.
static inline void att_pack(float *dst, const float *src, int64_t n, int64_t stride, const att_shape *s) {
  for (int64_t j = 0; j < s->wp; j += 2 * VL) memset(dst + j * s->tp + n * 2 * VL, 0, (size_t)((s->tp - n) * 2 * VL) * sizeof *dst);
  for (int64_t i = 0; i < n; i++, src += stride, dst += 2 * VL)
    for (int64_t j = 0; j < s->wp; j += VL)
      vstore(dst + j / (2 * VL) * 2 * VL * s->tp + j % (2 * VL),
             s->hd - j >= VL ? vload(src + j) : vload_part(src + j, s->hd > j ? s->hd - j : 0, 0));
}
static inline mini_b att_packed(const float *at, const att_shape *s) { return (mini_b){at, 2 * VL, 2 * VL * s->tp}; }
static inline mini_b att_plain(const float *at, const att_shape *s) { return (mini_b){at, s->hp, 2 * VL}; }

// dst[tp / 2 VL][hd][2 VL] = transpose of n rows of src, zero-padded.
static inline void att_pack_across(float *dst, const float *src, int64_t n, int64_t stride, const att_shape *s) {
  for (int64_t i0 = 0; i0 < s->tp; i0 += VL) {
    float *to = dst + i0 / (2 * VL) * 2 * VL * s->hd + i0 % (2 * VL);
    int64_t j = 0, rows = n - i0 < VL ? n - i0 : VL;
#if defined(__AVX512F__)
    for (; rows == 16 && j + 16 <= s->hd; j += 16) {
      __m512i r[16];
      for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_si512(src + (i0 + i) * stride + j);
      transpose(r);
      for (int i = 0; i < 16; i++) _mm512_storeu_si512(to + (j + i) * 2 * VL, r[i]);
    }
#elif defined(__AVX2__)
    for (; rows == 8 && j + 8 <= s->hd; j += 8) {
      __m256 r[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(src + (i0 + i) * stride + j);
      transpose_8(r);
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) _mm256_storeu_ps(to + (j + i) * 2 * VL, r[i]);
    }
#endif
    for (; j < s->hd; j++)
      for (int64_t i = 0; i < VL; i++) to[j * 2 * VL + i] = i < rows ? src[(i0 + i) * stride + j] : 0;
  }
}
// Its columns from k0 on, a multiple of 2 VL.
static inline mini_b att_across(const float *at, int64_t k0, const att_shape *s) { return (mini_b){at + k0 * s->hd, 2 * VL, 2 * VL * s->hd}; }

// ---- forward ----------------------------------------------------------------------------------------------------

static inline size_t att_fwd_floats(const att_shape *s) {
  return (size_t)(s->hd * s->tp + s->tp * s->wp + 2 * ATT_Q * s->hp + ATT_Q * (ATT_K + 2 * VL) + 2 * ATT_Q + 64);
}

// One block of scores [rows, n] becomes probabilities under the running maximum; the old output is rescaled.
static inline void att_softmax_block(float *sc, int64_t ld, int64_t rows, int64_t n, int64_t q0, int64_t k0, float *mx, float *sum, float *acc,
                                     int64_t hp) {
  for (int64_t i = 0; i < rows; i++) {
    float *x = sc + i * ld;
    int64_t seen = q0 + i + 1 - k0, valid = seen < n ? seen : n;  // keys that this row may look at
    if (valid < 0) valid = 0;
    for (int64_t j = valid; j < n; j++) x[j] = -INFINITY;
    vf mv = vset(mx[i]);
    for (int64_t j = 0; j < n; j += VL) mv = vmax(mv, vload(x + j));
    float m = vhmax(mv), shrink = m > mx[i] ? expf(mx[i] - m) : 1.0f;
    vf shift = vset(m), sv = vset(0);
    if (valid == 0) {
      memset(x, 0, (size_t)n * sizeof *x);
      continue;
    }
    for (int64_t j = 0; j < n; j += VL) {
      vf e = vexp(vload(x + j) - shift);
      vstore(x + j, e);
      sv += e;
    }
    sum[i] = sum[i] * shrink + vsum(sv);
    mx[i] = m;
    if (shrink != 1.0f)
      for (int64_t j = 0; j < hp; j += VL) vstore(acc + i * hp + j, vset(shrink) * vload(acc + i * hp + j));
  }
}

static inline void att_fwd_task(void *arg, int64_t task, int worker) {
  const att_args *a = arg;
  const iso_kcall *c = a->c;
  const att_shape *s = &a->s;
  int64_t b = task / s->kv, kh = task % s->kv, group = s->h / s->kv;
  const float *base = (const float *)c->p[0] + b * s->t * s->row;
  float *kt = (float *)(void *)(c->scratch + (size_t)worker * a->per_worker), *v = kt + s->hd * s->tp, *q = v + s->tp * s->wp,
        *acc = q + ATT_Q * s->hp;
  float *sc = acc + ATT_Q * s->hp, *mx = sc + ATT_Q * (ATT_K + 2 * VL), *sum = mx + ATT_Q;
  att_pack_across(kt, base + (s->h + kh) * s->hd, s->t, s->row, s);
  att_pack(v, base + (s->h + s->kv + kh) * s->hd, s->t, s->row, s);
  for (int64_t g = 0; g < group; g++) {
    int64_t h = kh * group + g;
    for (int64_t q0 = 0; q0 < s->t; q0 += ATT_Q) {
      int64_t rows = s->t - q0 < ATT_Q ? s->t - q0 : ATT_Q, keys = q0 + rows;
      att_copy(q, base + q0 * s->row + h * s->hd, rows, s->row, s, s->scale);
      memset(acc, 0, (size_t)(rows * s->hp) * sizeof *acc);
      for (int64_t i = 0; i < rows; i++) {
        mx[i] = -INFINITY;
        sum[i] = 0;
      }
      for (int64_t k0 = 0; k0 < keys; k0 += ATT_K) {
        int64_t n = keys - k0 < ATT_K ? att_up(keys - k0, 2 * VL) : ATT_K;
        if (k0 + n > s->tp) n = s->tp - k0;
        mini_gemm(rows, n, s->hd, q, s->hp, 1, att_across(kt, k0, s), sc, ATT_K + 2 * VL, false, (mini_mask){MINI_C_LOWER, q0 - k0});
        att_softmax_block(sc, ATT_K + 2 * VL, rows, n, q0, k0, mx, sum, acc, s->hp);
        mini_gemm(rows, s->hp, n, sc, ATT_K + 2 * VL, 1, att_packed(v + k0 * 2 * VL, s), acc, s->hp, true, (mini_mask){MINI_A_LOWER, q0 - k0});
      }
      for (int64_t i = 0; i < rows; i++) {
        float *o = (float *)c->p[1] + ((b * s->t + q0 + i) * s->h + h) * s->hd;
        att_copy_back(o, acc + i * s->hp, 1, s->hd, s, 1.0f / sum[i]);
        ((float *)c->p[2])[(b * s->h + h) * s->t + q0 + i] = mx[i] + logf(sum[i]);
      }
    }
  }
}

// o = softmax(scale q k' + causal mask) v, by blocks of keys with a running maximum (Milakov and Gimelshein 2018,
// arXiv 1805.02867; Dao et al. 2022, arXiv 2205.14135)
// shapes: qkv [B T, (H+2K) Hd]; o [B T, H Hd]; lse [B,H,T] = log of the softmax denominator with the maximum added back
// numerics: f32; a few times T eps of ref in the maximum norm
// cost: 2 B H Hd T (T+1) mat flop (causal half); executes up to T (MINI_ROWS + 2 VL) / 2 more keys; reads qkv, writes o
static inline void attention_f32(const iso_kcall *c) {
  att_args a = {c, att_dims(c->d, c->a[0]), 0};
  a.per_worker = att_fwd_floats(&a.s) * 4 / 64 * 64 + 64;
  iso_pool_run(c->pool, a.s.b * a.s.kv, att_fwd_task, &a);
}

// ---- backward ---------------------------------------------------------------------------------------------------

// Rows of scores are no power of two long: those of a column would share a set of the first-level cache.
static inline int64_t att_score_row(const att_shape *s) { return s->tp + 2 * VL; }

static inline size_t att_bwd_floats(const att_shape *s) {
  return (size_t)(2 * s->hd * s->tp + s->tp * s->wp + 2 * s->tp * s->hp + 3 * ATT_Q * s->hp + 2 * ATT_Q * att_score_row(s) + 2 * ATT_Q + 64);
}

typedef struct att_bwd_mem {
  float *kt, *vt, *k, *dk, *dv, *q, *od, *dq, *p, *dp, *lse, *delta;
} att_bwd_mem;

// sc -> probabilities p = exp(sc - lse), dp -> ds = p (dp - delta); keys after the query are zeroed.
static inline void att_bwd_block(float *p, float *dp, int64_t rows, int64_t n, int64_t ld, int64_t q0, const float *lse, const float *delta) {
  for (int64_t i = 0; i < rows; i++) {
    float *pi = p + i * ld, *di = dp + i * ld;
    int64_t valid = q0 + i + 1 < n ? q0 + i + 1 : n;
    vf l = vset(lse[i]), dl = vset(delta[i]);
    for (int64_t j = 0; j < valid; j += VL) {
      vf e = vexp(vload(pi + j) - l);
      vstore(pi + j, e);
      vstore(di + j, e * (vload(di + j) - dl));
    }
    for (int64_t j = valid; j < n; j++) pi[j] = di[j] = 0;
  }
}

static inline void att_bwd_head(const att_args *a, const att_bwd_mem *w, int64_t b, int64_t h) {
  const iso_kcall *c = a->c;
  const att_shape *s = &a->s;
  const float *base = (const float *)c->p[0] + b * s->t * s->row;
  int64_t ow = s->h * s->hd, ld = att_score_row(s);
  for (int64_t q0 = 0; q0 < s->t; q0 += ATT_Q) {
    int64_t rows = s->t - q0 < ATT_Q ? s->t - q0 : ATT_Q, n = att_up(q0 + rows, 2 * VL);
    const float *o = (const float *)c->p[1] + (b * s->t + q0) * ow + h * s->hd, *od = (const float *)c->p[3] + (b * s->t + q0) * ow + h * s->hd;
    att_copy(w->q, base + q0 * s->row + h * s->hd, rows, s->row, s, s->scale);
    att_copy(w->od, od, rows, ow, s, 1.0f);
    for (int64_t i = 0; i < rows; i++) {
      w->delta[i] = att_dot(o + i * ow, od + i * ow, s->hd);
      w->lse[i] = ((const float *)c->p[2])[(b * s->h + h) * s->t + q0 + i];
    }
    mini_gemm(rows, n, s->hd, w->q, s->hp, 1, att_across(w->kt, 0, s), w->p, ld, false, (mini_mask){MINI_C_LOWER, q0});
    mini_gemm(rows, n, s->hd, w->od, s->hp, 1, att_across(w->vt, 0, s), w->dp, ld, false, (mini_mask){MINI_C_LOWER, q0});
    att_bwd_block(w->p, w->dp, rows, n, ld, q0, w->lse, w->delta);
    mini_gemm(rows, s->hp, n, w->dp, ld, 1, att_packed(w->k, s), w->dq, s->hp, false, (mini_mask){MINI_A_LOWER, q0});
    mini_gemm(n, s->hp, rows, w->dp, 1, ld, att_plain(w->q, s), w->dk, s->hp, true, (mini_mask){MINI_A_UPPER, q0});
    mini_gemm(n, s->hp, rows, w->p, 1, ld, att_plain(w->od, s), w->dv, s->hp, true, (mini_mask){MINI_A_UPPER, q0});
    att_copy_back((float *)c->p[4] + (b * s->t + q0) * s->row + h * s->hd, w->dq, rows, s->row, s, s->scale);
  }
}

static inline void att_bwd_task(void *arg, int64_t task, int worker) {
  const att_args *a = arg;
  const iso_kcall *c = a->c;
  const att_shape *s = &a->s;
  int64_t b = task / s->kv, kh = task % s->kv, group = s->h / s->kv;
  const float *base = (const float *)c->p[0] + b * s->t * s->row, *k = base + (s->h + kh) * s->hd, *v = k + s->kv * s->hd;
  float *f = (float *)(void *)(c->scratch + (size_t)worker * a->per_worker);
  att_bwd_mem w;
  w.kt = f, f += s->hd * s->tp;
  w.vt = f, f += s->hd * s->tp;
  w.k = f, f += s->tp * s->wp;
  w.dk = f, f += s->tp * s->hp;
  w.dv = f, f += s->tp * s->hp;
  w.q = f, f += ATT_Q * s->hp;
  w.od = f, f += ATT_Q * s->hp;
  w.dq = f, f += ATT_Q * s->hp;
  w.p = f, f += ATT_Q * att_score_row(s);
  w.dp = f, f += ATT_Q * att_score_row(s);
  w.lse = f, f += ATT_Q;
  w.delta = f;
  att_pack_across(w.kt, k, s->t, s->row, s);
  att_pack_across(w.vt, v, s->t, s->row, s);
  att_pack(w.k, k, s->t, s->row, s);
  memset(w.dk, 0, (size_t)(2 * s->tp * s->hp) * sizeof *w.dk);
  for (int64_t g = 0; g < group; g++) att_bwd_head(a, &w, b, kh * group + g);
  float *dk = (float *)c->p[4] + b * s->t * s->row + (s->h + kh) * s->hd, *dv = dk + s->kv * s->hd;
  att_copy_back(dk, w.dk, s->t, s->row, s, 1.0f);
  att_copy_back(dv, w.dv, s->t, s->row, s, 1.0f);
}

// forward: p = exp(scale q k' - lse), o = p v; dv = p' do; ds = p (do v' - rowsum(do o)); dq = scale ds k; dk = scale ds' q
// (Dao et al. 2022, arXiv 2205.14135, algorithm 4; dropout left out)
// shapes: as attention; do [B T, H Hd]; dqkv [B T, (H+2K) Hd]
// numerics: f32, keys of one group added in head order
// cost: 4 B H Hd T (T+1) mat flop; executes one product more (scores again) and up to 5 T (MINI_ROWS + 2 VL) / 2 key rows more;
// reads qkv, o, do, writes dqkv
static inline void attention_bwd_f32(const iso_kcall *c) {
  att_args a = {c, att_dims(c->d, c->a[0]), 0};
  a.per_worker = att_bwd_floats(&a.s) * 4 / 64 * 64 + 64;
  iso_pool_run(c->pool, a.s.b * a.s.kv, att_bwd_task, &a);
}

// ---- with a KV cache --------------------------------------------------------------------------------------------

static inline void att_store_task(void *arg, int64_t m, int worker) {
  (void)worker;
  const iso_kcall *c = arg;
  int64_t s = c->d[1], h = c->d[2], kv = c->d[3], hd = c->d[4], at = ((const int32_t *)c->p[3])[m] * s + ((const int32_t *)c->p[4])[m];
  const float *k = (const float *)c->p[0] + m * (h + 2 * kv) * hd + h * hd;
  memcpy((float *)c->p[1] + at * kv * hd, k, (size_t)(kv * hd) * sizeof *k);
  memcpy((float *)c->p[2] + at * kv * hd, k + kv * hd, (size_t)(kv * hd) * sizeof *k);
}

static inline void att_cached_task(void *arg, int64_t task, int worker) {
  const iso_kcall *c = arg;
  int64_t s = c->d[1], h = c->d[2], kv = c->d[3], hd = c->d[4], m = task / h, head = task % h, kh = head / (h / kv);
  int64_t seq = ((const int32_t *)c->p[3])[m], pos = ((const int32_t *)c->p[4])[m];
  const float *q = (const float *)c->p[0] + m * (h + 2 * kv) * hd + head * hd, *k = (const float *)c->p[1] + (seq * s * kv + kh) * hd;
  const float *v = (const float *)c->p[2] + (seq * s * kv + kh) * hd;
  float *o = (float *)c->p[5] + (m * h + head) * hd, *p = (float *)(void *)(c->scratch + (size_t)worker * ((size_t)(s + 16) * 4 / 64 * 64 + 64));
  float mx = -INFINITY, sum = 0;
  for (int64_t j = 0; j <= pos; j++) {
    p[j] = (float)c->a[0] * att_dot(q, k + j * kv * hd, hd);
    mx = p[j] > mx ? p[j] : mx;
  }
  for (int64_t j = 0; j < hd; j++) o[j] = 0;
  for (int64_t j = 0; j <= pos; j++) {
    float e = expf(p[j] - mx);
    sum += e;
    for (int64_t i = 0; i < hd; i++) o[i] += e * v[j * kv * hd + i];
  }
  for (int64_t j = 0; j < hd; j++) o[j] /= sum;
}

// o[m] = softmax(scale q[m] k[0..pos]') v[0..pos] over the row's own sequence, after storing its key and value
// shapes: see slots.def; rows of one sequence may come in any order, each sees positions up to its own
// numerics: f32, two passes over the scores
// cost: 4 H Hd sum(pos + 1) mat flop; reads 2 K Hd (pos + 1) elements a row and head group
static inline void attention_cached_f32(const iso_kcall *c) {
  iso_pool_run(c->pool, c->d[0], att_store_task, (void *)(uintptr_t)c);
  iso_pool_run(c->pool, c->d[0] * c->d[2], att_cached_task, (void *)(uintptr_t)c);
}

static inline size_t att_scratch(iso_kslot slot, const int64_t *d, int threads) {
  if (slot == ISO_K_attention_cached) return ((size_t)(d[1] + 16) * 4 / 64 * 64 + 64) * (size_t)threads;
  att_shape s = att_dims(d, 1);
  size_t floats = slot == ISO_K_attention ? att_fwd_floats(&s) : slot == ISO_K_attention_bwd ? att_bwd_floats(&s) : 0;
  return floats ? (floats * 4 / 64 * 64 + 64) * (size_t)threads : 0;
}
#endif
