// Branch and bound for the fleet's integer program, over a dense dual simplex with bounded variables.
#include "plan/serve/fleet_ip.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Rows: one per bucket (its shares add up to 1), then one per type (load - B + slack = 0). Columns: x_ij (bucket major), B_j, slack_j.
// Basic variables are b_r - sum_q t[r][q] x_q over nonbasic q. The start is optimal: every bucket on its cheapest type, B_j = load.
typedef struct lp {
  int rows, cols;
  double *t;                // owned: rows x cols
  double *lo, *hi, *value;  // owned: by column; value of nonbasic ones is a bound
  double *d;                // owned: reduced costs
  int *basic;               // owned: column of each row
  bool *is_basic;           // owned
} lp;

typedef struct search {
  const iso_fleet_ip *p;
  iso_fleet_answer *best;
  int64_t limit;
  int deepest;
  bool stopped, no_memory;
  double root_bound;
} search;

enum { DEPTH_MAX = 600, PIVOTS_MAX = 5000 };
static const double FEASIBLE = 1e-9, WHOLE = 1e-6;

static int col_b(const iso_fleet_ip *p, int j) { return p->buckets * p->types + j; }
static int col_slack(const iso_fleet_ip *p, int j) { return p->buckets * p->types + p->types + j; }

static void lp_close(lp *l) {
  free(l->t);
  free(l->lo);
  free(l->basic);
  free(l->is_basic);
  memset(l, 0, sizeof *l);
}

static bool lp_alloc(lp *l, int rows, int cols) {
  size_t r = (size_t)rows, c = (size_t)cols;
  *l = (lp){.rows = rows,
            .cols = cols,
            .t = malloc(r * c * sizeof *l->t),
            .lo = malloc(4 * c * sizeof *l->lo),
            .basic = malloc(r * sizeof *l->basic),
            .is_basic = malloc(c * sizeof *l->is_basic)};
  if (!l->t || !l->lo || !l->basic || !l->is_basic) {
    lp_close(l);
    return false;
  }
  l->hi = l->lo + c;
  l->value = l->lo + 2 * c;
  l->d = l->lo + 3 * c;
  return true;
}

static bool lp_copy(const lp *from, lp *to) {
  if (!lp_alloc(to, from->rows, from->cols)) return false;
  size_t r = (size_t)from->rows, c = (size_t)from->cols;
  memcpy(to->t, from->t, r * c * sizeof *to->t);
  memcpy(to->lo, from->lo, 4 * c * sizeof *to->lo);
  memcpy(to->basic, from->basic, r * sizeof *to->basic);
  memcpy(to->is_basic, from->is_basic, c * sizeof *to->is_basic);
  return true;
}

static double load_of(const iso_fleet_ip *p, int i, int j) { return p->load[i * p->types + j]; }

static int cheapest(const iso_fleet_ip *p, int i) {
  int best = -1;
  for (int j = 0; j < p->types; j++)
    if (load_of(p, i, j) < INFINITY && (best < 0 || p->cost[j] * load_of(p, i, j) < p->cost[best] * load_of(p, i, best))) best = j;
  return best;
}

// The most devices of a type that can be of use.
static double count_cap(const iso_fleet_ip *p, int j) {
  double sum = 0;
  for (int i = 0; i < p->buckets; i++)
    if (load_of(p, i, j) < INFINITY) sum += load_of(p, i, j);
  double cap = ceil(sum + 1e-6);
  return p->most && p->most[j] >= 0 ? fmin(cap, (double)p->most[j]) : cap;
}

