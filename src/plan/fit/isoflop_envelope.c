// Approach 1 of Hoffmann et al. 2022: the lower envelope of training curves, its steps, and the power law through them.
#include "plan/fit/isoflop_envelope.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/stat.h"
#include "plan/fit/akima.h"
#include "plan/fit/isoflop_impl.h"

enum { POINTS_MIN = 3, SIZES_MIN = 3, BINS_MAX = 100000, SPREAD_MIN = 20 };
#define SUBSET 0.8

iso_envelope_opts iso_envelope_opts_default(void) { return (iso_envelope_opts){.bins = 1500, .resamples = 100, .level = 0.90}; }

typedef struct row {
  double log_n, log_c, log_d, log_loss;
} row;

// All curves on the common grid of budgets; loss[s * bins + b] is the log loss of size s at budget b, +INFINITY where it was not trained.
typedef struct grid {
  int64_t sizes;
  int bins;
  double lo, step;      // log C of bin b is lo + b step
  double *log_n, *per;  // owned with loss, one block at log_n: log N and mean log C - log D of each size
  double *loss;
  bool *use;    // owned: sizes taking part
  int *winner;  // owned: bins
} grid;

static void close_grid(grid *g) {
  free(g->log_n);
  free(g->use);
  free(g->winner);
}

static int by_size(const void *a, const void *b) {
  const row *x = a, *y = b;
  if (x->log_n != y->log_n) return x->log_n < y->log_n ? -1 : 1;
  if (x->log_c != y->log_c) return x->log_c < y->log_c ? -1 : 1;
  return (x->log_loss > y->log_loss) - (x->log_loss < y->log_loss);
}

static iso_status sorted_rows(const iso_fit_data *d, row **out, iso_err *err) {
  for (int64_t i = 0; i < d->n; i++) {
    double c = iso_level_budget(d, i);
    if (!(d->params[i] > 0 && d->tokens[i] > 0 && d->loss[i] > 0 && c > 0 && d->params[i] < INFINITY && d->tokens[i] < INFINITY &&
          d->loss[i] < INFINITY && c < INFINITY))
      return iso_fail(err, ISO_EINVAL, "envelope: point %lld has params %g, tokens %g, FLOPs %g, loss %g, expected positive finite numbers",
                      (long long)i + 1, d->params[i], d->tokens[i], c, d->loss[i]);
  }
  row *r = malloc(sizeof *r * ((size_t)d->n + 1));
  if (!r) return iso_fail(err, ISO_ENOMEM, "envelope: no memory for %lld points", (long long)d->n);
  for (int64_t i = 0; i < d->n; i++) r[i] = (row){log(d->params[i]), log(iso_level_budget(d, i)), log(d->tokens[i]), log(d->loss[i])};
  qsort(r, (size_t)d->n, sizeof *r, by_size);
  *out = r;
  return ISO_OK;
}

// How many of the n rows from r on have the first one's size.
static int64_t same_size(const row *r, int64_t n) {
  int64_t k = 1;
  while (k < n && r[k].log_n - r[0].log_n < 1e-9) k++;
  return k;
}

// Distinct budgets among the k rows of one size into x, y; the lowest loss of equal ones comes first.
static int64_t curve(const row *r, int64_t k, double *x, double *y, double *per) {
  int64_t m = 0;
  *per = 0;
  for (int64_t i = 0; i < k; i++) {
    *per += (r[i].log_c - r[i].log_d) / (double)k;
    if (m && r[i].log_c - x[m - 1] < 1e-9) continue;
    x[m] = r[i].log_c;
    y[m++] = r[i].log_loss;
  }
  return m;
}

static void put_curve(grid *g, const double *x, const double *y, double *slope, int64_t m) {
  double *loss = g->loss + g->sizes * g->bins;
  iso_akima_slopes(x, y, m, slope);
  for (int b = 0; b < g->bins; b++) {
    double c = g->lo + b * g->step;
    loss[b] = c < x[0] - 1e-9 || c > x[m - 1] + 1e-9 ? INFINITY : iso_akima_eval(x, y, slope, m, fmin(fmax(c, x[0]), x[m - 1]));
  }
}

