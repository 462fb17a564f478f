// Fronts, orders and their agreement by counting pairs (Tay et al. 2022, Scale Efficiently, arXiv:2109.10686, compare shapes in this way).
#include "plan/shape_rank.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/stat.h"

const char *iso_shape_axis_name(iso_shape_axis a) { return a == ISO_SHAPE_PARAMS ? "params" : a == ISO_SHAPE_FLOP ? "flops" : "speed"; }

// ---- reading --------------------------------------------------------------------------------------------------------

// The first of several names that the table has; -1: none.
static iso_status find(const iso_csv *t, const char *const *names, int *col, iso_err *err) {
  *col = -1;
  for (int i = 0; names[i] && *col < 0; i++) ISO_TRY(iso_csv_find_like(t, names[i], col, err));
  return ISO_OK;
}

enum { PARAMS, FLOP, UP, DOWN, SPEED, NAME, COLS };
static const char *const COL[COLS][8] = {
    [PARAMS] = {"params", "parameters", "n_params", "num_params"},          [FLOP] = {"flops", "flop", "train_flops", "train_flop", "flop_per_tok"},
    [UP] = {"upstream", "loss", "upstream_loss", "val_loss", "final_loss"}, [DOWN] = {"downstream", "score", "downstream_score", "accuracy"},
    [SPEED] = {"speed", "steps_per_s", "tokens_per_s", "tok_per_s"},        [NAME] = {"name", "model", "shape", "label"}};

static iso_status read_row(const iso_csv *t, int64_t row, const int *col, iso_shape_run *r, bool *keep, iso_err *err) {
  *r = (iso_shape_run){.speed = NAN, .line = t->line[row]};
  ISO_TRY(iso_csv_number(t, row, col[UP], "upstream", &r->upstream, err));
  ISO_TRY(iso_csv_number(t, row, col[DOWN], "downstream", &r->downstream, err));
  *keep = !isnan(r->upstream) && !isnan(r->downstream);
  if (!*keep) return ISO_OK;
  ISO_TRY(iso_csv_positive(t, row, col[PARAMS], "params", &r->params, err));
  ISO_TRY(iso_csv_positive(t, row, col[FLOP], "flops", &r->flop, err));
  if (col[SPEED] >= 0 && iso_csv_cell(t, row, col[SPEED])[0]) ISO_TRY(iso_csv_positive(t, row, col[SPEED], "speed", &r->speed, err));
  if (col[NAME] >= 0)
    (void)snprintf(r->name, sizeof r->name, "%.47s", iso_csv_cell(t, row, col[NAME]));
  else
    (void)snprintf(r->name, sizeof r->name, "line %lld", (long long)r->line);
  return ISO_OK;
}

iso_status iso_shape_runs_read(const iso_csv *t, iso_shape_run **out, int64_t *n, iso_err *err) {
  int col[COLS];
  *out = NULL;
  *n = 0;
  for (int c = 0; c < COLS; c++) {
    ISO_TRY(find(t, COL[c], &col[c], err));
    if (col[c] >= 0 || c == SPEED || c == NAME) continue;
    iso_fail(err, ISO_EFORMAT, "%s: no column %s", t->what, COL[c][0]);
    return iso_hint(err, ISO_EFORMAT, "needed are params, flops, upstream (or loss) and downstream (or score); speed and name if there are any");
  }
  iso_shape_run *r = calloc((size_t)t->rows + 1, sizeof *r);
  if (!r) return iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld rows", t->what, (long long)t->rows);
  for (int64_t i = 0; i < t->rows; i++) {
    bool keep;
    iso_status st = read_row(t, i, col, &r[*n], &keep, err);
    if (st != ISO_OK) {
      free(r);
      return st;
    }
    *n += keep;
  }
  *out = r;
  if (*n >= 2) return ISO_OK;
  free(r);
  *out = NULL;
  return iso_fail(err, ISO_EINVAL, "%s: %lld rows with a loss and a score, expected at least 2", t->what, (long long)*n);
}

// ---- fronts ---------------------------------------------------------------------------------------------------------

static double quality(const iso_shape_run *r, bool downstream) { return downstream ? r->downstream : -r->upstream; }

