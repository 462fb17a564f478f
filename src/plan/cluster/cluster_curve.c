// Throughput against devices: the layout search at every device count, and data parallelism scaled on its own.
#include <math.h>
#include <string.h>

#include "plan/cluster/cluster.h"

enum { NODES_ALL = 256 };

int iso_cluster_counts(const iso_layout_machine *m, int64_t devices, bool pow2, int64_t *out) {
  int n = 0;
  int64_t node = m->per_node > 0 ? m->per_node : 1;
  pow2 = pow2 || devices / node > NODES_ALL;
  for (int64_t k = 1; k < node && k <= devices; k *= 2) out[n++] = k;
  for (int64_t k = 1; k * node <= devices && n < ISO_CLUSTER_COUNTS_MAX - 1; k = pow2 ? 2 * k : k + 1) out[n++] = k * node;
  // All nodes, when powers of two left them out. What does not fill a node is no count above one: layouts take whole nodes.
  int64_t all = devices / node * node;
  if (n && out[n - 1] < all) out[n++] = all;
  return n;
}

// Keeps a point that is faster than all smaller ones.
static void push(iso_cluster_curve *c, const iso_cluster_point *p) {
  if (c->n == ISO_CLUSTER_COUNTS_MAX || (c->n && !(p->step_s < c->at[c->n - 1].step_s))) return;
  c->at[c->n++] = *p;
}

iso_status iso_cluster_curve_best(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const int64_t *counts, int n,
                                  iso_cluster_curve *out, iso_err *err) {
  iso_err first = {0}, e = {0};
  bool full = false;
  out->n = 0;
  if (n < 1) return iso_fail(err, ISO_EINVAL, "cluster: no device count is allowed");
  for (int i = 0; i < n; i++) {
    iso_layout_search s;
    iso_layout_search_opts o = iso_layout_search_opts_default(m, counts[i]);
    o.devices_min = counts[i];
    o.eps = 0.9;  // the front is not used; a coarse one is cheap
    iso_status st = iso_layout_search_run(j, m, c, &o, &s, &e);
    if (st == ISO_OK) {
      const iso_layout_point *p = &s.best[ISO_LAYOUT_FASTEST];
      iso_cluster_point q = {.devices = counts[i], .step_s = p->step_s, .joule = p->joule, .layout = p->layout};
      push(out, &q);
      iso_layout_search_close(&s);
    } else if (st == ISO_ENOMEM ? true : !full) {
      // What the largest count lacks says most; that nothing divides says less than that.
      first = e;
      full = st == ISO_ENOMEM;
    }
  }
  if (out->n) return ISO_OK;
  if (err) *err = first;
  return first.status;
}

iso_status iso_cluster_curve_data(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const int64_t *counts, int n,
                                  const iso_cluster_curve *best, iso_cluster_curve *out, iso_err *err) {
  iso_layout_step s;
  iso_layout_mem mem;
  iso_layout l = best->at[0].layout;
  int64_t group = l.tensor * l.pipeline * l.context;
  out->n = 0;
  push(out, &best->at[0]);
  for (int i = 0; i < n; i++) {
    if (counts[i] <= best->at[0].devices || counts[i] % group) continue;
    l.data = counts[i] / group;
    if (iso_layout_check(j, &l, NULL) != ISO_OK) continue;
    iso_layout_memory(j, &l, &mem);
    if (iso_layout_fits(m, &mem, NULL) != ISO_OK) continue;
    ISO_TRY(iso_layout_step_cost(j, m, c, &l, &s, err));
    iso_cluster_point q = {.devices = counts[i], .step_s = s.step_s, .joule = s.joule, .layout = l};
    push(out, &q);
  }
  return ISO_OK;
}