static void lp_start(lp *l, const iso_fleet_ip *p) {
  int types = p->types, nb = p->buckets;
  memset(l->t, 0, (size_t)l->rows * (size_t)l->cols * sizeof *l->t);
  for (int c = 0; c < l->cols; c++) {
    l->lo[c] = l->value[c] = l->d[c] = 0;
    l->hi[c] = INFINITY;
    l->is_basic[c] = false;
  }
  for (int j = 0; j < types; j++) {
    int row = nb + j, b = col_b(p, j);
    l->hi[b] = count_cap(p, j);
    l->basic[row] = b;
    l->is_basic[b] = true;
    l->t[row * l->cols + col_slack(p, j)] = -1;
    l->d[col_slack(p, j)] = p->cost[j];
  }
  for (int i = 0; i < nb; i++) {
    int best = cheapest(p, i), home = i * types + best;
    double base = load_of(p, i, best);
    l->basic[i] = home;
    l->is_basic[home] = true;
    l->value[home] = 1;
    l->hi[home] = 1;
    l->value[col_b(p, best)] += base;
    for (int j = 0; j < types; j++) {
      int c = i * types + j;
      if (j == best) continue;
      double load = load_of(p, i, j);
      l->hi[c] = load < INFINITY ? 1 : 0;
      if (!(load < INFINITY)) load = 0;
      l->t[i * l->cols + c] = 1;
      l->t[(nb + j) * l->cols + c] -= load;
      l->t[(nb + best) * l->cols + c] += base;
      l->d[c] = p->cost[j] * load - p->cost[best] * base;
      if (l->hi[c] == 0) l->d[c] = 0;
    }
  }
}

// Moves a bound; a nonbasic variable that stood on it moves along.
static void lp_bound(lp *l, int col, double lo, double hi) {
  l->lo[col] = lo;
  l->hi[col] = hi;
  if (l->is_basic[col]) return;
  double v = fmin(fmax(l->value[col], lo), hi), step = v - l->value[col];
  if (step == 0) return;
  l->value[col] = v;
  for (int r = 0; r < l->rows; r++) l->value[l->basic[r]] -= l->t[r * l->cols + col] * step;
}

static void pivot(lp *l, int row, int col) {
  double *pr = l->t + (size_t)row * (size_t)l->cols, inv = 1 / pr[col];
  int out = l->basic[row];
  for (int c = 0; c < l->cols; c++) pr[c] *= inv;
  pr[out] = inv;
  pr[col] = 0;
  for (int r = 0; r < l->rows; r++) {
    double *tr = l->t + (size_t)r * (size_t)l->cols, f = tr[col];
    if (r == row || f == 0) continue;
    for (int c = 0; c < l->cols; c++) tr[c] -= f * pr[c];
    tr[col] = 0;
  }
  double f = l->d[col];
  for (int c = 0; c < l->cols; c++) l->d[c] -= f * pr[c];
  l->d[col] = 0;
  l->basic[row] = col;
  l->is_basic[col] = true;
  l->is_basic[out] = false;
}

// The basic variable farthest outside its bounds, or of those outside the one with the lowest column (Bland's rule, which cannot cycle); or -1.
static int leaving(const lp *l, bool bland, bool *low) {
  int worst = -1;
  double most = FEASIBLE;
  for (int r = 0; r < l->rows; r++) {
    int c = l->basic[r];
    double under = l->lo[c] - l->value[c], over = l->value[c] - l->hi[c], out = fmax(under, over);
    if (!(out > FEASIBLE) || (worst >= 0 && (bland ? c > l->basic[worst] : out <= most))) continue;
    most = out;
    worst = r;
    *low = under > over;
  }
  return worst;
}

// The column to enter for a row that must rise (low) or fall: least |d / t| among those that can move it; on ties larger |t|, or with Bland's
// rule the lowest column.
static int entering(const lp *l, int row, bool bland, bool low) {
  const double *t = l->t + (size_t)row * (size_t)l->cols;
  int best = -1;
  double ratio = INFINITY;
  for (int c = 0; c < l->cols; c++) {
    if (l->is_basic[c] || l->hi[c] - l->lo[c] <= 0 || fabs(t[c]) < 1e-9) continue;
    bool at_low = l->value[c] <= l->lo[c];
    // x_row = b - t x_c: it rises when x_c rises and t < 0, or x_c falls and t > 0.
    if ((t[c] < 0) != (at_low == low)) continue;
    double q = fabs(l->d[c] / t[c]);
    if (q < ratio - 1e-12 || (!bland && q <= ratio + 1e-12 && best >= 0 && fabs(t[c]) > fabs(t[best]))) {
      ratio = fmin(ratio, q);
      best = c;
    }
  }
  return best;
}

