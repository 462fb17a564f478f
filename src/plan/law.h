// Scaling laws: what one is, the list of all, and the searches that work for any of them.
#ifndef ISO_PLAN_LAW_H
#define ISO_PLAN_LAW_H
#include "cost/plugin.h"

enum { ISO_LAW_PARAM_MAX = 16, ISO_LAW_INPUT_MAX = 8, ISO_LAW_ALIAS_MAX = 8 };

// FLOPs per parameter and token of the C = 6 N D convention (forward 2, backward 4; attention scores left out).
#define ISO_LAW_FLOP_PER_PARAM_TOK 6.0

// What a law is asked with. Inputs are positive numbers in SI base units; one whose absent value is 0 may also be 0.
typedef struct iso_law_input {
  const char *name;                      // "params", "tokens", "vocab": on the command line, in JSON and as a column
  const char *unit;                      // "", "tok", "bit", "FLOP", "nat/tok"
  const char *what;                      // one line, with the convention it is counted by
  const char *alias[ISO_LAW_ALIAS_MAX];  // other names of such a column, NULL after the last
  double absent;                         // taken when it is not given; NaN: it must be
} iso_law_input;

// What a fit finds. Positive ones are kept as logarithms, so that a fit has no bounds.
typedef struct iso_law_param {
  const char *name;  // in code and JSON: "log_a"
  const char *sign;  // as in the paper: "A"
  bool is_log;       // sign = exp(name)
  double lo, hi;     // where the starts of a fit lie; see `start`
} iso_law_param;

// A published parameter set.
typedef struct iso_law_const {
  const char *name;              // "besiroglu2024"
  bool confirmed;                // read in a primary source, or rederived from the paper's worked numbers; else nothing is predicted with it
  double p[ISO_LAW_PARAM_MAX];   // in the law's order
  double lo[ISO_LAW_INPUT_MAX];  // what its fit saw of each input; both 0: not known
  double hi[ISO_LAW_INPUT_MAX];
  const char *source;  // paper, table or notebook cell; what data and losses mean
  // Short name of the runs it was fitted to and what was counted on them: sets of a law of the same runs differ by the fit alone, so their
  // spread is its uncertainty. NULL: not known.
  const char *runs;
} iso_law_const;

// How well the constants of a published set are known, as far as that was published: standard errors, intervals of an exponent, refits.
typedef struct iso_law_spread {
  // Standard errors upwards and downwards, in the law's order; both 0: none published, taken as exact.
  double up[ISO_LAW_PARAM_MAX], down[ISO_LAW_PARAM_MAX];
  const double *corr;  // their correlations, n_params x n_params row by row; NULL: independent
  const char *source;  // what was published and how it is read; NULL: nothing was
} iso_law_spread;

// A quantity that follows from a law's parameters, and from its inputs where they are given: "exponent_n", "best_granularity".
typedef struct iso_law_fact {
  const char *name, *unit, *what;
  double value;  // NaN: an input that it needs is missing
} iso_law_fact;
enum { ISO_LAW_FACT_MAX = 8 };

// A compute-optimal point: FLOPs, parameters, training tokens, loss in the law's unit.
typedef struct iso_law_point {
  double flop, params, tokens, loss;
} iso_law_point;

// What a fit of the law minimises: the sum over runs of huber_delta(r) or r^2 / 2, r the residual, model minus data, of the value or of
// its logarithm. huber_delta(r) = r^2 / 2 for |r| <= delta, delta (|r| - delta / 2) beyond (Huber 1964, doi 10.1214/aoms/1177703732).
typedef enum iso_law_objective { ISO_LAW_HUBER_LOG, ISO_LAW_HUBER, ISO_LAW_SQUARE_LOG, ISO_LAW_SQUARE, ISO_LAW_OBJECTIVES } iso_law_objective;
const char *iso_law_objective_name(iso_law_objective o);  // "huber-log", ...
bool iso_law_objective_find(const char *name, iso_law_objective *out);
bool iso_law_objective_is_log(iso_law_objective o);