static iso_status open_grid(const row *r, int64_t n, int bins, grid *g, int64_t *short_sizes, iso_err *err) {
  double hi = -INFINITY, *x = malloc(sizeof *x * (3 * (size_t)n + 1));
  int64_t most = 0;
  *g = (grid){.bins = bins, .lo = INFINITY};
  *short_sizes = 0;
  for (int64_t i = 0; i < n; i += same_size(r + i, n - i)) most++;
  for (int64_t i = 0; i < n; i++) {
    g->lo = fmin(g->lo, r[i].log_c);
    hi = fmax(hi, r[i].log_c);
  }
  g->step = (hi - g->lo) / (bins - 1);
  g->log_n = malloc(sizeof(double) * (size_t)(most * (2 + bins) + 1));
  g->use = malloc((size_t)most + 1);
  g->winner = malloc(sizeof *g->winner * (size_t)bins);
  if (!x || !g->log_n || !g->use || !g->winner) {
    free(x);
    return iso_fail(err, ISO_ENOMEM, "envelope: no memory for %lld sizes at %d budgets", (long long)most, bins);
  }
  g->per = g->log_n + most;
  g->loss = g->per + most;
  for (int64_t i = 0, k = 0; i < n; i += k) {
    double per;
    k = same_size(r + i, n - i);
    int64_t m = curve(r + i, k, x, x + n, &per);
    if (m < POINTS_MIN) {
      ++*short_sizes;
      continue;
    }
    put_curve(g, x, x + n, x + 2 * n, m);
    g->log_n[g->sizes] = r[i].log_n;
    g->per[g->sizes++] = per;
  }
  free(x);
  return ISO_OK;
}

// The lowest curve at every budget, of the sizes in use; -1 where there is none.
static void find_winners(grid *g) {
  for (int b = 0; b < g->bins; b++) {
    double best = INFINITY;
    g->winner[b] = -1;
    for (int64_t s = 0; s < g->sizes; s++)
      if (g->use[s] && g->loss[s * g->bins + b] < best) {
        best = g->loss[s * g->bins + b];
        g->winner[b] = (int)s;
      }
  }
}

static int64_t neighbour(const grid *g, int64_t s, int step) {
  for (s += step; s >= 0 && s < g->sizes; s += step)
    if (g->use[s]) return s;
  return -1;
}

// The budgets that size s wins: how many and their mean log C. False when the stretch does not count.
static bool stretch(const grid *g, int64_t s, int *count, double *mid, int *first, int *last) {
  int64_t below = neighbour(g, s, -1), above = neighbour(g, s, 1);
  *count = 0;
  *mid = 0;
  if (below < 0 || above < 0) return false;
  for (int b = 0; b < g->bins; b++) {
    if (g->winner[b] != s) continue;
    if (b == 0 || b == g->bins - 1) return false;
    if (!(g->loss[below * g->bins + b] < INFINITY && g->loss[above * g->bins + b] < INFINITY)) return false;
    if (!*count) *first = b;
    *last = b;
    ++*count;
    *mid += g->lo + b * g->step;
  }
  if (*count) *mid /= *count;
  return *count > 0;
}

typedef struct sums {
  double w, x, y, xx, xy, yy;
} sums;

static void add(sums *s, double w, double x, double y) {
  s->w += w;
  s->x += w * x;
  s->y += w * y;
  s->xx += w * x * x;
  s->xy += w * x * y;
  s->yy += w * y * y;
}

// The line through the steps of the sizes in use; a NaN slope below two.
static void power_law(grid *g, iso_envelope *m) {
  sums sn = {0}, sd = {0};
  double origin = g->lo + 0.5 * g->step * g->bins;
  m->steps = 0;
  m->flop_lo = m->n_lo = INFINITY;
  m->flop_hi = m->n_hi = 0;
  m->n_coef = m->r2 = NAN;
  m->n_exponent = m->d_exponent = (iso_fit_interval){NAN, NAN, NAN};
  find_winners(g);
  for (int64_t s = 0; s < g->sizes; s++) {
    int count, first = 0, last = 0;
    double mid;
    if (!g->use[s] || !stretch(g, s, &count, &mid, &first, &last)) continue;
    m->steps++;
    m->flop_lo = fmin(m->flop_lo, exp(g->lo + first * g->step));
    m->flop_hi = fmax(m->flop_hi, exp(g->lo + last * g->step));
    m->n_lo = fmin(m->n_lo, exp(g->log_n[s]));
    m->n_hi = fmax(m->n_hi, exp(g->log_n[s]));
    add(&sn, count, mid - origin, g->log_n[s]);
    add(&sd, count, mid - origin, mid - g->per[s]);
  }
  double var = sn.xx - sn.x * sn.x / sn.w;
  if (m->steps < 2 || !(var > 0)) return;
  double cov = sn.xy - sn.x * sn.y / sn.w, all = sn.yy - sn.y * sn.y / sn.w;
  m->n_exponent.mid = cov / var;
  m->n_coef = exp(sn.y / sn.w - cov / var * (sn.x / sn.w + origin));
  m->r2 = all > 0 ? cov * cov / (var * all) : 1;
  m->d_exponent.mid = (sd.xy - sd.x * sd.y / sd.w) / var;
}

