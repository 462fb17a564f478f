// A bound on what any schedule under a limit computes: the Lagrangian of what may be there when a gradient is computed, by minimum cuts.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/remat/remat.h"

// Moments looked at: computations of the first gradients, when most is still needed.
enum { MOMENTS = 24, CUTS = 40 };

// A flow network after Dinic. Any flow is a bound, so rounding does no harm.
typedef struct edge {
  int to, next;
  double cap;
} edge;
typedef struct net {
  int n, m, *head, *level, *at, *queue;
  edge *e;
} net;

static void add_edge(net *g, int a, int b, double cap) {
  g->e[g->m] = (edge){b, g->head[a], cap};
  g->head[a] = g->m++;
  g->e[g->m] = (edge){a, g->head[b], 0};
  g->head[b] = g->m++;
}

static bool levels(net *g, int s, int t, double tiny) {
  int n = 0;
  for (int i = 0; i < g->n; i++) g->level[i] = -1;
  g->level[s] = 0;
  g->queue[n++] = s;
  for (int i = 0; i < n; i++)
    for (int e = g->head[g->queue[i]]; e >= 0; e = g->e[e].next)
      if (g->e[e].cap > tiny && g->level[g->e[e].to] < 0) {
        g->level[g->e[e].to] = g->level[g->queue[i]] + 1;
        g->queue[n++] = g->e[e].to;
      }
  return g->level[t] >= 0;
}

static double push(net *g, int v, int t, double most, double tiny) {
  if (v == t) return most;
  double sent = 0;
  for (int *e = &g->at[v]; *e >= 0; *e = g->e[*e].next) {
    edge *x = &g->e[*e];
    if (x->cap <= tiny || g->level[x->to] != g->level[v] + 1) continue;
    double got = push(g, x->to, t, fmin(most - sent, x->cap), tiny);
    x->cap -= got;
    g->e[*e ^ 1].cap += got;
    sent += got;
    if (sent >= most) return sent;
  }
  return sent;
}

static double max_flow(net *g, int s, int t, double tiny) {
  double flow = 0;
  while (levels(g, s, t, tiny)) {
    memcpy(g->at, g->head, (size_t)g->n * sizeof *g->at);
    flow += push(g, s, t, INFINITY, tiny);
  }
  return flow;
}

typedef struct moment {
  const iso_remat_dag *d;
  int nf, at;     // forward values; the gradient that is computed
  bool *there;    // [nf] its inputs, there in any case
  bool *asked;    // [nf] read from then on
  bool *behind;   // [nf] it was computed from these
  double room_b;  // left for other values
} moment;

// For a price of a byte: a value that is asked for is kept (n_v before the cut, r_v behind) at the price of its bytes, or computed again
// (both before it) at its cost, and then asks for its inputs. Returns the flow; what is kept and what that leaves to compute.
static double cut(const moment *m, net *g, double price, double *kept_b, double *cost) {
  int s = 2 * m->nf, t = s + 1;
  double total = 1;
  g->n = t + 1;
  g->m = 0;
  for (int i = 0; i < g->n; i++) g->head[i] = -1;
  for (int v = 0; v < m->nf; v++) {
    const iso_remat_node *n = &m->d->node[v];
    if (m->there[v]) continue;
    total += n->cost;
    add_edge(g, 2 * v, 2 * v + 1, price * (double)n->bytes);
    add_edge(g, 2 * v + 1, t, m->behind[v] ? n->cost : 0);
    for (int i = 0; i < n->n_in; i++)
      if (!m->there[n->in[i]]) add_edge(g, 2 * v + 1, 2 * n->in[i], INFINITY);
    if (m->asked[v]) add_edge(g, s, 2 * v, INFINITY);
  }
  double tiny = 1e-12 * total, flow = max_flow(g, s, t, tiny);
  *kept_b = *cost = 0;
  for (int v = 0; v < m->nf; v++) {
    if (m->there[v] || g->level[2 * v] < 0) continue;
    if (g->level[2 * v + 1] < 0)
      *kept_b += (double)m->d->node[v].bytes;
    else if (m->behind[v])
      *cost += m->d->node[v].cost;
  }
  return flow;
}

