// DAGs of values, schedules over them, and the replay that judges every schedule.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/remat/remat.h"

iso_status iso_remat_open(iso_remat_dag **out, iso_err *err) {
  *out = calloc(1, sizeof **out);
  if (!*out) return iso_fail(err, ISO_ENOMEM, "no memory for a graph of values");
  iso_status st = iso_arena_open(&(*out)->arena, err);
  if (st != ISO_OK) {
    free(*out);
    *out = NULL;
  }
  return st;
}

void iso_remat_close(iso_remat_dag *d) {
  if (!d) return;
  iso_arena_close(d->arena);
  free(d);
}

iso_status iso_remat_add(iso_remat_dag *d, const iso_remat_node *n, int *index, iso_err *err) {
  const char *name = n->name ? n->name : "";
  iso_remat_node v = *n;
  bool found = n->inplace < 0;
  if (!(n->cost >= 0) || !(n->flop >= 0) || isinf(n->cost) || n->bytes < 0 || n->work_b < 0)
    return iso_fail(err, ISO_EINVAL, "value %s: cost %g and %lld bytes must be finite and not negative", name, n->cost, (long long)n->bytes);
  v.n_in = 0;
  for (int i = 0; i < n->n_in; i++) {
    bool seen = false;
    if (n->in[i] < 0 || n->in[i] >= d->n) return iso_fail(err, ISO_EINVAL, "value %s reads value %d of %d", name, n->in[i], d->n);
    for (int j = 0; j < v.n_in; j++) seen = seen || v.in[j] == n->in[i];
    if (!seen) v.in[v.n_in++] = n->in[i];
    found = found || n->in[i] == n->inplace;
  }
  if (!found) return iso_fail(err, ISO_EINVAL, "value %s takes the place of value %d, which it does not read", name, n->inplace);
  if (d->n == d->cap) {
    int cap = d->cap ? 2 * d->cap : 64;
    iso_remat_node *p = iso_arena_get(d->arena, (size_t)cap * sizeof *p);
    if (!p) return iso_fail(err, ISO_ENOMEM, "no memory for a graph of %d values", cap);
    if (d->n) memcpy(p, d->node, (size_t)d->n * sizeof *p);
    d->node = p;
    d->cap = cap;
  }
  v.name = iso_arena_str(d->arena, name);
  if (!v.name) return iso_fail(err, ISO_ENOMEM, "no memory for a graph of values");
  if (index) *index = d->n;
  d->node[d->n++] = v;
  return ISO_OK;
}

iso_status iso_remat_forward(const iso_remat_dag *d, int *n, iso_err *err) {
  int k = 0;
  while (k < d->n && !d->node[k].once) k++;
  *n = k;
  for (; k < d->n; k++)
    if (!d->node[k].once)
      return iso_fail(err, ISO_EUNSUP, "value %s may be computed again but comes after %s, which may not", d->node[k].name, d->node[*n].name);
  return ISO_OK;
}

void iso_remat_schedule_close(iso_remat_schedule *s) {
  free(s->step);
  *s = (iso_remat_schedule){0};
}

iso_status iso_remat_push(iso_remat_schedule *s, int node, bool drop, iso_err *err) {
  if (s->n == s->cap) {
    int cap = s->cap ? 2 * s->cap : 256;
    iso_remat_step *p = realloc(s->step, (size_t)cap * sizeof *p);
    if (!p) return iso_fail(err, ISO_ENOMEM, "no memory for a schedule of %d steps", cap);
    s->step = p;
    s->cap = cap;
  }
  s->step[s->n++] = (iso_remat_step){node, drop};
  return ISO_OK;
}

typedef struct replay {
  bool *live;
  int *times;
  int64_t now_b;
} replay;

