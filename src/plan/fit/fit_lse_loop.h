// Template: the loops over data points of the log-sum-exp fit for vectors of LSE_W doubles; included once per width.
//
// LSE_W (2, 4 or 8) and LSE_FN(name) (the width's own names) are defined by the includer. Sums are kept in eight lanes whatever the
// width (narrow vectors walk the rows once per group of lanes), and there are no fused multiply-adds, so every width gives the same
// bits on every CPU.
#define V LSE_FN(vd)
#define VI LSE_FN(vi)
#define VU LSE_FN(vu)
typedef double V __attribute__((vector_size(8 * LSE_W)));
typedef int64_t VI __attribute__((vector_size(8 * LSE_W)));
typedef uint64_t VU __attribute__((vector_size(8 * LSE_W)));

// Vectors go by pointer: passing them by value has an ABI that depends on -m flags, and gcc says so even for inlined calls.
#define PICK(mask, a, b) ((V)(((VI)(a) & (mask)) | ((VI)(b) & ~(mask))))
INLINE void LSE_FN(clamp)(V *a, double lo, double hi) {
  V l = lo - (V){0}, h = hi - (V){0}, m = PICK(*a < h, *a, h);
  *a = PICK(m > l, m, l);
}

// exp to 2 ulp on [-700, 700], clamped outside; x = k log 2 + r, Taylor to r^13 (remainder below 4e-18 for |r| <= log(2)/2).
INLINE void LSE_FN(exp)(V *io) {
  const double magic = 0x1.8p52;
  LSE_FN(clamp)(io, -700.0, 700.0);
  V x = *io, kd = x * 0x1.71547652b82fep0 + magic;
  VI k = (VI)kd;
  kd = kd - magic;
  V r = (x - kd * 0x1.62e42feep-1) - kd * 0x1.a39ef35793c76p-33, r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
  V c0 = (1.0 + r) + r2 * (0.5 + r * (1.0 / 6));
  V c4 = (1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040));
  V c8 = (1.0 / 40320 + r * (1.0 / 362880)) + r2 * (1.0 / 3628800 + r * (1.0 / 39916800));
  V c12 = 1.0 / 479001600 + r * (1.0 / 6227020800.0);
  V y = (c0 + r4 * c4) + r8 * (c8 + r4 * c12);
  *io = (V)((VI)y + (VI)((VU)k << 52));
}

// log to 2 ulp for normal positive s; s = 2^k m, m in [sqrt(1/2), sqrt 2), log m = 2 atanh((m - 1) / (m + 1)).
INLINE void LSE_FN(log)(V *io) {
  VU s = (VU)*io, u = s - UINT64_C(0x3FE6A09E667F3BCD) + (UINT64_C(1024) << 52);  // exponent field: k + 1024; mantissa: moved by sqrt(1/2)
  V k = (V)((u >> 52) | UINT64_C(0x4330000000000000)) - (0x1p52 + 1024.0);
  V m = (V)(s - (u & UINT64_C(0xFFF0000000000000)) + (UINT64_C(1024) << 52));
  V t = (m - 1.0) / (m + 1.0), z = t * t, z2 = z * z, z4 = z2 * z2;
  V p = (1.0 / 3 + z * (1.0 / 5)) + z2 * (1.0 / 7 + z * (1.0 / 9));
  V q = (1.0 / 11 + z * (1.0 / 13)) + z2 * (1.0 / 15 + z * (1.0 / 17));
  V tail = z * (p + z4 * (q + z4 * (1.0 / 19 + z * (1.0 / 21))));
  *io = k * 0x1.62e42feep-1 + (2.0 * t + (2.0 * t * tail + k * 0x1.a39ef35793c76p-33));
}

#define AT(array) (*(const V *)((array) + i))
#define SET(array) (*(V *)((array) + i))