// Dual simplex to primal feasibility. False when there is no solution, or when it does not settle (then *stuck).
static bool lp_solve(lp *l, bool *stuck) {
  *stuck = false;
  for (int k = 0; k < PIVOTS_MAX; k++) {
    bool low = false, bland = k > 4 * l->rows;
    int row = leaving(l, bland, &low);
    if (row < 0) return true;
    int col = entering(l, row, bland, low);
    if (col < 0) return false;
    int out = l->basic[row];
    double target = low ? l->lo[out] : l->hi[out], step = (l->value[out] - target) / l->t[(size_t)row * (size_t)l->cols + (size_t)col];
    for (int r = 0; r < l->rows; r++) l->value[l->basic[r]] -= l->t[(size_t)r * (size_t)l->cols + (size_t)col] * step;
    l->value[out] = target;
    l->value[col] += step;
    pivot(l, row, col);
  }
  *stuck = true;
  return true;
}

// Least sum_j mu_j load_ij x_j over the bucket's shares within their bounds.
static double bucket_price(const iso_fleet_ip *p, const lp *l, int i, const double *mu) {
  double left = 1, sum = 0, done[ISO_FLEET_TYPES_MAX] = {0};
  for (int j = 0; j < p->types; j++) {
    double lo = l->lo[i * p->types + j];
    if (lo > 0) sum += mu[j] * load_of(p, i, j) * lo;
    left -= lo;
  }
  while (left > 1e-15) {
    int best = -1;
    for (int j = 0; j < p->types; j++) {
      if (done[j] > 0 || !(l->hi[i * p->types + j] > l->lo[i * p->types + j])) continue;
      if (best < 0 || mu[j] * load_of(p, i, j) < mu[best] * load_of(p, i, best)) best = j;
    }
    if (best < 0) return left > 1e-9 ? INFINITY : sum;  // the bounds leave no way to deal the bucket out
    double take = fmin(left, l->hi[i * p->types + best] - l->lo[i * p->types + best]);
    sum += mu[best] * load_of(p, i, best) * take;
    left -= take;
    done[best] = 1;
  }
  return sum;
}

// The Lagrangian of the capacity rows at the duals: a lower bound for any mu >= 0.
static double safe_bound(const iso_fleet_ip *p, const lp *l, double *price) {
  double mu[ISO_FLEET_TYPES_MAX], sum = 0;
  for (int j = 0; j < p->types; j++) {
    mu[j] = l->is_basic[col_slack(p, j)] ? 0 : fmax(0, l->d[col_slack(p, j)]);
    double rest = p->cost[j] - mu[j], lo = ceil(l->lo[col_b(p, j)] - WHOLE), hi = floor(l->hi[col_b(p, j)] + WHOLE);
    sum += rest * (rest >= 0 ? lo : hi);
  }
  for (int i = 0; i < p->buckets; i++) {
    double v = bucket_price(p, l, i, mu);
    if (price) price[i] = v;
    sum += v;
  }
  return sum;
}

// Takes shares (bucket major) as an answer when they are better than the best so far: counts are the loads, rounded up.
static void offer(search *s, const double *x) {
  const iso_fleet_ip *p = s->p;
  double used[ISO_FLEET_TYPES_MAX] = {0}, cost = 0;
  int64_t count[ISO_FLEET_TYPES_MAX];
  for (int i = 0; i < p->buckets; i++)
    for (int j = 0; j < p->types; j++)
      if (x[i * p->types + j] > 0) used[j] += load_of(p, i, j) * x[i * p->types + j];
  for (int j = 0; j < p->types; j++) {
    count[j] = (int64_t)ceil(used[j] - 1e-7);
    if (p->most && p->most[j] >= 0 && count[j] > p->most[j]) return;
    cost += p->cost[j] * (double)count[j];
  }
  if (!(cost < s->best->cost - 1e-12 * cost)) return;
  s->best->cost = cost;
  memcpy(s->best->count, count, sizeof count);
  memcpy(s->best->used, used, sizeof used);
  for (int i = 0; i < p->buckets; i++)
    for (int j = 0; j < p->types; j++) s->best->share[i][j] = fmax(0, x[i * p->types + j]);
}

