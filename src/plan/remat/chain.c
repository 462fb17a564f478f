// Chains of atoms: where a graph may be cut, and the schedules that keep values between atoms only.
#include <stdlib.h>
#include <string.h>

#include "plan/remat/chain_impl.h"

// ---- Cutting. `cut[i]`: value i alone connects what is before with what is after.

static void find_cuts(const iso_remat_dag *d, int nf, bool *cut) {
  int reach = -1;
  int *last = calloc((size_t)nf + 1, sizeof *last);
  if (!last) return;
  for (int v = 0; v < nf; v++) {
    last[v] = -1;
    for (int i = 0; i < d->node[v].n_in; i++) last[d->node[v].in[i]] = v;
  }
  for (int v = 0; v < nf; v++) {
    cut[v] = v == nf - 1 || (reach <= v && last[v] > v);
    if (last[v] > reach) reach = last[v];
  }
  free(last);
}

static int atoms_of(iso_remat_atom *atom, const bool *cut, int nf) {
  int n = 0;
  for (int v = 0, from = 0; v < nf; v++)
    if (cut[v]) {
      atom[n++] = (iso_remat_atom){.f0 = from, .f1 = v + 1};
      from = v + 1;
    }
  return n;
}

// Deals the backward nodes out to atoms, last atom first. Each may read its atom's values and the value that enters it. Returns -1, or the
// cut that cannot stand.
static int deal(const iso_remat_dag *d, int nf, iso_remat_atom *atom, int n) {
  int a = n - 1;
  atom[a].b0 = nf;
  for (int j = nf; j < d->n; j++) {
    int lo = d->n, hi = -1;
    for (int i = 0; i < d->node[j].n_in; i++) {
      int u = d->node[j].in[i];
      if (u >= nf) continue;
      if (u < lo) lo = u;
      if (u > hi) hi = u;
    }
    if (hi < 0) continue;
    while (a > 0 && hi < atom[a].f0 - 1) {
      atom[a].b1 = j;
      atom[--a].b0 = j;
    }
    // The value that enters the atom above is what this one puts out.
    if (hi == atom[a].f0 - 1 && lo < hi && a > 0) {
      atom[a].b1 = j;
      atom[--a].b0 = j;
    }
    bool above = hi >= atom[a].f1 || (hi == atom[a].f1 - 1 && a < n - 1), under = a > 0 && lo < atom[a].f0 - 1;
    if (above) return atom[a].f1 - 1;
    if (under) return atom[a].f0 - 1;
  }
  atom[a].b1 = d->n;
  while (a-- > 0) atom[a].b0 = atom[a].b1 = d->n;
  return -1;
}

static int64_t waiting(const iso_remat_dag *d, const int *last, int nf, int at) {
  int64_t b = 0;
  for (int u = nf; u < at; u++)
    if (last[u] >= at || d->node[u].result) b += d->node[u].bytes;
  return b;
}

static iso_status find_types(const iso_remat_dag *d, iso_remat_chain *c, iso_err *err) {
  iso_remat_group *seen = calloc((size_t)c->n + 1, sizeof *seen);
  iso_status st = seen ? ISO_OK : iso_fail(err, ISO_ENOMEM, "no memory for a chain");
  for (int a = 0; st == ISO_OK && a < c->n; a++) {
    iso_remat_group *g = &seen[c->types];
    st = iso_remat_group_open(d, c, a, 1, g, err);
    if (st != ISO_OK) break;
    int k = 0;
    while (k < c->types && !iso_remat_group_same(&seen[k], g)) k++;
    c->atom[a].type = k;
    if (k < c->types)
      iso_remat_group_close(g);
    else
      c->types++;
  }
  for (int k = 0; seen && k < c->types; k++) iso_remat_group_close(&seen[k]);
  free(seen);
  return st;
}