static iso_status compute(const iso_remat_dag *d, replay *r, int at, int v, iso_remat_use *out, iso_err *err) {
  const iso_remat_node *n = &d->node[v];
  if (r->live[v]) return iso_fail(err, ISO_EBUG, "schedule, step %d: value %s is computed while it is there", at, n->name);
  if (n->once && r->times[v]) return iso_fail(err, ISO_EBUG, "schedule, step %d: value %s is computed twice", at, n->name);
  for (int i = 0; i < n->n_in; i++)
    if (!r->live[n->in[i]])
      return iso_fail(err, ISO_EBUG, "schedule, step %d: value %s reads %s, which is not there", at, n->name, d->node[n->in[i]].name);
  int64_t grown = n->bytes - (n->inplace >= 0 ? d->node[n->inplace].bytes : 0);
  int64_t during = r->now_b + n->work_b + (grown > 0 ? grown : 0);
  if (during > out->peak_b) {
    out->peak_b = during;
    out->peak_step = at;
  }
  if (n->inplace >= 0) r->live[n->inplace] = false;
  r->live[v] = true;
  r->now_b += grown;
  r->times[v]++;
  out->cost += n->cost;
  out->flop += n->flop;
  if (r->times[v] > 1) {
    out->again++;
    out->extra_cost += n->cost;
    out->extra_flop += n->flop;
  }
  if (r->times[v] > out->intervals) out->intervals = r->times[v];
  return ISO_OK;
}

iso_status iso_remat_replay(const iso_remat_dag *d, const iso_remat_schedule *s, iso_remat_use *out, iso_err *err) {
  iso_status st = ISO_OK;
  replay r = {calloc((size_t)d->n + 1, sizeof(bool)), calloc((size_t)d->n + 1, sizeof(int)), 0};
  *out = (iso_remat_use){0};
  if (!r.live || !r.times) {
    st = iso_fail(err, ISO_ENOMEM, "no memory to replay a schedule");
    goto done;
  }
  for (int i = 0; i < s->n; i++) {
    int v = s->step[i].node;
    if (v < 0 || v >= d->n) {
      st = iso_fail(err, ISO_EBUG, "schedule, step %d: no value %d", i, v);
      goto done;
    }
    if (!s->step[i].drop) {
      ISO_TRYG(compute(d, &r, i, v, out, err));
    } else if (r.live[v]) {
      r.live[v] = false;
      r.now_b -= d->node[v].bytes;
    } else {
      st = iso_fail(err, ISO_EBUG, "schedule, step %d: value %s is freed but not there", i, d->node[v].name);
      goto done;
    }
  }
  for (int v = 0; v < d->n; v++)
    if (!r.times[v] || (d->node[v].result && !r.live[v])) {
      st = iso_fail(err, ISO_EBUG, "schedule: value %s is %s", d->node[v].name, r.times[v] ? "gone at the end" : "never computed");
      goto done;
    }
done:
  free(r.live);
  free(r.times);
  return st;
}

iso_status iso_remat_keep_all(const iso_remat_dag *d, bool arena, iso_remat_schedule *out, iso_err *err) {
  int *last = calloc((size_t)d->n + 1, sizeof *last);
  iso_status st = last ? ISO_OK : iso_fail(err, ISO_ENOMEM, "no memory for a schedule");
  *out = (iso_remat_schedule){0};
  for (int v = 0; st == ISO_OK && v < d->n; v++) {
    last[v] = v;
    for (int i = 0; i < d->node[v].n_in; i++) last[d->node[v].in[i]] = v;
  }
  for (int v = 0; st == ISO_OK && v < d->n; v++) {
    const iso_remat_node *n = &d->node[v];
    st = iso_remat_push(out, v, false, err);
    for (int i = 0; st == ISO_OK && i < n->n_in; i++) {
      int u = n->in[i];
      if (last[u] == v && u != n->inplace && !d->node[u].result && !(arena && d->node[u].own)) st = iso_remat_push(out, u, true, err);
    }
    if (st == ISO_OK && last[v] == v && !n->result && !(arena && n->own)) st = iso_remat_push(out, v, true, err);
  }
  if (st != ISO_OK) iso_remat_schedule_close(out);
  free(last);
  return st;
}

int64_t iso_remat_least(const iso_remat_dag *d) {
  int64_t most = 0;
  for (int v = 0; v < d->n; v++) {
    const iso_remat_node *n = &d->node[v];
    int64_t b = n->work_b + n->bytes;
    for (int i = 0; i < n->n_in; i++) b += d->node[n->in[i]].bytes;
    if (n->inplace >= 0) b -= d->node[n->inplace].bytes < n->bytes ? d->node[n->inplace].bytes : n->bytes;
    if (b > most) most = b;
  }
  return most;
}

// ---- Two bits a value.

typedef struct build {
  const iso_remat_dag *d;
  const iso_remat_spec *spec;
  iso_remat_schedule *out;
  bool *live;
  int *need;         // last node, in order, before which a value may be asked for
  int *fwd;          // last reader in the forward pass
  int *head, *next;  // values by need, linked
  int *pinned;       // computations under way that read it
  int first;         // of the backward pass
} build;

