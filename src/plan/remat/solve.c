// One limit, the best plan that any method finds, and how far it can be from the optimum.
#include <math.h>
#include <string.h>

#include "plan/remat/remat.h"

// Takes `s` when it is the cheapest under the limit so far; closes it otherwise.
static iso_status offer(const iso_remat_dag *d, int64_t limit_b, int intervals, iso_remat_schedule *s, const char *method, iso_remat_plan *out,
                        iso_err *err) {
  iso_remat_use u;
  iso_status st = iso_remat_replay(d, s, &u, err);
  if (st == ISO_OK && u.peak_b <= limit_b && (!intervals || u.intervals <= intervals) && (!out->found || u.cost < out->use.cost)) {
    iso_remat_schedule_close(&out->schedule);
    out->schedule = *s;
    out->use = u;
    out->method = method;
    out->found = true;
    return ISO_OK;
  }
  iso_remat_schedule_close(s);
  return st;
}

static iso_status by_exact(const iso_remat_dag *d, int64_t limit_b, int intervals, int64_t states, iso_remat_plan *out, iso_err *err) {
  iso_remat_answer a;
  iso_remat_schedule s;
  ISO_TRY(iso_remat_exact(d, limit_b, NULL, intervals - 1, states, &a, &s, err));
  if (a.bound > out->bound) out->bound = a.bound;
  return a.found ? offer(d, limit_b, intervals, &s, "exact", out, err) : ISO_OK;
}

static iso_status methods(const iso_remat_dag *d, const iso_remat_front *f, const iso_remat_effort *e, int64_t limit_b, iso_remat_plan *out,
                          iso_err *err) {
  iso_remat_schedule s;
  ISO_TRY(iso_remat_keep_all(d, false, &s, err));
  ISO_TRY(offer(d, limit_b, e->intervals, &s, "keep all", out, err));
  ISO_TRY(iso_remat_bound(d, limit_b, &out->bound, err));
  if (out->found) return ISO_OK;
  int i = f ? iso_remat_front_under(f, limit_b) : -1;
  if (i >= 0) {
    ISO_TRY(iso_remat_front_schedule(f, i, &s, err));
    ISO_TRY(offer(d, limit_b, e->intervals, &s, "per block", out, err));
  }
  if (e->evals > 0) {
    bool found;
    ISO_TRY(iso_remat_search(d, limit_b, e->intervals, e->evals, e->seed, &found, &s, err));
    if (found) ISO_TRY(offer(d, limit_b, e->intervals, &s, "search", out, err));
  }
  if (e->states > 0 && d->n <= 63) ISO_TRY(by_exact(d, limit_b, e->intervals, e->states, out, err));
  return ISO_OK;
}

iso_status iso_remat_solve(const iso_remat_dag *d, const iso_remat_front *f, const iso_remat_effort *e, int64_t limit_b, iso_remat_plan *out,
                           iso_err *err) {
  *out = (iso_remat_plan){.bound = 0, .method = ""};
  iso_status st = methods(d, f, e, limit_b, out, err);
  if (st != ISO_OK) {
    iso_remat_plan_close(out);
    return st;
  }
  if (!out->found) return ISO_OK;
  // What the bound loses to rounding is no gap.
  double gap = out->use.cost - out->bound;
  out->gap = gap > 1e-9 * out->use.cost ? gap : 0;
  out->optimal = out->gap == 0;
  return ISO_OK;
}

void iso_remat_plan_close(iso_remat_plan *p) {
  iso_remat_schedule_close(&p->schedule);
  *p = (iso_remat_plan){0};
}
