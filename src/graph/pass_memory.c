// The memory pass: offsets for every tensor; activations by liveness inside blocks, kept ones by slots.
#include <stdlib.h>
#include <string.h>

#include "graph/op.h"

enum { ALIGN = 64 };
static int64_t up(int64_t n) { return (n + ALIGN - 1) / ALIGN * ALIGN; }

// First and last node of a block that touch a tensor, over all blocks; `home` is the block, -2 when there are several.
typedef struct span {
  int home, first, last;
} span;

static void find_spans(const iso_graph *g, span *s) {
  for (int i = 0; i < g->n_tensors; i++) s[i] = (span){-1, 0, 0};
  for (int b = 0; b < g->n_blocks; b++)
    for (int k = 0; k < g->block[b].n_nodes; k++)
      for (int j = 0; j < ISO_K_OPERANDS; j++) {
        int t = g->block[b].node[k].arg[j].tensor;
        if (t < 0) continue;
        if (s[t].home == -1)
          s[t] = (span){b, k, k};
        else if (s[t].home != b)
          s[t].home = -2;
        else
          s[t].last = k;
      }
}

typedef struct item {
  int tensor;
  int64_t bytes, offset;
  span s;
} item;

static int by_size(const void *a, const void *b) {
  const item *x = a, *y = b;
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
  return x->tensor - y->tensor;
}

// Largest first, each at the lowest offset where it overlaps nobody who lives at the same time; returns the height.
static int64_t pack(item *it, int n) {
  int64_t height = 0;
  qsort(it, (size_t)n, sizeof *it, by_size);
  for (int i = 0; i < n; i++) {
    int64_t at = 0;
    bool moved = true;
    while (moved) {
      moved = false;
      for (int j = 0; j < i; j++) {
        bool together = it[j].s.first <= it[i].s.last && it[i].s.first <= it[j].s.last;
        if (together && at < it[j].offset + it[j].bytes && it[j].offset < at + it[i].bytes) {
          at = it[j].offset + it[j].bytes;
          moved = true;
        }
      }
    }
    it[i].offset = at;
    if (at + it[i].bytes > height) height = at + it[i].bytes;
  }
  return height;
}

// Stream slots under checkpointing: one per `every`-th copy, and `every` - 1 more that the groups share.
static int stream_slots(int count, int every) {
  if (every <= 0 || every >= count) return count + 1;
  return count / every + 1 + every - 1;
}

int iso_arena_slot(const iso_graph *g, const iso_arena_layout *l, int tensor, int copy) {
  const iso_tensor *t = &g->tensor[tensor];
  int slots = l->place[tensor].slots, every = l->re.every;
  if (t->role != ISO_ROLE_ACT || (!t->stream && l->re.layers <= 0) || (t->stream && every <= 0)) return slots > 0 ? copy % slots : 0;
  // The first iterations share a place with the one after them.
  if (!t->stream) return slots <= 1 || copy <= l->re.layers ? 0 : copy - l->re.layers;
  int count = g->block[t->block].count;
  if (every >= count) return copy;
  return copy % every == 0 ? copy / every : count / every + copy % every;
}

static bool writes(const iso_node *n, size_t i) { return n->arg[i].tensor >= 0 && strchr("waxWAX", n->op->io[i]) != NULL; }

static bool has_product(const iso_node *n, const iso_bind *b) {
  int64_t d[ISO_K_DIMS];
  bool have[ISO_K_OPERANDS];
  iso_opcost o = {0};
  for (int j = 0; j < ISO_K_DIMS; j++) d[j] = iso_dim_eval(n->d[j], b);
  for (int j = 0; j < ISO_K_OPERANDS; j++) have[j] = n->arg[j].tensor >= 0;
  n->op->cost(d, have, &o);
  return o.mat_flop > 0;
}

bool iso_node_makes(const iso_node *n, const bool *cheap) {
  bool any = false;
  for (size_t i = 0; n->op->io[i]; i++)
    if (writes(n, i)) {
      if (!cheap[n->arg[i].tensor]) return false;
      any = true;
    }
  return any;
}

// Candidates are the kept values of repeated forward blocks; a product that writes one, or a reader of what is not kept, rules it out.
void iso_pass_cheap(const iso_graph *g, const iso_bind *bind, bool *cheap) {
  for (int i = 0; i < g->n_tensors; i++) {
    const iso_tensor *t = &g->tensor[i];
    cheap[i] = t->role == ISO_ROLE_ACT && t->saved && !t->stream && t->block >= 0 && g->block[t->block].count > 1;
  }
  for (bool again = true; again;) {
    again = false;
    for (int b = 0; b < g->n_blocks; b++)
      for (int k = 0; k < g->block[b].n_nodes; k++) {
        const iso_node *n = &g->block[b].node[k];
        if (g->block[b].section != ISO_SECTION_FORWARD) continue;
        bool fine = g->block[b].count > 1 && iso_node_makes(n, cheap) && !has_product(n, bind);
        for (size_t i = 0; n->op->io[i] && fine; i++) {
          const iso_tensor *t = n->arg[i].tensor >= 0 ? &g->tensor[n->arg[i].tensor] : NULL;
          fine = !t || t->role != ISO_ROLE_ACT || t->stream || t->saved;
        }
        for (size_t i = 0; n->op->io[i] && !fine; i++)
          if (writes(n, i) && cheap[n->arg[i].tensor]) {
            cheap[n->arg[i].tensor] = false;
            again = true;
          }
      }
  }
}