// What a run takes along an axis: less is better.
static double cost(const iso_shape_run *r, iso_shape_axis a) {
  return a == ISO_SHAPE_PARAMS ? r->params : a == ISO_SHAPE_FLOP ? r->flop : 1 / r->speed;
}

static bool beats(const iso_shape_run *j, const iso_shape_run *i, iso_shape_axis a, bool downstream, double within) {
  double qj = quality(j, downstream), qi = quality(i, downstream), cj = cost(j, a), ci = cost(i, a);
  if (!(cj <= ci * (1 + within))) return false;
  return qj > qi || (qj == qi && cj * (1 + within) < ci);
}

static int64_t best_rival(const iso_shape_run *r, int64_t n, int64_t i, iso_shape_axis a, bool downstream, double within) {
  int64_t best = -1;
  for (int64_t j = 0; j < n; j++) {
    if (j == i || !beats(&r[j], &r[i], a, downstream, within)) continue;
    double q = quality(&r[j], downstream), b = best >= 0 ? quality(&r[best], downstream) : -INFINITY;
    if (q > b || (q == b && cost(&r[j], a) < cost(&r[best], a))) best = j;
  }
  return best;
}

// ---- agreement ------------------------------------------------------------------------------------------------------

static bool equal(double a, double b, double within) { return fmax(a, b) <= fmin(a, b) * (1 + within); }

// Over pairs of the n runs that idx names; copies of one run make no pair.
static iso_shape_tau tau_of(const iso_shape_run *r, const int64_t *idx, int64_t n, int kind, double within) {
  iso_shape_tau t = {.tau = NAN, .lo = NAN, .hi = NAN};
  int64_t up_differs = 0, down_differs = 0;
  for (int64_t a = 0; a < n; a++)
    for (int64_t b = 0; b < a; b++) {
      const iso_shape_run *x = &r[idx[a]], *y = &r[idx[b]];
      if (x == y) continue;
      if (kind == ISO_SHAPE_TAU_PARAMS && !equal(x->params, y->params, within)) continue;
      if (kind == ISO_SHAPE_TAU_FLOP && !equal(x->flop, y->flop, within)) continue;
      double up = y->upstream - x->upstream, down = x->downstream - y->downstream;
      t.pairs++;
      up_differs += up != 0;
      down_differs += down != 0;
      t.concordant += up * down > 0;
      t.discordant += up * down < 0;
    }
  if (up_differs && down_differs) t.tau = (double)(t.concordant - t.discordant) / sqrt((double)up_differs * (double)down_differs);
  return t;
}

static iso_status agreement(const iso_shape_run *r, int64_t n, const iso_shape_rank_opts *o, iso_shape_rank *out, iso_err *err) {
  int64_t *idx = malloc((size_t)n * sizeof *idx);
  double *v = malloc((size_t)(o->resamples + 1) * sizeof *v);
  if (!idx || !v) {
    free(idx);
    free(v);
    return iso_fail(err, ISO_ENOMEM, "ranking: no memory for %lld resamples", (long long)o->resamples);
  }
  for (int k = 0; k < ISO_SHAPE_TAUS; k++) {
    for (int64_t i = 0; i < n; i++) idx[i] = i;
    iso_shape_tau t = tau_of(r, idx, n, k, o->within);
    int64_t used = 0;
    for (int64_t s = 0; s < o->resamples; s++) {
      for (int64_t i = 0; i < n; i++) idx[i] = iso_rng_below(o->seed, ISO_RNG_BOOTSTRAP, (uint64_t)s, (uint64_t)i, n);
      double one = tau_of(r, idx, n, k, o->within).tau;
      if (!isnan(one)) v[used++] = one;
    }
    if (used >= 20) {
      t.lo = iso_quantile(v, used, (1 - o->level) / 2);
      t.hi = iso_quantile(v, used, (1 + o->level) / 2);
    }
    // Runs that agree in every pair agree in every resample: that says nothing about the next run.
    if (!(t.lo < t.hi)) t.lo = t.hi = NAN;
    out->tau[k] = t;
  }
  free(idx);
  free(v);
  return ISO_OK;
}

static int by_score(const void *a, const void *b) {
  const iso_shape_clash *x = a, *y = b;
  if (x->d_score != y->d_score) return x->d_score > y->d_score ? -1 : 1;
  return x->up != y->up ? (x->up > y->up) - (x->up < y->up) : (x->down > y->down) - (x->down < y->down);
}

