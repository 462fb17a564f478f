// Entry points of the vectorised loops of the log-sum-exp fit.
#ifndef ISO_PLAN_FIT_FIT_LSE_VEC_H
#define ISO_PLAN_FIT_FIT_LSE_VEC_H
#include "plan/fit/fit_lse.h"

// 2 with AVX-512, 1 with AVX2, 0 otherwise; asked of CPUID and XCR0.
int iso_lse_vec_isa(void);
// Data part of the objective and its gradient (never NULL) at centred p; fills shares, residuals, t and q.
double iso_lse_vec_eval(const iso_lse *s, iso_lse_work *w, const double *p, double *grad);
// Upper triangle, row by row, of the data part's Hessian at the last evaluated point.
void iso_lse_vec_hess(const iso_lse *s, const iso_lse_work *w, double *h);
#endif