// The largest of flow - price x room over all prices: the line through the last two choices meets at the next price.
static double lagrangian(const moment *m, net *g) {
  double k0, c0, k1, c1, best = 0, top = 1;
  if (m->room_b < 0) return INFINITY;
  for (int v = 0; v < m->nf; v++) top += m->d->node[v].cost;
  (void)cut(m, g, 0, &k0, &c0);  // nothing is paid for bytes
  k0 = 0;
  for (int v = 0; v < m->nf; v++) k0 += m->asked[v] && !m->there[v] ? (double)m->d->node[v].bytes : 0;
  c0 = 0;  // all that is asked for is kept
  if (k0 <= m->room_b) return 0;
  best = fmax(0, cut(m, g, top, &k1, &c1) - top * m->room_b);
  if (k1 > m->room_b) return best;  // bytes of less than one FLOP's worth
  for (int i = 0; i < CUTS && k0 > k1; i++) {
    double price = (c1 - c0) / (k0 - k1), k, c;
    double v = cut(m, g, price, &k, &c) - price * m->room_b;
    if (v > best) best = v;
    if (k > m->room_b) {
      if (k >= k0) break;
      k0 = k;
      c0 = c;
    } else {
      if (k <= k1) break;
      k1 = k;
      c1 = c;
    }
  }
  return best;
}

static void set_moment(moment *m, int64_t limit_b) {
  const iso_remat_dag *d = m->d;
  const iso_remat_node *n = &d->node[m->at];
  int64_t b = n->bytes + n->work_b;
  memset(m->there, 0, (size_t)m->nf * sizeof *m->there);
  memset(m->asked, 0, (size_t)m->nf * sizeof *m->asked);
  memset(m->behind, 0, (size_t)m->nf * sizeof *m->behind);
  for (int i = 0; i < n->n_in; i++)
    if (n->in[i] < m->nf) {
      m->there[n->in[i]] = true;
      b += d->node[n->in[i]].bytes;
    }
  for (int u = m->nf; u < m->at; u++) {  // gradients that wait
    bool later = d->node[u].result;
    for (int v = m->at; v < d->n && !later; v++)
      for (int i = 0; i < d->node[v].n_in; i++) later = later || d->node[v].in[i] == u;
    if (later) b += d->node[u].bytes;
  }
  if (n->inplace >= 0) b -= d->node[n->inplace].bytes < n->bytes ? d->node[n->inplace].bytes : n->bytes;
  for (int v = m->at; v < d->n; v++)
    for (int i = 0; i < d->node[v].n_in; i++)
      if (d->node[v].in[i] < m->nf) m->asked[d->node[v].in[i]] = true;
  // All gradients before this one have been computed, or need not have been: what it depends on surely was.
  bool *seen = calloc((size_t)m->at + 1, sizeof *seen);
  if (seen) {
    seen[m->at] = true;
    for (int v = m->at; v >= 0; v--)
      for (int i = 0; seen[v] && i < d->node[v].n_in; i++) seen[d->node[v].in[i]] = true;
    memcpy(m->behind, seen, (size_t)m->nf * sizeof *seen);
  }
  free(seen);
  m->room_b = (double)(limit_b - b);
}

iso_status iso_remat_bound(const iso_remat_dag *d, int64_t limit_b, double *out, iso_err *err) {
  int nf, edges = 0;
  double base = 0, extra = 0;
  ISO_TRY(iso_remat_forward(d, &nf, err));
  for (int v = 0; v < d->n; v++) {
    base += d->node[v].cost;
    edges += 3 + d->node[v].n_in;
  }
  size_t n = 2 * (size_t)nf + 4;
  net g = {.head = malloc(4 * n * sizeof(int)), .e = malloc(2 * (size_t)edges * sizeof(edge))};
  bool *flags = calloc(3 * (size_t)nf + 3, sizeof *flags);
  iso_status st = ISO_OK;
  if (!g.head || !g.e || !flags) {
    st = iso_fail(err, ISO_ENOMEM, "no memory for a bound");
    goto done;
  }
  g.level = g.head + n;
  g.at = g.level + n;
  g.queue = g.at + n;
  moment m = {.d = d, .nf = nf, .there = flags, .asked = flags + nf, .behind = flags + 2 * (size_t)nf};
  for (int j = nf; j < d->n && j < nf + MOMENTS; j++) {
    m.at = j;
    set_moment(&m, limit_b);
    extra = fmax(extra, lagrangian(&m, &g));
  }
  *out = iso_remat_least(d) > limit_b ? INFINITY : base + extra;
done:
  free(g.head);
  free(g.e);
  free(flags);
  return st;
}
