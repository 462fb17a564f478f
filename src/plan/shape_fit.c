// Fits the shape law dimension by dimension (Alabdulmohsin et al. 2023, arXiv:2305.13035) and enumerates shapes.
#include "plan/shape_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/stat.h"
#include "plan/fit/fit_impl.h"

static const char *const DIM[ISO_SHAPE_DIMS][5] = {
    {"width", "d_model", "hidden", "hidden_size"}, {"depth", "layers", "n_layers", "num_layers"}, {"mlp", "d_ff", "ff", "mlp_dim"}};
const char *iso_shape_dim_name(iso_shape_dim d) { return (unsigned)d < ISO_SHAPE_DIMS ? DIM[d][0] : "?"; }

bool iso_shape_dim_find(const char *name, iso_shape_dim *out) {
  for (int d = 0; d < ISO_SHAPE_DIMS; d++)
    for (int i = 0; DIM[d][i]; i++)
      if (strcasecmp(name, DIM[d][i]) == 0) {
        *out = (iso_shape_dim)d;
        return true;
      }
  return false;
}

// ---- the law --------------------------------------------------------------------------------------------------------

// Parameters of law shape by name, so that their order is its own affair.
static double exponent(const double *p) {
  static const char *const NAME[] = {"a", "b", "c"};
  double v[3];
  for (int i = 0; i < 3; i++) v[i] = p[iso_law_param_find(&iso_law_shape, NAME[i])];
  return v[0] > 0 && v[1] > 0 ? v[2] / (v[0] + v[1]) : NAN;
}

static iso_status exponents(const iso_lawfit *f, double level, iso_fit_interval *out, iso_err *err) {
  double *v = malloc(sizeof *v * (size_t)(f->resamples + 1));
  int64_t used = 0;
  if (!v) return iso_fail(err, ISO_ENOMEM, "shape: no memory for %lld resamples", (long long)f->resamples);
  for (int64_t i = 0; i < f->resamples; i++) {
    double s = exponent(f->sample + i * f->law->n_params);
    if (!isnan(s)) v[used++] = s;
  }
  *out = iso_fit_bc_interval(v, used, exponent(f->p), level, f->stretch);
  free(v);
  return ISO_OK;
}

static iso_status fit_dim(iso_ctx *c, const iso_csv *t, const bool *use, const iso_shape_fit_opts *o, iso_shape_fit *f, iso_err *err) {
  static const char *const COLUMNS[] = {"dimension=value"};
  iso_law_data d = {0}, held = {0};
  iso_law_data_opts read = {.use = use, .columns = COLUMNS, .n_columns = 1, .objective = o->fit.objective};
  double x[ISO_LAW_INPUT_MAX];
  iso_lawfit_best_input b;
  f->there = true;
  iso_status st = iso_law_data_read(t, &iso_law_shape, &read, &d, &held, err);
  if (st == ISO_OK) {
    f->rows = (double)d.n;
    st = iso_lawfit_run(c, &d, &o->fit, &f->law, err);
  }
  iso_law_data_close(&d);
  iso_law_data_close(&held);
  if (st != ISO_OK) return st;
  ISO_TRY(exponents(&f->law, o->fit.level, &f->s, err));
  int k = iso_law_input_find(&iso_law_shape, "dimension");
  iso_law_absent(&iso_law_shape, x);
  x[iso_law_input_find(&iso_law_shape, "train_flop")] = o->flop;
  f->found = iso_lawfit_find_best(&f->law, x, k, o->most, o->fit.level, &b, &f->why) == ISO_OK;
  if (!f->found) return ISO_OK;
  f->best = b.at;
  f->error = b.value;
  return ISO_OK;
}