// Rounds a bucket's shares to slices by largest remainder.
static void to_slices(const iso_fleet_ip *p, const double *x, double *out) {
  double part[ISO_FLEET_TYPES_MAX], left = p->slices;
  for (int j = 0; j < p->types; j++) {
    double n = fmax(0, x[j]) * p->slices;
    out[j] = floor(n + WHOLE);
    part[j] = n - out[j];
    left -= out[j];
  }
  for (; left > 0.5; left--) {
    int best = 0;
    for (int j = 1; j < p->types; j++)
      if (part[j] > part[best]) best = j;
    out[best]++;
    part[best] -= 1;
  }
  for (int j = 0; j < p->types; j++) out[j] /= p->slices;
}

static void round_and_offer(search *s, const lp *l) {
  const iso_fleet_ip *p = s->p;
  double x[ISO_FLEET_BUCKETS_MAX * ISO_FLEET_TYPES_MAX];
  for (int i = 0; i < p->buckets; i++) {
    const double *from = l->value + i * p->types;
    double *to = x + i * p->types, sum = 0;
    if (p->slices > 0) {
      to_slices(p, from, to);
      continue;
    }
    for (int j = 0; j < p->types; j++) sum += to[j] = from[j] > 1e-12 ? from[j] : 0;
    for (int j = 0; j < p->types; j++) to[j] /= sum;
  }
  offer(s, x);
}

// The variable to branch on: the count nearest to half way, else the share nearest to half a slice; -1 when all are whole. *unit is its step.
static int branch_column(const search *s, const lp *l, double *unit) {
  const iso_fleet_ip *p = s->p;
  int best = -1;
  double far = WHOLE;
  *unit = 1;
  for (int j = 0; j < p->types; j++) {
    double v = l->value[col_b(p, j)], off = fabs(v - round(v));
    if (off > far) {
      far = off;
      best = col_b(p, j);
    }
  }
  if (best >= 0 || !p->slices) return best;
  *unit = 1.0 / p->slices;
  for (int c = 0; c < p->buckets * p->types; c++) {
    double v = l->value[c] * p->slices, off = fabs(v - round(v));
    if (off > far) {
      far = off;
      best = c;
    }
  }
  return best;
}

// Builds the relaxation anew with the bounds of `from` and solves it: rounding errors of many pivots are gone.
static bool solve_afresh(const iso_fleet_ip *p, lp *from, bool *stuck) {
  lp fresh;
  if (!lp_alloc(&fresh, from->rows, from->cols)) return true;
  lp_start(&fresh, p);
  for (int c = 0; c < fresh.cols; c++) lp_bound(&fresh, c, from->lo[c], from->hi[c]);
  bool found = lp_solve(&fresh, stuck);
  lp_close(from);
  *from = fresh;
  return found;
}

static double explore(search *s, lp *l, int depth);

// Explores both halves of a branch, the nearer first; the second may use up l.
static double split(search *s, lp *l, int col, double unit, int depth, double bound) {
  double v = l->value[col] / unit, down = floor(v) * unit, up = ceil(v) * unit, lo = l->lo[col], hi = l->hi[col], proven = INFINITY;
  bool up_first = v - floor(v) > 0.5;
  for (int k = 0; k < 2; k++) {
    bool upper = (k == 0) == up_first;
    lp child;
    if (k == 0 && !lp_copy(l, &child)) {
      s->no_memory = s->stopped = true;
      return bound;
    }
    lp *use = k == 0 ? &child : l;
    lp_bound(use, col, upper ? up : lo, upper ? hi : down);
    proven = fmin(proven, explore(s, use, depth + 1));
    if (k == 0) lp_close(&child);
  }
  return proven;
}

