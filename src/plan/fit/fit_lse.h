// The fast core of the fit: Huber loss on log residuals of a log-sum-exp law, its exact derivatives, and a Newton solver.
#ifndef ISO_PLAN_FIT_FIT_LSE_H
#define ISO_PLAN_FIT_FIT_LSE_H
#include "base/status.h"

// The model is log L = log(exp(p0 - p3 x) + exp(p1 - p4 y) + exp(p2)) with x = log N - mean, y = log D - mean, so
// p = (log A - alpha mean(log N), log B - beta mean(log D), log E, alpha, beta). Centring removes most of the correlation
// between a coefficient and its exponent. The objective is sum_i omega_i huber_delta(log L_i model - log L_i) + prior,
// huber_delta(r) = r^2 / 2 inside |r| <= delta, delta |r| - delta^2 / 2 outside (Hoffmann et al. 2022, arXiv:2203.15556, approach 3).
enum { ISO_LSE_P = 5, ISO_LSE_H = 15, ISO_LSE_LANES = 8 };

// Quadratic prior (p - mean)' Q (p - mean) / 2 on the centred parameters; all zero when there is none.
typedef struct iso_lse_prior {
  double q[ISO_LSE_P][ISO_LSE_P];
  double mean[ISO_LSE_P];
} iso_lse_prior;

// What does not change between refits.
typedef struct iso_lse {
  int64_t n, rows;  // n points, rows = n rounded up to whole vectors
  double x_mean, y_mean;
  double delta;
  double *x, *y;  // owned: rows each, one allocation at x
  double *l;      // log loss
  iso_lse_prior prior;
  int isa;  // which compiled version runs: 0 baseline, 1 AVX2, 2 AVX-512; results are bit-identical
} iso_lse;

// What one worker changes: the weights, the log losses (a parametric bootstrap redraws them) and scratch.
typedef struct iso_lse_work {
  double *mem;                   // owned
  double *omega, *l, *inv;       // rows each: weights (0 in the padding), log loss, exp(-log loss)
  double *w1, *w2, *w3, *t, *q;  // rows each: shares of the three terms, omega psi, omega (psi' - psi)
  double *r;                     // rows: residuals, model minus data, of the last iso_lse_eval
  double prior_mean[ISO_LSE_P];
  double delta;  // the problem's; iso_lse_solve widens it for a while when it is stuck
} iso_lse_work;

typedef struct iso_lse_opts {
  int max_iter;     // Newton steps
  double grad_tol;  // stop when the largest absolute gradient component is below this
  bool once;        // take what max_iter steps give
} iso_lse_opts;

typedef struct iso_lse_stat {
  double objective, grad_norm;  // at the end
  int iters, evals;             // Newton steps, evaluations of objective and gradient
  bool converged;
} iso_lse_stat;

// Copies log N, log D, log L (n each, finite). ISO_ENOMEM only. Close with iso_lse_close.
iso_status iso_lse_open(const double *log_n, const double *log_d, const double *log_l, int64_t n, double delta, iso_lse *out, iso_err *err);
void iso_lse_close(iso_lse *s);
// Scratch for one worker with unit weights and the problem's own losses. Close with iso_lse_work_close.
iso_status iso_lse_work_open(const iso_lse *s, iso_lse_work *out, iso_err *err);
void iso_lse_work_close(iso_lse_work *w);
// Replaces the log losses (n of them); iso_lse_work_open has set the problem's own.
void iso_lse_work_set_loss(const iso_lse *s, iso_lse_work *w, const double *log_l);

// Objective and gradient (may be NULL) at centred p; leaves shares and residuals in *w.
double iso_lse_eval(const iso_lse *s, iso_lse_work *w, const double *p, double *grad);
// Hessian at the p of the last iso_lse_eval: exact away from |r| = delta, where it is one element of the generalised Hessian.
void iso_lse_hess(const iso_lse *s, const iso_lse_work *w, double h[ISO_LSE_P][ISO_LSE_P]);
// Minimises from p (in place): semismooth Newton (Qi and Sun 1993) with a Levenberg shift that keeps the step a descent step; if that
// is still under way after max_iter steps (few points, all near a kink), once more from the optimum of ever smaller deltas.
void iso_lse_solve(const iso_lse *s, iso_lse_work *w, const iso_lse_opts *o, double *p, iso_lse_stat *out);
// Changes between (log A, log B, log E, alpha, beta) and centred parameters; in place is allowed.
void iso_lse_centre(const iso_lse *s, const double *from, double *to);
void iso_lse_uncentre(const iso_lse *s, const double *from, double *to);
#endif