iso_status iso_shape_fits_run(iso_ctx *c, const iso_csv *t, const iso_shape_fit_opts *o, iso_shape_fits *out, iso_err *err) {
  int col, value, rows = 0;
  *out = (iso_shape_fits){.flop = o->flop};
  if (!(o->flop > 0 && o->flop < INFINITY)) return iso_fail(err, ISO_EINVAL, "shape: %g FLOP, expected a positive finite number", o->flop);
  ISO_TRY(iso_csv_need(t, "dimension", &col, err));
  ISO_TRY(iso_csv_need(t, "value", &value, err));
  bool *use = calloc((size_t)t->rows + 1, sizeof *use);
  if (!use) return iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld rows", t->what, (long long)t->rows);
  iso_status st = ISO_OK;
  for (int64_t i = 0; i < t->rows && st == ISO_OK; i++) {
    iso_shape_dim d;
    if (!iso_shape_dim_find(iso_csv_cell(t, i, col), &d))
      st = iso_fail(err, ISO_EFORMAT, "%s: line %lld: dimension \"%.40s\", expected width, depth or mlp", t->what, (long long)t->line[i],
                    iso_csv_cell(t, i, col));
  }
  for (int d = 0; d < ISO_SHAPE_DIMS && st == ISO_OK; d++) {
    int mine = 0;
    for (int64_t i = 0; i < t->rows; i++) {
      iso_shape_dim is;
      use[i] = iso_shape_dim_find(iso_csv_cell(t, i, col), &is) && (int)is == d;
      mine += use[i];
    }
    rows += mine;
    if (mine) st = fit_dim(c, t, use, o, &out->of[d], err);
    if (st != ISO_OK) st = iso_err_prefix(err, st, "%s of %s", DIM[d][0], t->what);
  }
  free(use);
  if (st == ISO_OK && !rows) st = iso_fail(err, ISO_EINVAL, "%s: no rows", t->what);
  if (st != ISO_OK) iso_shape_fits_close(out);
  return st;
}

void iso_shape_fits_close(iso_shape_fits *f) {
  for (int d = 0; d < ISO_SHAPE_DIMS; d++) iso_lawfit_close(&f->of[d].law);
  memset(f, 0, sizeof *f);
}

// Error above the best of dimension d at v, with parameters p; the best in closed form.
static double above(const iso_shape_fits *f, const double *p, double v) {
  double x[ISO_LAW_INPUT_MAX], y;
  int k = iso_law_input_find(&iso_law_shape, "dimension");
  iso_law_absent(&iso_law_shape, x);
  x[iso_law_input_find(&iso_law_shape, "train_flop")] = f->flop;
  x[k] = v;
  y = iso_law_shape.value(p, x, NULL);
  x[k] = iso_law_shape.best(p, x, k);
  return y - iso_law_shape.value(p, x, NULL);
}

double iso_shape_fits_excess(const iso_shape_fits *f, const iso_layout_shape *s) {
  const double at[ISO_SHAPE_DIMS] = {(double)s->width, (double)s->layers, (double)s->mlp};
  double sum = 0, x[ISO_LAW_INPUT_MAX];
  int n = 0, k = iso_law_input_find(&iso_law_shape, "dimension");
  iso_law_absent(&iso_law_shape, x);
  x[iso_law_input_find(&iso_law_shape, "train_flop")] = f->flop;
  for (int d = 0; d < ISO_SHAPE_DIMS; d++) {
    if (!f->of[d].found) continue;
    x[k] = at[d];
    sum += iso_law_shape.value(f->of[d].law.p, x, NULL) - f->of[d].error.mid;
    n++;
  }
  return n ? sum : NAN;
}

iso_status iso_shape_fits_excess_range(const iso_shape_fits *f, const iso_layout_shape *s, double level, iso_fit_interval *out, iso_err *err) {
  const double at[ISO_SHAPE_DIMS] = {(double)s->width, (double)s->layers, (double)s->mlp};
  int64_t n = INT64_MAX, m = 0;
  *out = (iso_fit_interval){.mid = iso_shape_fits_excess(f, s), .lo = NAN, .hi = NAN};
  for (int d = 0; d < ISO_SHAPE_DIMS; d++)
    if (f->of[d].found && f->of[d].law.resamples < n) n = f->of[d].law.resamples;
  if (isnan(out->mid) || n == INT64_MAX || n < 20) return ISO_OK;
  double *v = malloc((size_t)n * sizeof *v);
  if (!v) return iso_fail(err, ISO_ENOMEM, "shape law: no memory for %lld refits", (long long)n);
  // Dimensions are fitted to rows of their own, so that refit i of one goes with refit i of another.
  for (int64_t i = 0; i < n; i++) {
    v[m] = 0;
    for (int d = 0; d < ISO_SHAPE_DIMS; d++)
      if (f->of[d].found) v[m] += above(f, f->of[d].law.sample + i * iso_law_shape.n_params, at[d]);
    if (isfinite(v[m])) m++;
  }
  if (m >= 20) {
    out->lo = fmin(out->mid, iso_quantile(v, m, 0.5 * (1 - level)));
    out->hi = fmax(out->mid, iso_quantile(v, m, 0.5 * (1 + level)));
  }
  free(v);
  return ISO_OK;
}

// ---- the shapes -----------------------------------------------------------------------------------------------------

