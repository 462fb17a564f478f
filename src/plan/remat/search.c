// Local search over what stays: drops values while the peak is too high, then flips bits as long as it helps.
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "plan/remat/remat.h"

typedef struct search {
  const iso_remat_dag *d;
  int intervals;
  int64_t limit_b, left;  // schedules that may still be tried
  iso_remat_spec spec;
  int nf;
  uint64_t seed, drawn;
} search;

typedef struct score {
  int64_t over_b;
  double cost;
} score;

static iso_status try_spec(search *s, score *out, iso_err *err) {
  iso_remat_schedule sch;
  iso_remat_use u;
  s->left--;
  ISO_TRY(iso_remat_build(s->d, &s->spec, &sch, err));
  iso_status st = iso_remat_replay(s->d, &sch, &u, err);
  iso_remat_schedule_close(&sch);
  *out = (score){u.peak_b > s->limit_b ? u.peak_b - s->limit_b : 0, u.cost};
  if (s->intervals && u.intervals > s->intervals) out->over_b = INT64_MAX / 2;
  return st;
}

static int draw(search *s, int n) { return (int)iso_rng_below(s->seed, ISO_RNG_SAMPLE, s->drawn++, 0, n); }

static bool better(score a, score b) { return a.over_b != b.over_b ? a.over_b < b.over_b : a.cost < b.cost; }

// Drops the value that frees most bytes a unit of cost, among at most 64 drawn, until the limit is met or nothing helps.
static iso_status shrink(search *s, score *now, iso_err *err) {
  while (now->over_b > 0 && s->left > 0) {
    int pick = -1;
    double best = 0;
    score to = *now;
    for (int c = 0; c < (s->nf < 64 ? s->nf : 64) && s->left > 0; c++) {
      int v = s->nf < 64 ? c : draw(s, s->nf);
      if (!s->spec.keep[v]) continue;
      score t;
      s->spec.keep[v] = false;
      iso_status st = try_spec(s, &t, err);
      s->spec.keep[v] = true;
      ISO_TRY(st);
      double gain = (double)(now->over_b - t.over_b), cost = t.cost - now->cost;
      // Values that free nothing by themselves may do so together: a small gain for the free ones.
      double rate = (gain > 0 ? gain : gain == 0 ? 1e-3 * (double)s->d->node[v].bytes : 0) / (cost > 0 ? cost : 1e-300);
      if (rate > best) {
        best = rate;
        pick = v;
        to = t;
      }
    }
    if (pick < 0) return ISO_OK;
    s->spec.keep[pick] = false;
    *now = to;
  }
  return ISO_OK;
}

static iso_status climb(search *s, score *now, iso_err *err) {
  while (s->left > 0) {
    int n = 1 + draw(s, 3), v[3];
    bool hold[3];
    for (int i = 0; i < n; i++) {
      v[i] = draw(s, s->nf);
      hold[i] = draw(s, 4) == 0;
      bool *b = hold[i] ? s->spec.hold : s->spec.keep;
      b[v[i]] = !b[v[i]];
    }
    score t;
    ISO_TRY(try_spec(s, &t, err));
    if (!better(*now, t)) {
      *now = t;
      continue;
    }
    for (int i = n; i-- > 0;) {
      bool *b = hold[i] ? s->spec.hold : s->spec.keep;
      b[v[i]] = !b[v[i]];
    }
  }
  return ISO_OK;
}

iso_status iso_remat_search(const iso_remat_dag *d, int64_t limit_b, int intervals, int64_t evals, uint64_t seed, bool *found,
                            iso_remat_schedule *out, iso_err *err) {
  search s = {.d = d, .intervals = intervals, .limit_b = limit_b, .left = evals, .seed = seed};
  score now;
  *found = false;
  *out = (iso_remat_schedule){0};
  ISO_TRY(iso_remat_forward(d, &s.nf, err));
  bool *bits = malloc(2 * (size_t)d->n + 2);
  if (!bits) return iso_fail(err, ISO_ENOMEM, "no memory for a search");
  memset(bits, true, 2 * (size_t)d->n + 2);
  s.spec = (iso_remat_spec){bits, bits + d->n};
  iso_status st;
  ISO_TRYG(try_spec(&s, &now, err));
  if (s.nf > 0) {
    ISO_TRYG(shrink(&s, &now, err));
    ISO_TRYG(climb(&s, &now, err));
  }
  *found = now.over_b == 0;
  if (*found) st = iso_remat_build(d, &s.spec, out, err);
done:
  free(bits);
  return st;
}