// A random subset of 80% of the sizes, at least three, by selection sampling.
static void draw(grid *g, uint64_t seed, uint64_t round) {
  int64_t want = (int64_t)ceil(SUBSET * (double)g->sizes), left = g->sizes;
  if (want < SIZES_MIN) want = SIZES_MIN;
  for (int64_t s = 0; s < g->sizes; s++, left--) {
    g->use[s] = iso_rng_below(seed, ISO_RNG_BOOTSTRAP, round, (uint64_t)s, left) < want;
    want -= g->use[s];
  }
}

static iso_status spread(grid *g, const iso_envelope_opts *o, iso_envelope *out, iso_err *err) {
  double *v = malloc(sizeof *v * (2 * (size_t)o->resamples + 1));
  int64_t k = 0;
  if (!v) return iso_fail(err, ISO_ENOMEM, "envelope: no memory for %lld resamples", (long long)o->resamples);
  for (int64_t i = 0; i < o->resamples; i++) {
    iso_envelope m;
    draw(g, o->seed, (uint64_t)i);
    power_law(g, &m);
    if (isnan(m.n_exponent.mid)) continue;
    v[k] = m.n_exponent.mid;
    v[o->resamples + k++] = m.d_exponent.mid;
  }
  out->resamples = k;
  for (int tokens = 0; k >= SPREAD_MIN && tokens < 2; tokens++) {
    iso_fit_interval *e = tokens ? &out->d_exponent : &out->n_exponent;
    e->lo = iso_quantile(v + tokens * o->resamples, k, (1 - o->level) / 2);
    e->hi = iso_quantile(v + tokens * o->resamples, k, (1 + o->level) / 2);
  }
  free(v);
  return ISO_OK;
}

iso_status iso_envelope_fit(const iso_fit_data *d, const iso_envelope_opts *o, iso_envelope *out, iso_err *err) {
  iso_status st = ISO_OK;
  row *r = NULL;
  grid g = {0};
  int64_t short_sizes = 0;
  memset(out, 0, sizeof *out);
  if (!(o->level > 0 && o->level < 1)) return iso_fail(err, ISO_EINVAL, "envelope: level %g, expected between 0 and 1", o->level);
  if (o->bins < 10 || o->bins > BINS_MAX) return iso_fail(err, ISO_EINVAL, "envelope: %d budgets, expected 10 to %d", o->bins, BINS_MAX);
  if (o->resamples < 0 || o->resamples > 1000000)
    return iso_fail(err, ISO_EINVAL, "envelope: %lld resamples, expected 0 to 1000000", (long long)o->resamples);
  ISO_TRY(sorted_rows(d, &r, err));
  ISO_TRYG(open_grid(r, d->n, o->bins, &g, &short_sizes, err));
  if (g.sizes < SIZES_MIN) {
    st = iso_fail(err, ISO_EINVAL, "envelope: %lld sizes have %d token counts or more, expected %d sizes", (long long)g.sizes, POINTS_MIN, SIZES_MIN);
    iso_hint(err, st, "the method needs the loss of each size along its training; isoflop and parabola take runs at equal FLOPs");
    goto done;
  }
  for (int64_t s = 0; s < g.sizes; s++) g.use[s] = true;
  power_law(&g, out);
  out->sizes = g.sizes;
  out->short_sizes = short_sizes;
  out->level = o->level;
  if (o->resamples) ISO_TRYG(spread(&g, o, out, err));
done:
  free(r);
  close_grid(&g);
  return st;
}

static json_t *exponent_json(const iso_fit_interval *v) { return iso_json_range(v->mid, v->lo, v->hi, "too few curves for one"); }

json_t *iso_envelope_json(const iso_envelope *m) {
  bool any = m->steps > 0;
  return json_pack(
      "{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o}", "sizes", (json_int_t)m->sizes, "sizes_short", (json_int_t)m->short_sizes, "steps",
      (json_int_t)m->steps, "train_flop", any ? json_pack("[f,f]", m->flop_lo, m->flop_hi) : json_null(), "step_params",
      any ? json_pack("[f,f]", m->n_lo, m->n_hi) : json_null(), "n_exponent", exponent_json(&m->n_exponent), "n_coef", iso_json_num(m->n_coef),
      "d_exponent", exponent_json(&m->d_exponent), "r2", iso_json_num(m->r2), "resamples", (json_int_t)m->resamples, "level", iso_json_num(m->level));
}