// Returns a proven lower bound of the subtree.
static double explore(search *s, lp *l, int depth) {
  double unit;
  bool stuck;
  if (s->best->nodes >= s->limit || depth > DEPTH_MAX) s->stopped = true;
  if (s->stopped) return s->root_bound;
  s->best->nodes++;
  bool found = lp_solve(l, &stuck);
  if (stuck) found = solve_afresh(s->p, l, &stuck);
  if (!found) return INFINITY;
  double bound = safe_bound(s->p, l, depth == 0 ? s->best->price : NULL);
  if (depth == 0) s->best->relaxed = s->root_bound = bound;
  if (stuck) {
    s->stopped = true;
    return bound;
  }
  round_and_offer(s, l);
  if (bound >= s->best->cost * (1 - 1e-9)) return bound;
  int col = branch_column(s, l, &unit);
  // All whole and yet above the bound: rounding moved nothing, so the answer offered is the node's best.
  if (col < 0) return bound;
  double proven = split(s, l, col, unit, depth, bound);
  return fmax(bound, proven);
}

static iso_status check(const iso_fleet_ip *p, iso_err *err) {
  if (p->buckets < 1 || p->buckets > ISO_FLEET_BUCKETS_MAX)
    return iso_fail(err, ISO_EINVAL, "fleet: %d buckets, expected 1 to %d", p->buckets, ISO_FLEET_BUCKETS_MAX);
  if (p->types < 1 || p->types > ISO_FLEET_TYPES_MAX)
    return iso_fail(err, ISO_EINVAL, "fleet: %d types, expected 1 to %d", p->types, ISO_FLEET_TYPES_MAX);
  if (p->slices < 0 || p->slices > 1000000) return iso_fail(err, ISO_EINVAL, "fleet: %d slices, expected 0 to 1000000", p->slices);
  for (int j = 0; j < p->types; j++)
    if (!(p->cost[j] > 0 && p->cost[j] < INFINITY))
      return iso_fail(err, ISO_EINVAL, "fleet: type %d costs %g, expected a positive number", j, p->cost[j]);
  for (int i = 0; i < p->buckets; i++) {
    for (int j = 0; j < p->types; j++)
      if (!(load_of(p, i, j) > 0))
        return iso_fail(err, ISO_EINVAL, "fleet: load of bucket %d on type %d is %g, expected a positive number", i, j, load_of(p, i, j));
    if (cheapest(p, i) < 0) return iso_fail(err, ISO_EINVAL, "fleet: no type can serve bucket %d", i);
  }
  return ISO_OK;
}

static void singles(const iso_fleet_ip *p, search *s) {
  for (int j = 0; j < p->types; j++) {
    double sum = 0, x[ISO_FLEET_BUCKETS_MAX * ISO_FLEET_TYPES_MAX] = {0};
    for (int i = 0; i < p->buckets; i++) {
      sum += load_of(p, i, j);
      x[i * p->types + j] = 1;
    }
    s->best->single[j] = sum < INFINITY ? p->cost[j] * ceil(sum - 1e-7) : INFINITY;
    if (sum < INFINITY) offer(s, x);
  }
}

iso_status iso_fleet_ip_solve(const iso_fleet_ip *p, iso_fleet_answer *out, iso_err *err) {
  ISO_TRY(check(p, err));
  memset(out, 0, sizeof *out);
  out->cost = INFINITY;
  search s = {.p = p, .best = out, .limit = p->node_limit > 0 ? p->node_limit : 200000};
  lp root;
  if (!lp_alloc(&root, p->buckets + p->types, p->buckets * p->types + 2 * p->types))
    return iso_fail(err, ISO_ENOMEM, "fleet: no memory for the program");
  lp_start(&root, p);
  singles(p, &s);
  double proven = explore(&s, &root, 0);
  lp_close(&root);
  if (s.no_memory) return iso_fail(err, ISO_ENOMEM, "fleet: no memory for the search");
  if (!(out->cost < INFINITY)) {
    iso_fail(err, ISO_EBUDGET, "fleet: no fleet within the numbers of devices to be had carries the load%s", s.stopped ? " was found" : "");
    return iso_hint(err, ISO_EBUDGET, "allow more devices, another type or a wider latency limit");
  }
  out->optimal = !s.stopped;
  out->bound = out->optimal ? out->cost : fmin(out->cost, proven);
  out->gap = out->cost > 0 ? (out->cost - out->bound) / out->cost : 0;
  if (out->gap < 1e-9) out->optimal = true;
  return ISO_OK;
}