// Means over the runs that a fit sees, for placing its starts.
typedef struct iso_law_means {
  double log_x[ISO_LAW_INPUT_MAX];  // mean logarithm of each input
  double y;                         // mean of the absolute target
  double y_min;                     // least target
} iso_law_means;

// A law: a target as a function of inputs x and parameters p.
typedef struct iso_law {
  iso_plugin base;
  const char *formula;                          // with the signs of the parameters
  const char *target, *unit;                    // what it predicts: "loss", "nats per token"
  const char *target_alias[ISO_LAW_ALIAS_MAX];  // other names of such a column
  const char *counts;                           // conventions: which parameters count, what a token is, what the target is measured on
  const char *flops;                            // the FLOPs of a run, in words; NULL when they play no part
  int n_inputs, n_params, n_consts;
  const iso_law_input *input;
  const iso_law_param *param;
  const iso_law_const *consts;
  int at_params, at_tokens;  // which inputs a compute budget is split between; -1: none
  iso_law_objective objective;
  double delta;  // of Huber
  // The target; fills g with its derivatives by p unless g is NULL. NaN where the law is not defined.
  double (*value)(const double *p, const double *x, double *g);
  // FLOPs per training token of a run with these inputs; NULL: 6 x[at_params].
  double (*flop_per_tok)(const double *x);
  // A start of the fit from n_params uniform numbers; NULL: p = lo + u (hi - lo).
  void (*start)(const iso_law_means *m, const double *u, double *p);
  // Closed-form optimum for a budget with the other inputs absent; NULL: none. ISO_EINVAL when p has no interior optimum.
  iso_status (*optimum)(const double *p, double flop, iso_law_point *out, iso_err *err);
  // Closed form of input k at which the target is y, the others as in x; NaN when there is none for k or y. NULL: searched for.
  double (*inverse)(const double *p, const double *x, int k, double y);
  // Closed form of input k at which the target is best, the others as in x; NaN when there is none. NULL: searched for. Best is least, or
  // greatest for targets where more is better.
  double (*best)(const double *p, const double *x, int k);
  bool more_is_better;
  // What follows from p and x beside the target: fills out and returns how many, at most ISO_LAW_FACT_MAX. x has NaN for what is not given.
  // NULL: none.
  int (*facts)(const double *p, const double *x, iso_law_fact *out);
  const iso_law_spread *spread;  // n_consts of them, those without a source not known; NULL: none
} iso_law;

#define LAW(name) extern const iso_law iso_law_##name;
#include "plan/laws/laws.def"
#undef LAW

int64_t iso_law_count(void);
const iso_law *iso_law_at(int64_t i);
// ISO_EINVAL with the names there are; hyphens may stand for underscores.
iso_status iso_law_find(const char *name, const iso_law **out, iso_err *err);
iso_status iso_law_find_const(const iso_law *law, const char *name, const iso_law_const **out, iso_err *err);
// Whether both sets are known to be fitted to the same runs; a set is to its own.
bool iso_law_same_runs(const iso_law_const *a, const iso_law_const *b);
// What is published of the uncertainty of a set's constants; NULL: nothing.
const iso_law_spread *iso_law_spread_of(const iso_law *law, const iso_law_const *c);
// Which input or parameter has this name (an input's alias will do); -1: none.
int iso_law_input_find(const iso_law *law, const char *name);
// Other names that anything called `name` goes by, whatever the law: "parameters", "n_params", ... for "params"; NULL after the last, never
// NULL itself. A law's own aliases come first.
const char *const *iso_law_synonyms(const char *name);
int iso_law_param_find(const iso_law *law, const char *name);