iso_status iso_remat_chain_open(const iso_remat_dag *d, iso_remat_chain **out, iso_err *err) {
  int nf, bad;
  *out = NULL;
  ISO_TRY(iso_remat_forward(d, &nf, err));
  if (nf == 0) return iso_fail(err, ISO_EUNSUP, "no value of the graph may be computed again");
  iso_remat_chain *c = calloc(1, sizeof *c);
  bool *cut = calloc((size_t)nf + 1, sizeof *cut);
  int *last = calloc((size_t)d->n + 1, sizeof *last);
  iso_status st = ISO_ENOMEM;
  if (!c || !cut || !last) goto done;
  c->atom = calloc((size_t)nf + 1, sizeof *c->atom);
  c->wait_b = calloc((size_t)nf + 1, sizeof *c->wait_b);
  if (!c->atom || !c->wait_b) goto done;
  find_cuts(d, nf, cut);
  do {
    c->n = atoms_of(c->atom, cut, nf);
    bad = deal(d, nf, c->atom, c->n);
    if (bad >= 0) cut[bad] = false;
  } while (bad >= 0);
  for (int v = 0; v < d->n; v++) last[v] = -1;
  for (int v = 0; v < d->n; v++)
    for (int i = 0; i < d->node[v].n_in; i++) last[d->node[v].in[i]] = v;
  for (int a = 0; a < c->n; a++) c->wait_b[a] = waiting(d, last, nf, c->atom[a].b0);
  st = find_types(d, c, err);
done:
  free(cut);
  free(last);
  if (st == ISO_OK)
    *out = c;
  else
    iso_remat_chain_close(c);
  return st == ISO_ENOMEM ? iso_fail(err, st, "no memory for a chain") : st;
}

void iso_remat_chain_close(iso_remat_chain *c) {
  if (!c) return;
  free(c->atom);
  free(c->wait_b);
  free(c);
}

// ---- A few atoms as a problem of their own.

static int local(const iso_remat_group *g, int real, int n) {
  for (int i = 0; i < n; i++)
    if (g->real[i] == real) return i;
  return -1;
}

iso_status iso_remat_group_open(const iso_remat_dag *d, const iso_remat_chain *c, int atom, int atoms, iso_remat_group *out, iso_err *err) {
  const iso_remat_atom *lo = &c->atom[atom], *hi = &c->atom[atom + atoms - 1];
  int nf = c->atom[c->n - 1].f1;
  *out = (iso_remat_group){.tail = atom + atoms == c->n};
  out->real = calloc((size_t)d->n + 1, sizeof *out->real);
  bool *later = calloc((size_t)d->n + 1, sizeof *later);
  iso_status st = ISO_ENOMEM;
  if (!out->real || !later) goto done;
  ISO_TRYG(iso_remat_open(&out->d, err));
  for (int v = 0; v < d->n; v++) later[v] = d->node[v].result;
  for (int v = lo->b1; v < d->n; v++)
    for (int i = 0; i < d->node[v].n_in; i++) later[d->node[v].in[i]] = true;
  for (int pass = 0; pass < 3; pass++) {
    int from = pass == 0 ? nf : pass == 1 ? lo->f0 : hi->b0, to = pass == 0 ? hi->b0 : pass == 1 ? hi->f1 : lo->b1;
    for (int v = from; v < to; v++) {
      iso_remat_node n = d->node[v];
      if (pass == 0) {
        bool read = later[v];
        for (int j = hi->b0; j < lo->b1 && !read; j++)
          for (int i = 0; i < d->node[j].n_in; i++) read = read || d->node[j].in[i] == v;
        if (!read) continue;
        n = (iso_remat_node){.name = n.name, .bytes = n.bytes, .inplace = -1, .once = true};
      } else {
        n.n_in = 0;
        for (int i = 0; i < d->node[v].n_in; i++) {
          int u = local(out, d->node[v].in[i], out->d->n);
          if (u >= 0) n.in[n.n_in++] = u;
        }
        if (n.inplace >= 0) n.inplace = local(out, n.inplace, out->d->n);
      }
      n.result = pass != 1 && later[v];
      out->real[out->d->n] = v;
      ISO_TRYG(iso_remat_add(out->d, &n, NULL, err));
    }
    if (pass == 0) out->waits = out->d->n;
    if (pass == 1) out->forward = out->d->n - out->waits;
  }
done:
  free(later);
  if (st != ISO_OK) iso_remat_group_close(out);
  return st == ISO_ENOMEM ? iso_fail(err, st, "no memory for a part of a chain") : st;
}

void iso_remat_group_close(iso_remat_group *g) {
  iso_remat_close(g->d);
  free(g->real);
  *g = (iso_remat_group){0};
}

bool iso_remat_group_same(const iso_remat_group *a, const iso_remat_group *b) {
  if (a->d->n != b->d->n || a->waits != b->waits || a->forward != b->forward || a->tail != b->tail) return false;
  for (int v = 0; v < a->d->n; v++) {
    const iso_remat_node *x = &a->d->node[v], *y = &b->d->node[v];
    if (x->cost != y->cost || x->flop != y->flop || x->bytes != y->bytes || x->work_b != y->work_b || x->n_in != y->n_in ||
        x->inplace != y->inplace || x->once != y->once || x->result != y->result)
      return false;
    for (int i = 0; i < x->n_in; i++)
      if (x->in[i] != y->in[i]) return false;
  }
  return true;
}

