// Reference activations of the MLP: SwiGLU, GELU (tanh form), squared ReLU, and their gradients.
#include <math.h>

#include "kern/ref/ref.h"

static const double GELU_C = 0.79788456080286535588;  // sqrt(2 / pi)
static const double GELU_K = 0.044715;

// h = gate sigmoid(gate) up (Shazeer 2020, arXiv 2002.05202).
// gu [M,2F]: gate then up in each row; h [M,F].
// elementwise.
// mat 0; vec 4 M F.
void iso_ref_swiglu(const iso_kcall *c) {
  const double *gu = c->p[0];
  double *h = c->p[1], vec = 0;
  int64_t M = c->d[0], F = c->d[1];
  for (int64_t m = 0; m < M; m++) {
    for (int64_t i = 0; i < F; i++) {
      double g = gu[m * 2 * F + i], u = gu[m * 2 * F + F + i];
      h[m * F + i] = g / (1 + exp(-g)) * u;
      vec += 4;
    }
  }
  ref_tally(c, 0, vec);
}

// with s = sigmoid(gate): dup = dh gate s, dgate = dh up s (1 + gate (1 - s)).
// gu, dgu [M,2F], dh [M,F].
// elementwise.
// mat 0; vec 11 M F.
void iso_ref_swiglu_bwd(const iso_kcall *c) {
  const double *gu = c->p[0], *dh = c->p[1];
  double *dgu = c->p[2], vec = 0;
  int64_t M = c->d[0], F = c->d[1];
  for (int64_t m = 0; m < M; m++) {
    for (int64_t i = 0; i < F; i++) {
      double g = gu[m * 2 * F + i], u = gu[m * 2 * F + F + i], e = dh[m * F + i];
      double s = 1 / (1 + exp(-g));
      dgu[m * 2 * F + i] = e * u * s * (1 + g * (1 - s));
      dgu[m * 2 * F + F + i] = e * g * s;
      vec += 11;
    }
  }
  ref_tally(c, 0, vec);
}

// y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (Hendrycks and Gimpel 2016, arXiv 1606.08415).
// x, y [M,F].
// elementwise.
// mat 0; vec 9 M F.
void iso_ref_gelu(const iso_kcall *c) {
  const double *x = c->p[0];
  double *y = c->p[1], vec = 0;
  for (int64_t i = 0; i < c->d[0] * c->d[1]; i++) {
    double t = tanh(GELU_C * (x[i] + GELU_K * (x[i] * x[i] * x[i])));
    y[i] = 0.5 * x[i] * (1 + t);
    vec += 9;
  }
  ref_tally(c, 0, vec);
}

// with t the tanh of the forward: dx = dy ((1 + t)/2 + x/2 (1 - t^2) sqrt(2/pi) (1 + 3 * 0.044715 x^2)).
// x, dy, dx [M,F].
// elementwise.
// mat 0; vec 18 M F.
void iso_ref_gelu_bwd(const iso_kcall *c) {
  const double *x = c->p[0], *dy = c->p[1];
  double *dx = c->p[2], vec = 0;
  for (int64_t i = 0; i < c->d[0] * c->d[1]; i++) {
    double x2 = x[i] * x[i], t = tanh(GELU_C * (x[i] + GELU_K * (x2 * x[i])));
    dx[i] = dy[i] * (0.5 * (1 + t) + 0.5 * x[i] * (1 - t * t) * (GELU_C * (1 + 3 * GELU_K * x2)));
    vec += 18;
  }
  ref_tally(c, 0, vec);
}

// y = max(x, 0)^2 (So et al. 2021, arXiv 2109.08668).
// x, y [M,F].
// elementwise.
// mat 0; vec M F.
void iso_ref_relu2(const iso_kcall *c) {
  const double *x = c->p[0];
  double *y = c->p[1], vec = 0;
  for (int64_t i = 0; i < c->d[0] * c->d[1]; i++) {
    double r = x[i] < 0 ? 0 : x[i];  // NaN passes
    y[i] = r * r;
    vec += 1;
  }
  ref_tally(c, 0, vec);
}

// dx = 2 max(x, 0) dy.
// x, dy, dx [M,F].
// elementwise.
// mat 0; vec 2 M F.
void iso_ref_relu2_bwd(const iso_kcall *c) {
  const double *x = c->p[0], *dy = c->p[1];
  double *dx = c->p[2], vec = 0;
  for (int64_t i = 0; i < c->d[0] * c->d[1]; i++) {
    dx[i] = 2 * (x[i] < 0 ? 0 : x[i]) * dy[i];
    vec += 2;
  }
  ref_tally(c, 0, vec);
}