// Fills x with what is taken when nothing is given (NaN for inputs that must be).
void iso_law_absent(const iso_law *law, double *x);
// Refuses inputs that are missing, negative or not numbers, naming the first.
iso_status iso_law_check_inputs(const iso_law *law, const double *x, iso_err *err);
// The target at `params` and `tokens` with the other inputs absent; NaN for a law that is not about them or needs more.
double iso_law_nd(const iso_law *law, const double *p, double params, double tokens);
// FLOPs of a training run with inputs x; NaN for laws without a budget.
double iso_law_flop(const iso_law *law, const double *x);

// The target with a published set, refused (ISO_EUNSUP) when the set is not confirmed: such a law is fitted first.
iso_status iso_law_predict_const(const iso_law *law, const iso_law_const *c, const double *x, double *out, iso_err *err);
// How far x lies beyond [lo, hi] of a set or fit, as a ratio, 1 inside; *worst (may be NULL) gets the input, -1 inside. Inputs whose
// bounds are both 0 and infinite inputs (an absent repetition or quantisation) do not count.
double iso_law_reach(const iso_law *law, const double *lo, const double *hi, const double *x, int *worst);

// Whether anything is known of what a set's fit saw: without it no question is known to be an extrapolation.
bool iso_law_range_known(const iso_law *law, const iso_law_const *c);

// Tokens that a budget of `flop` buys for a model of `params` parameters. The planner passes its graph's price.
typedef double (*iso_law_tokens_fn)(void *self, double params, double flop);

// Minimises the target over N in [n_lo, n_hi] at fixed budget: a scan in log N, then golden section. `x` holds the other inputs (NULL:
// absent); `tokens` NULL means the law's own FLOPs. *at_edge (may be NULL) says that the best N is an end of the range. ISO_EINVAL for a
// bad range or a law without a budget, ISO_ENUM when no loss is finite.
iso_status iso_law_optimum_numeric(const iso_law *law, const double *p, const double *x, double flop, double n_lo, double n_hi,
                                   iso_law_tokens_fn tokens, void *self, iso_law_point *out, bool *at_edge, iso_err *err);
// The same with input k chosen as well, in [k_lo, k_hi]; *k_best gets it. With `params` finite N is held there and only k is chosen.
iso_status iso_law_optimum_over(const iso_law *law, const double *p, const double *x, double flop, double params, int k, double k_lo, double k_hi,
                                double *k_best, iso_law_point *out, iso_err *err);
// Where f is least on [lo, hi]: a scan of `scan` + 1 points, then golden section round the best; *at_edge (may be NULL) says that it is an end.
// NaN when f is nowhere finite.
double iso_law_least(double (*f)(void *self, double u), void *self, double lo, double hi, int scan, bool *at_edge);
// Input k in [lo, hi] at which the target, falling or rising in it, is y; NaN when it is not reached inside.
double iso_law_solve(const iso_law *law, const double *p, const double *x, int k, double y, double lo, double hi);
// Input k in [lo, hi] at which the target is best, the others as in x: the closed form, or a scan in log and golden section. ISO_EINVAL for a
// bad range, ISO_ENUM when the best lies outside the range or at an end of it.
iso_status iso_law_best_input(const iso_law *law, const double *p, const double *x, int k, double lo, double hi, double *at, double *value,
                              iso_err *err);
// D* by N at equal loss: tokens with which `params` parameters reach `loss`; +INFINITY when no number of tokens does.
double iso_law_tokens_for_loss(const iso_law *law, const double *p, double params, double loss);

// For starts: the logarithm of a coefficient such that coefficient / x^exponent is a share of the mean target that goes from lo to hi
// with u in [0, 1], evenly in its logarithm.
double iso_law_start_term(const iso_law_means *m, int input, double exponent, double u, double lo, double hi);
// For selftests: ISO_EBUG naming the law and `what` when got is further than the relative tol from want.
iso_status iso_law_near(const iso_law *law, double got, double want, double tol, const char *what, iso_err *err);
#endif