// ---- Writing schedules.

iso_status iso_remat_writer_open(iso_remat_writer *w, const iso_remat_dag *d, const iso_remat_chain *c, iso_remat_schedule *out, iso_err *err) {
  *out = (iso_remat_schedule){0};
  *w = (iso_remat_writer){.d = d, .c = c, .out = out};
  w->last = calloc((size_t)d->n + 1, sizeof *w->last);
  w->need = calloc((size_t)d->n + 1, sizeof *w->need);
  if (!w->last || !w->need) {
    iso_remat_writer_close(w);
    return iso_fail(err, ISO_ENOMEM, "no memory for a schedule");
  }
  for (int v = 0; v < d->n; v++) {
    w->last[v] = -1;
    for (int i = 0; d->node[v].once && i < d->node[v].n_in; i++) w->last[d->node[v].in[i]] = v;
  }
  return ISO_OK;
}

void iso_remat_writer_close(iso_remat_writer *w) {
  free(w->last);
  free(w->need);
}

// Whether v is among the inputs of node j.
static bool reads(const iso_remat_node *n, int v) {
  for (int i = 0; i < n->n_in; i++)
    if (n->in[i] == v) return true;
  return false;
}

// Computes the marked forward nodes of [f0, f1) in order; those that nothing asks to stay go after their last reader among them.
static iso_status run_needed(iso_remat_writer *w, int f0, int f1, const bool *stay, int out, iso_err *err) {
  const iso_remat_dag *d = w->d;
  for (int v = f0; v < f1; v++) {
    if (!w->need[v]) continue;
    ISO_TRY(iso_remat_push(w->out, v, false, err));
    for (int i = 0; i <= d->node[v].n_in; i++) {
      int u = i < d->node[v].n_in ? d->node[v].in[i] : v;
      bool again = u < f0 || u == out || u == d->node[v].inplace || (stay && stay[u]);
      for (int j = v + 1; j < f1 && !again; j++) again = w->need[j] && reads(&d->node[j], u);
      if (!again) ISO_TRY(iso_remat_push(w->out, u, true, err));
    }
  }
  return ISO_OK;
}

static void mark_needed(iso_remat_writer *w, int f0, int f1) {
  for (int v = f1 - 1; v >= f0; v--)
    for (int i = 0; w->need[v] && i < w->d->node[v].n_in; i++)
      if (w->d->node[v].in[i] >= f0) w->need[w->d->node[v].in[i]] = true;
}

iso_status iso_remat_write_forward(iso_remat_writer *w, int a, int b, const bool *keep, iso_err *err) {
  int f0 = w->c->atom[a].f0, f1 = w->c->atom[b - 1].f1;
  for (int v = f0; v < f1; v++) w->need[v] = v == f1 - 1 || (keep && keep[v]);
  mark_needed(w, f0, f1);
  return run_needed(w, f0, f1, keep, f1 - 1, err);
}

iso_status iso_remat_write_whole(iso_remat_writer *w, int a, int b, iso_err *err) {
  const iso_remat_dag *d = w->d;
  int f0 = w->c->atom[a].f0, f1 = w->c->atom[b - 1].f1, b0 = w->c->atom[b - 1].b0, b1 = w->c->atom[a].b1;
  for (int v = f0; v < f1; v++) w->need[v] = w->last[v] >= b0 && w->last[v] < b1;
  // The value that goes on is read by the atoms after it only.
  if (b < w->c->n) w->need[f1 - 1] = false;
  bool *stay = calloc((size_t)d->n + 1, sizeof *stay);
  if (!stay) return iso_fail(err, ISO_ENOMEM, "no memory for a schedule");
  memcpy(stay + f0, w->need + f0, (size_t)(f1 - f0) * sizeof *stay);
  mark_needed(w, f0, f1);
  iso_status st = run_needed(w, f0, f1, stay, -1, err);
  for (int v = b0; st == ISO_OK && v < b1; v++) {
    const iso_remat_node *n = &d->node[v];
    st = iso_remat_push(w->out, v, false, err);
    for (int i = 0; st == ISO_OK && i < n->n_in; i++) {
      int u = n->in[i];
      if (w->last[u] == v && u != n->inplace && !n->result && u >= f0 && !d->node[u].result) st = iso_remat_push(w->out, u, true, err);
    }
    if (st == ISO_OK && w->last[v] < 0 && !n->result) st = iso_remat_push(w->out, v, true, err);
  }
  free(stay);
  return st;
}