iso_shape_cost iso_shape_cost_of(const iso_layout_shape *s) {
  iso_layout_counts n;
  iso_layout_job job = iso_layout_job_default();
  iso_layout one = iso_layout_default();
  iso_layout_count(s, &n);
  job.shape = *s;
  job.batch = 1;
  job.flash = true;
  job.dropout = false;
  return (iso_shape_cost){.shape = *s,
                          .params = (double)n.params,
                          .flop_tok = iso_layout_model_flop(s, 1, ISO_LAYOUT_ATTN_CAUSAL) / (double)s->seq,
                          .kv_b_tok = 2.0 * (double)n.kv_per_tok,
                          .act_b_tok = (double)s->layers * iso_layout_act_layer_b(&job, &one) / (double)s->seq};
}

static bool same(const iso_layout_shape *a, const iso_layout_shape *b) {
  return a->layers == b->layers && a->width == b->width && a->mlp == b->mlp && a->heads == b->heads && a->kv_heads == b->kv_heads;
}

// Widths in whole heads, as the family has them; KV heads are grouped where those of `like` are.
static iso_layout_shape of_width(const iso_layout_shape *like, double w) {
  iso_layout_shape s = *like;
  s.head_dim = w <= 1024 ? 64 : 128;
  s.heads = (int64_t)fmax(1, round(w / (double)s.head_dim));
  if (s.heads >= 32) s.heads = (s.heads + 4) / 8 * 8;  // multiples that 8 KV heads divide
  s.width = s.heads * s.head_dim;
  s.kv_heads = like->kv_heads < like->heads && s.width >= 4096 ? 8 : s.heads;
  s.layers = 1;
  s.name[0] = 0;
  return s;
}

// The depth at which a block of this width and MLP comes nearest; 0: none.
static int64_t depth_for(iso_layout_shape s, bool by_flop, double target) {
  s.layers = 1;
  iso_shape_cost one = iso_shape_cost_of(&s);
  s.layers = 2;
  iso_shape_cost two = iso_shape_cost_of(&s);
  double first = by_flop ? one.flop_tok : one.params, more = by_flop ? two.flop_tok - one.flop_tok : two.params - one.params;
  double layers = 1 + (target - first) / more;
  return layers >= 0.5 && layers < 4096 ? (int64_t)fmax(1, round(layers)) : 0;
}

static int by_width(const void *a, const void *b) {
  const iso_layout_shape *x = &((const iso_shape_cost *)a)->shape, *y = &((const iso_shape_cost *)b)->shape;
  if (x->width != y->width) return x->width > y->width ? -1 : 1;
  if (x->mlp != y->mlp) return x->mlp > y->mlp ? -1 : 1;
  return (x->layers < y->layers) - (x->layers > y->layers);
}

iso_status iso_shape_list(const iso_layout_shape *like, bool by_flop, double within, iso_shape_cost **out, int64_t *n, iso_err *err) {
  static const double RATIO[] = {1, 4.0 / 3, 2, 8.0 / 3, 4, 16.0 / 3, 8};
  enum { QUARTERS = 44 };  // of octaves above width 64
  *out = NULL;
  *n = 0;
  ISO_TRY(iso_layout_shape_check(like, err));
  if (like->experts) return iso_fail(err, ISO_EUNSUP, "shapes: %s is a mixture of experts", like->name);
  if (like->kv_rank) return iso_fail(err, ISO_EUNSUP, "shapes: %s has latent attention", like->name);
  if (!(within > 0 && within <= 0.5)) return iso_fail(err, ISO_EINVAL, "shapes: within %g, expected above 0 and at most 0.5", within);
  iso_shape_cost *all = calloc(QUARTERS * ISO_COUNT(RATIO) + 1, sizeof *all);
  if (!all) return iso_fail(err, ISO_ENOMEM, "shapes: no memory");
  all[0] = iso_shape_cost_of(like);
  all[0].given = true;
  *n = 1;
  double target = by_flop ? all[0].flop_tok : all[0].params;
  for (int q = 0; q < QUARTERS; q++)
    for (size_t i = 0; i < ISO_COUNT(RATIO); i++) {
      iso_layout_shape s = of_width(like, 64 * exp2(q / 4.0));
      s.mlp = ((int64_t)(RATIO[i] * (double)s.width) + 63) / 64 * 64;
      s.layers = depth_for(s, by_flop, target);
      if (!s.layers) continue;
      iso_shape_cost c = iso_shape_cost_of(&s);
      if (fabs((by_flop ? c.flop_tok : c.params) / target - 1) > within) continue;
      // Narrow widths round to the same heads.
      bool seen = false;
      for (int64_t k = 0; k < *n; k++) seen = seen || same(&all[k].shape, &s);
      if (!seen) all[(*n)++] = c;
    }
  qsort(all, (size_t)*n, sizeof *all, by_width);
  *out = all;
  return ISO_OK;
}
