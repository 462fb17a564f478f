// What the files of the general fit share and nobody else sees.
#ifndef ISO_PLAN_FIT_LAWFIT_IMPL_H
#define ISO_PLAN_FIT_LAWFIT_IMPL_H
#include "plan/fit/lawfit.h"

// One minimisation: rows, their weights and targets (a bootstrap changes both), and what is minimised.
typedef struct iso_lawfit_problem {
  const iso_law *law;
  int64_t n;
  const double *x, *y, *weight;  // borrowed; weight NULL: all 1
  iso_law_objective objective;
  double delta;
  iso_lawfit_minimiser minimiser;
  bool mean, no_published;
} iso_lawfit_problem;

// Objective at p and its gradient (NULL: not wanted); +INFINITY where the law is not defined for a row of positive weight.
double iso_lawfit_eval(const iso_lawfit_problem *s, const double *p, double *grad);
// Residual of row i at p, model minus data, and its derivatives (NULL: not wanted).
double iso_lawfit_residual(const iso_lawfit_problem *s, const double *p, int64_t i, double *jac);
// Minimises from p in place; ISO_LAWFIT_WHITENED: rounds of L-BFGS in coordinates in which the Gauss-Newton matrix is the identity. *grad_norm (may
// be NULL) gets the gradient's length in those coordinates. Returns the objective, +INFINITY when p is not defined.
double iso_lawfit_solve(const iso_lawfit_problem *s, double *p, int rounds, double *grad_norm);
// The best of many starts in p; counts in *f. ISO_ENUM when none is finite.
iso_status iso_lawfit_multistart(const iso_lawfit_problem *s, const iso_law_means *m, int starts, iso_lawfit *f, double *p, iso_err *err);
// Residuals' trends, break, outliers, condition and warnings, from the estimate in *f.
// The compute-optimal point of one parameter vector, x as in iso_lawfit_optimum.
iso_status iso_lawfit_optimum_of(const iso_law *law, const double *p, const double *x, double flop, iso_law_point *pt, iso_err *err);
iso_status iso_lawfit_diagnose(const iso_lawfit_problem *s, const iso_law_data *d, iso_lawfit *f, iso_err *err);
void iso_lawfit_warn(iso_lawfit *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#endif