static bool reads(const iso_remat_node *n, int v) {
  for (int i = 0; i < n->n_in; i++)
    if (n->in[i] == v) return true;
  return false;
}

static iso_status drop(build *b, int v, iso_err *err) {
  b->live[v] = false;
  return iso_remat_push(b->out, v, true, err);
}

// Computes v again, with what it needs, for node j.
static iso_status again(build *b, int v, int j, iso_err *err) {
  const iso_remat_node *n = &b->d->node[v];
  if (n->once) return iso_fail(err, ISO_EBUG, "schedule: value %s would be computed twice", n->name);
  for (int i = 0; i < n->n_in; i++) {
    if (!b->live[n->in[i]]) ISO_TRY(again(b, n->in[i], j, err));
    b->pinned[n->in[i]]++;
  }
  ISO_TRY(iso_remat_push(b->out, v, false, err));
  b->live[v] = true;
  for (int i = 0; i < n->n_in; i++) {
    int u = n->in[i];
    bool stays = b->spec->keep[u] || b->spec->hold[u];
    if (--b->pinned[u] == 0 && (!stays || b->need[u] < j) && !reads(&b->d->node[j], u)) ISO_TRY(drop(b, u, err));
  }
  return ISO_OK;
}

static iso_status build_run(build *b, iso_err *err) {
  const iso_remat_dag *d = b->d;
  for (int v = 0; v < d->n; v++) {
    b->need[v] = b->fwd[v] = b->head[v] = -1;
    for (int i = 0; i < d->node[v].n_in; i++) {
      int u = d->node[v].in[i];
      if (d->node[v].once)
        b->need[u] = v;
      else
        b->fwd[u] = v;
    }
  }
  for (int v = b->first - 1; v >= 0; v--)
    for (int i = 0; i < d->node[v].n_in; i++) {
      int u = d->node[v].in[i];
      if (!b->spec->keep[v] && b->need[v] > b->need[u]) b->need[u] = b->need[v];
    }
  for (int v = 0; v < b->first; v++)
    if (b->need[v] >= 0) {
      b->next[v] = b->head[b->need[v]];
      b->head[b->need[v]] = v;
    }
  for (int j = 0; j < d->n; j++) {
    const iso_remat_node *n = &d->node[j];
    bool back = j >= b->first;
    for (int i = 0; i < n->n_in; i++)
      if (!b->live[n->in[i]]) ISO_TRY(again(b, n->in[i], j, err));
    ISO_TRY(iso_remat_push(b->out, j, false, err));
    b->live[j] = true;
    if (n->inplace >= 0) b->live[n->inplace] = false;
    for (int i = 0; i <= n->n_in; i++) {
      int u = i < n->n_in ? n->in[i] : j;
      if (!b->live[u] || d->node[u].result) continue;
      bool stays = u >= b->first || b->spec->keep[u] || (back && b->spec->hold[u]);
      if (back ? b->need[u] <= j || !stays : b->fwd[u] <= j && (!stays || b->need[u] < 0) && !(b->first < d->n && reads(&d->node[b->first], u)))
        ISO_TRY(drop(b, u, err));
    }
    for (int u = b->head[j]; u >= 0; u = b->next[u])  // sources of what was computed again
      if (b->live[u] && !d->node[u].result) ISO_TRY(drop(b, u, err));
  }
  return ISO_OK;
}

iso_status iso_remat_build(const iso_remat_dag *d, const iso_remat_spec *spec, iso_remat_schedule *out, iso_err *err) {
  size_t n = (size_t)d->n + 1;
  int *mem = calloc(5 * n, sizeof *mem);
  build b = {.d = d, .spec = spec, .out = out, .live = calloc(n, sizeof(bool))};
  *out = (iso_remat_schedule){0};
  iso_status st = mem && b.live ? iso_remat_forward(d, &b.first, err) : iso_fail(err, ISO_ENOMEM, "no memory for a schedule");
  if (st == ISO_OK) {
    b.need = mem;
    b.fwd = mem + n;
    b.head = mem + 2 * n;
    b.next = mem + 3 * n;
    b.pinned = mem + 4 * n;
    st = build_run(&b, err);
  }
  if (st != ISO_OK) iso_remat_schedule_close(out);
  free(b.live);
  free(mem);
  return st;
}