static iso_status clashes(const iso_shape_run *r, int64_t n, double within, iso_shape_rank *out, iso_err *err) {
  int64_t room = 0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      iso_shape_clash c = {.up = i, .down = j, .d_loss = r[j].upstream - r[i].upstream, .d_score = r[j].downstream - r[i].downstream};
      c.params = equal(r[i].params, r[j].params, within);
      c.flop = equal(r[i].flop, r[j].flop, within);
      if (!(c.d_loss > 0 && c.d_score > 0) || !(c.params || c.flop)) continue;
      if (out->n_clash == room) {
        room = room ? 2 * room : 64;
        iso_shape_clash *grown = realloc(out->clash, (size_t)room * sizeof *grown);
        if (!grown) return iso_fail(err, ISO_ENOMEM, "ranking: no memory for %lld pairs", (long long)room);
        out->clash = grown;
      }
      out->clash[out->n_clash++] = c;
    }
  if (out->n_clash) qsort(out->clash, (size_t)out->n_clash, sizeof *out->clash, by_score);
  return ISO_OK;
}

// ---- all of it ------------------------------------------------------------------------------------------------------

iso_shape_rank_opts iso_shape_rank_opts_default(void) { return (iso_shape_rank_opts){.within = 0.1, .resamples = 1000, .level = 0.9}; }

static iso_status check(int64_t n, const iso_shape_rank_opts *o, iso_err *err) {
  if (n < 2 || n > 20000) return iso_fail(err, ISO_EINVAL, "ranking: %lld runs, expected 2 to 20000", (long long)n);
  if (!(o->within >= 0 && o->within <= 1)) return iso_fail(err, ISO_EINVAL, "ranking: equal within %g, expected 0 to 1", o->within);
  if (o->resamples < 0 || o->resamples > 100000)
    return iso_fail(err, ISO_EINVAL, "ranking: %lld resamples, expected 0 to 100000", (long long)o->resamples);
  if (!(o->level > 0 && o->level < 1)) return iso_fail(err, ISO_EINVAL, "ranking: level %g, expected between 0 and 1", o->level);
  return ISO_OK;
}

static void fronts(const iso_shape_run *r, int64_t n, const iso_shape_rank_opts *o, iso_shape_rank *out) {
  for (int64_t i = 0; i < n; i++) {
    int64_t at = i;  // insertion: better ones, and of equals the smaller, stand before
    for (; at > 0; at--) {
      const iso_shape_run *p = &r[out->order[at - 1]];
      double a = quality(p, o->downstream), b = quality(&r[i], o->downstream);
      if (a > b || (a == b && p->params <= r[i].params)) break;
      out->order[at] = out->order[at - 1];
    }
    out->order[at] = i;
    for (int a = 0; a < ISO_SHAPE_AXES; a++) {
      bool known = !isnan(cost(&r[i], (iso_shape_axis)a));
      out->beaten_by[i][a] = known ? best_rival(r, n, i, (iso_shape_axis)a, o->downstream, o->within) : -1;
      out->other_front[i][a] = known && best_rival(r, n, i, (iso_shape_axis)a, !o->downstream, o->within) < 0;
    }
  }
}

iso_status iso_shape_rank_run(const iso_shape_run *r, int64_t n, const iso_shape_rank_opts *o, iso_shape_rank *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  ISO_TRY(check(n, o, err));
  out->n = n;
  out->order = calloc((size_t)n, sizeof *out->order);
  out->beaten_by = calloc((size_t)n, sizeof *out->beaten_by);
  out->other_front = calloc((size_t)n, sizeof *out->other_front);
  iso_status st =
      out->order && out->beaten_by && out->other_front ? ISO_OK : iso_fail(err, ISO_ENOMEM, "ranking: no memory for %lld runs", (long long)n);
  if (st == ISO_OK) fronts(r, n, o, out);
  if (st == ISO_OK) st = agreement(r, n, o, out, err);
  if (st == ISO_OK) st = clashes(r, n, o->within, out, err);
  if (st != ISO_OK) iso_shape_rank_close(out);
  return st;
}

void iso_shape_rank_close(iso_shape_rank *k) {
  free(k->order);
  free(k->beaten_by);
  free(k->other_front);
  free(k->clash);
  memset(k, 0, sizeof *k);
}
