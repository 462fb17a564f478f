// Scaling laws: what one is, the list of all, and the compute-optimal point of any of them.
#ifndef ISO_PLAN_LAW_H
#define ISO_PLAN_LAW_H
#include "cost/plugin.h"

enum { ISO_LAW_PARAM_MAX = 8 };

// A published parameter set in the law's internal parametrisation.
typedef struct iso_law_const {
  const char *name;  // e.g. "besiroglu2024"
  double p[ISO_LAW_PARAM_MAX];
  double n_min, n_max;  // parameters seen by the fit
  double d_min, d_max;  // tokens seen by the fit
  const char *source;   // paper, table or notebook cell; what N and the loss mean
} iso_law_const;

// A compute-optimal point: FLOPs, parameters, training tokens, loss in nats per token.
typedef struct iso_law_point {
  double flop, params, tokens, loss;
} iso_law_point;

// A law: loss as a function of parameters N and tokens D. `p` has n_params entries in the internal parametrisation.
typedef struct iso_law {
  iso_plugin base;
  int n_params;
  const char *const *param;  // names of the internal parameters, e.g. "log_a"
  const iso_law_const *consts;
  int n_consts;
  double (*loss)(const double *p, double params, double tokens);
  // Loss, and d loss / d p (n_params entries).
  double (*grad)(const double *p, double params, double tokens, double *g);
  // Closed-form optimum under C = 6 N D; NULL when the law has none. ISO_EINVAL when p has no interior optimum.
  iso_status (*optimum)(const double *p, double flop, iso_law_point *out, iso_err *err);
} iso_law;

extern const iso_law iso_law_chinchilla;

int64_t iso_law_count(void);
const iso_law *iso_law_at(int64_t i);
// ISO_EINVAL with the names there are.
iso_status iso_law_find(const char *name, const iso_law **out, iso_err *err);
iso_status iso_law_find_const(const iso_law *law, const char *name, const iso_law_const **out, iso_err *err);

// Tokens that a budget of `flop` buys for a model of `params` parameters. The planner passes its graph's price.
typedef double (*iso_law_tokens_fn)(void *self, double params, double flop);

// Minimises loss over N in [n_lo, n_hi] at fixed budget: a scan in log N, then golden section. `tokens` NULL means C = 6 N D.
// *at_edge (may be NULL) says that the best N is an end of the range. ISO_EINVAL for a bad range, ISO_ENUM when no loss is finite.
iso_status iso_law_optimum_numeric(const iso_law *law, const double *p, double flop, double n_lo, double n_hi, iso_law_tokens_fn tokens, void *self,
                                   iso_law_point *out, bool *at_edge, iso_err *err);
// D* by N at equal loss: tokens with which `params` parameters reach `loss`; +INFINITY when no number of tokens does.
double iso_law_tokens_for_loss(const iso_law *law, const double *p, double params, double loss);
// FLOPs per parameter and token of the C = 6 N D convention (forward 2, backward 4; attention scores left out).
#define ISO_LAW_FLOP_PER_PARAM_TOK 6.0
#endif
