// Width, depth and MLP by compute: the shape law fitted to star-shaped sweeps, and the shapes of equal parameters or FLOPs to choose from.
#ifndef ISO_PLAN_SHAPE_FIT_H
#define ISO_PLAN_SHAPE_FIT_H
#include "plan/fit/lawfit.h"
#include "plan/layout/layout.h"

typedef enum iso_shape_dim { ISO_SHAPE_WIDTH, ISO_SHAPE_DEPTH, ISO_SHAPE_MLP, ISO_SHAPE_DIMS } iso_shape_dim;
const char *iso_shape_dim_name(iso_shape_dim d);  // "width", "depth", "mlp"
// Also d_model, layers, d_ff and the like, without case.
bool iso_shape_dim_find(const char *name, iso_shape_dim *out);

typedef struct iso_shape_fit_opts {
  double flop;  // compute to ask at
  double most;  // how far outside the rows, as in iso_lawfit_find_best
  iso_lawfit_opts fit;
} iso_shape_fit_opts;

// One dimension: the fitted law, where it is best at opts.flop, and the exponent s = c / (a + b) of x* = k C^s.
typedef struct iso_shape_fit {
  bool there;      // the table has rows of it
  iso_lawfit law;  // owned
  double rows;
  iso_fit_interval s, best, error;
  bool found;  // best lies within reach; else `why` says what is wrong
  iso_err why;
} iso_shape_fit;
typedef struct iso_shape_fits {
  double flop;
  iso_shape_fit of[ISO_SHAPE_DIMS];
} iso_shape_fits;
// Columns dimension (a name as above), value, train_flop and error (or their aliases of law shape). ISO_EFORMAT names line and column,
// ISO_EINVAL for a table without rows or too few of a dimension. Close with iso_shape_fits_close.
iso_status iso_shape_fits_run(iso_ctx *c, const iso_csv *t, const iso_shape_fit_opts *o, iso_shape_fits *out, iso_err *err);
void iso_shape_fits_close(iso_shape_fits *f);
// Error that the fits predict above their best for a shape: the sum over the dimensions found of err(x, C) - err(x*, C), as each was fitted
// with the others out of the way. NaN when none was found.
double iso_shape_fits_excess(const iso_shape_fits *f, const iso_layout_shape *s);
// The same with its interval at `level`, by the refits; lo and hi are NaN below 20 of them. ISO_ENOMEM.
iso_status iso_shape_fits_excess_range(const iso_shape_fits *f, const iso_layout_shape *s, double level, iso_fit_interval *out, iso_err *err);

// ---- the shapes to choose from --------------------------------------------------------------------------------------

typedef struct iso_shape_cost {
  iso_layout_shape shape;
  double params, flop_tok;  // parameters; training FLOPs a token, causal attention included
  double kv_b_tok;          // 16-bit bytes of keys and values a cached token
  double act_b_tok;         // bytes that training keeps a token on one device, flash attention, nothing recomputed
  bool given;               // the one that the others are like
} iso_shape_cost;
iso_shape_cost iso_shape_cost_of(const iso_layout_shape *s);

// Shapes of as many parameters as `like`, or with `by_flop` of as many training FLOPs a token, within a share `within`: widths at quarter
// octaves from 64 on, MLPs of 1 to 8 widths, and the depth that comes nearest; `like` is among them. Widest first. Heads are of 64 (128 above
// width 1024), 8 KV heads from width 4096 on when `like` groups its queries; the rest is as in `like`. *out is owned by the caller.
iso_status iso_shape_list(const iso_layout_shape *like, bool by_flop, double within, iso_shape_cost **out, int64_t *n, iso_err *err);
#endif