// Slots that an activation needs: all copies when kept, a group's worth under recomputation, else one.
static int act_slots(const iso_graph *g, int i, bool train, const iso_arena_layout *l) {
  const iso_tensor *t = &g->tensor[i];
  int copies = iso_tensor_copies(g, t), every = l->re.every;
  if (t->stream) return train ? stream_slots(g->block[t->block].count, every) : 2;
  if (!train || l->cheap[i]) return 1;
  if (!t->saved) return copies;
  if (every > 0) return every < copies ? every : copies;
  return copies > l->re.layers ? copies - l->re.layers : copies;
}

iso_status iso_pass_memory(const iso_graph *g, const iso_bind *max, size_t elem, bool train, iso_recompute re, iso_arena_layout *out, iso_err *err) {
  *out = (iso_arena_layout){.re = train ? re : (iso_recompute){0}};
  iso_status st = ISO_OK;
  if (re.every < 0 || re.layers < 0 || (re.every > 0 && (re.layers > 0 || re.cheap)))
    return iso_fail(err, ISO_EINVAL, "recomputation: groups of %d and the first %d layers%s: expected groups alone, or no groups", re.every,
                    re.layers, re.cheap ? " and cheap values" : "");
  for (int b = 0; b < g->n_blocks; b++)
    if (train && re.layers > 0 && g->block[b].section == ISO_SECTION_FORWARD && g->block[b].count > 1 && re.layers >= g->block[b].count)
      return iso_fail(err, ISO_EINVAL, "recomputation: the first %d of %d layers: the last one's values are used at once, so fewer must be meant",
                      re.layers, g->block[b].count);
  out->place = calloc((size_t)g->n_tensors + 1, sizeof *out->place);
  span *s = calloc((size_t)g->n_tensors + 1, sizeof *s);
  item *it = calloc((size_t)g->n_tensors + 1, sizeof *it);
  out->cheap = calloc((size_t)g->n_tensors + 1, sizeof *out->cheap);
  if (!out->place || !out->cheap || !s || !it) {
    st = iso_fail(err, ISO_ENOMEM, "no memory for a memory plan");
    goto done;
  }
  find_spans(g, s);
  if (out->re.cheap) iso_pass_cheap(g, max, out->cheap);
  for (int i = 0; i < g->n_tensors; i++) {
    const iso_tensor *t = &g->tensor[i];
    int64_t bytes = iso_tensor_bytes(t, max, elem);
    iso_place *p = &out->place[i];
    bool keep = t->role != ISO_ROLE_ACT || t->stream || (train && t->saved) || s[i].home == -2 || t->block < 0;
    if (!keep) continue;
    bool act = t->role == ISO_ROLE_ACT;
    p->slots = act ? act_slots(g, i, train, out) : iso_tensor_copies(g, t);
    // Copies of weights, gradients and states are contiguous, so that an update runs over all of them at once.
    p->stride = act || t->role == ISO_ROLE_KV ? up(bytes) : bytes;
    p->offset = out->bytes[t->role];
    out->bytes[t->role] += up(p->stride * p->slots);
  }
  out->act_saved = out->bytes[ISO_ROLE_ACT];
  for (int b = 0; b < g->n_blocks; b++) {
    int n = 0;
    for (int i = 0; i < g->n_tensors; i++)
      if (out->place[i].slots == 0 && s[i].home == b) it[n++] = (item){i, up(iso_tensor_bytes(&g->tensor[i], max, elem)), 0, s[i]};
    int64_t height = pack(it, n);
    if (height > out->act_scratch) out->act_scratch = height;
    for (int k = 0; k < n; k++) out->place[it[k].tensor] = (iso_place){out->act_saved + it[k].offset, 0, 1};
  }
  out->bytes[ISO_ROLE_ACT] = out->act_saved + out->act_scratch;
done:
  free(s);
  free(it);
  if (st != ISO_OK) iso_arena_layout_close(out);
  return st;
}

void iso_arena_layout_close(iso_arena_layout *l) {
  free(l->place);
  free(l->cheap);
  l->place = NULL;
  l->cheap = NULL;
}