INLINE void LSE_FN(eval_body)(const iso_lse *s, iso_lse_work *w, const double *p, double sum[LSE_SUMS][ISO_LSE_LANES]) {
  const double e = exp(fmax(fmin(p[2], 300.0), -300.0));
  for (int64_t lane = 0; lane < ISO_LSE_LANES; lane += LSE_W) {
    V f = {0}, g0 = f, g1 = f, g2 = f, g3 = f, g4 = f;
    for (int64_t i = lane; i < s->rows; i += ISO_LSE_LANES) {
      V x = AT(s->x), y = AT(s->y), l = AT(w->l), om = AT(w->omega);
      // Shares are taken relative to the datum, exp(term - log L): their sum is 1 at a perfect fit, and 2 exps do for 3 terms.
      V u1 = p[0] - p[3] * x - l, u2 = p[1] - p[4] * y - l, u3 = e * AT(w->inv);
      LSE_FN(exp)(&u1);
      LSE_FN(exp)(&u2);
      V u = u1 + u2 + u3, r = u, share = 1.0 / u;
      LSE_FN(log)(&r);
      V w1 = u1 * share, w2 = u2 * share, w3 = u3 * share;
      V psi = r;
      LSE_FN(clamp)(&psi, -w->delta, w->delta);
      V t = om * psi;
      SET(w->r) = r;
      SET(w->w1) = w1;
      SET(w->w2) = w2;
      SET(w->w3) = w3;
      SET(w->t) = t;
      SET(w->q) = PICK(psi == r, om, (V){0}) - t;
      V t1 = t * w1, t2 = t * w2;
      f += t * (r - 0.5 * psi);
      g0 += t1;
      g1 += t2;
      g2 += t * w3;
      g3 -= t1 * x;
      g4 -= t2 * y;
    }
    for (int64_t i = 0; i < LSE_W; i++) {
      sum[0][lane + i] = f[i];
      sum[1][lane + i] = g0[i];
      sum[2][lane + i] = g1[i];
      sum[3][lane + i] = g2[i];
      sum[4][lane + i] = g3[i];
      sum[5][lane + i] = g4[i];
    }
  }
}

// With J = (w1, w2, w3, -x w1, -y w2) and c_k the gradient of term k's exponent, the Hessian of r is sum_k w_k c_k c_k' - J J',
// so each point adds omega (psi' - psi) J J' + omega psi sum_k w_k c_k c_k'.
INLINE void LSE_FN(hess_body)(const iso_lse *s, const iso_lse_work *w, double sum[ISO_LSE_H][ISO_LSE_LANES]) {
  for (int64_t lane = 0; lane < ISO_LSE_LANES; lane += LSE_W) {
    V z = {0}, a0 = z, a1 = z, a2 = z, a3 = z, a4 = z, a5 = z, a6 = z, a7 = z, a8 = z, a9 = z, a10 = z, a11 = z, a12 = z, a13 = z, a14 = z;
    for (int64_t i = lane; i < s->rows; i += ISO_LSE_LANES) {
      V x = AT(s->x), y = AT(s->y), q = AT(w->q), t = AT(w->t), w1 = AT(w->w1), w2 = AT(w->w2), w3 = AT(w->w3);
      V q1 = q * w1, q2 = q * w2, m12 = q1 * w2, m13 = q1 * w3, m23 = q2 * w3;
      V d1 = q1 * w1 + t * w1, d2 = q2 * w2 + t * w2, xd1 = x * d1, yd2 = y * d2, xm12 = x * m12;
      a0 += d1;
      a1 += m12;
      a2 += m13;
      a3 -= xd1;
      a4 -= y * m12;
      a5 += d2;
      a6 += m23;
      a7 -= xm12;
      a8 -= yd2;
      a9 += (q * w3 + t) * w3;
      a10 -= x * m13;
      a11 -= y * m23;
      a12 += x * xd1;
      a13 += y * xm12;
      a14 += y * yd2;
    }
    const V *a[ISO_LSE_H] = {&a0, &a1, &a2, &a3, &a4, &a5, &a6, &a7, &a8, &a9, &a10, &a11, &a12, &a13, &a14};
    for (int k = 0; k < ISO_LSE_H; k++)
      for (int64_t i = 0; i < LSE_W; i++) sum[k][lane + i] = (*a[k])[i];
  }
}
#undef PICK
#undef AT
#undef SET
#undef V
#undef VI
#undef VU
#undef LSE_W
#undef LSE_FN
