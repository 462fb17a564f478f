// The timeline of offloaded values, and the choice of values by greed or by branch and bound.
#include "plan/remat/offload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct line {
  const iso_offload_job *j;
  double *sent, *back;  // [blocks + 2] times when a block's values are out, and when it has been differentiated
  int64_t *move;        // [blocks + 2] bytes of each block that go
  int *first, *order;   // values by block
} line;

static void line_close(line *l) {
  free(l->sent);
  free(l->move);
  free(l->first);
  free(l->order);
}

static iso_status line_open(line *l, const iso_offload_job *j, iso_err *err) {
  if (j->blocks < 1 || !(j->b_s > 0)) return iso_fail(err, ISO_EINVAL, "offloading: %d blocks over a link of %g bytes a second", j->blocks, j->b_s);
  for (int v = 0; v < j->values; v++)
    if (j->value[v].block < 0 || j->value[v].block >= j->blocks || j->value[v].bytes < 0)
      return iso_fail(err, ISO_EINVAL, "offloading: value %d of block %d with %lld bytes", v, j->value[v].block, (long long)j->value[v].bytes);
  size_t n = (size_t)j->blocks + 2;
  *l = (line){.j = j, .sent = calloc(2 * n, sizeof *l->sent), .move = calloc(n, sizeof *l->move), .first = calloc(n, sizeof *l->first)};
  l->order = calloc((size_t)j->values + 1, sizeof *l->order);
  if (!l->sent || !l->move || !l->first || !l->order) {
    line_close(l);
    return iso_fail(err, ISO_ENOMEM, "no memory to plan offloading");
  }
  l->back = l->sent + n;
  for (int b = 0, at = 0; b < j->blocks; b++) {
    l->first[b] = at;
    for (int v = 0; v < j->values; v++)
      if (j->value[v].block == b) l->order[at++] = v;
    l->first[b + 1] = at;
  }
  return ISO_OK;
}

static void moves(line *l, const bool *out) {
  memset(l->move, 0, ((size_t)l->j->blocks + 2) * sizeof *l->move);
  for (int v = 0; v < l->j->values; v++)
    if (out[v]) l->move[l->j->value[v].block] += l->j->value[v].bytes;
}

// Plays the step with l->move bytes of each block.
static void play(line *l, iso_offload_use *use) {
  const iso_offload_job *j = l->j;
  int n = j->blocks;
  double now = 0, link = 0, work = j->head_s;
  int64_t most = 0;
  *use = (iso_offload_use){0};
  for (int b = 0; b < n; b++) {
    use->moved_b += l->move[b];
    if (l->move[b] > most) most = l->move[b];
    if (b >= 2) now = fmax(now, l->sent[b - 2]);
    now += j->fwd_s[b];
    if (l->move[b] > 0) link = fmax(link, now) + (double)l->move[b] / j->b_s;
    l->sent[b] = l->move[b] > 0 ? link : now;
    work += j->fwd_s[b] + j->bwd_s[b];
  }
  now += j->head_s;
  link = 0;
  for (int b = n - 1; b >= 0; b--) {
    if (l->move[b] > 0) {
      link = fmax(fmax(link, l->sent[b]), b + 2 < n ? l->back[b + 2] : 0) + (double)l->move[b] / j->b_s;
      now = fmax(now, link);
    }
    now += j->bwd_s[b];
    l->back[b] = now;
  }
  use->step_s = now;
  use->stall_s = fmax(0, now - work);
  use->link_s = 2 * (double)use->moved_b / j->b_s;
  use->freed_b = use->moved_b - 2 * most;
}

iso_status iso_offload_play(const iso_offload_job *j, const bool *out, iso_offload_use *use, iso_err *err) {
  line l;
  ISO_TRY(line_open(&l, j, err));
  moves(&l, out);
  play(&l, use);
  line_close(&l);
  return ISO_OK;
}

// The value to move next, or -1. Of a block's values only the largest and the smallest are tried.
static int next_value(line *l, const bool *out, const iso_offload_use *now) {
  const iso_offload_job *j = l->j;
  int pick = -1;
  double best = -1;
  for (int b = 0; b < j->blocks; b++) {
    int ends[2] = {-1, -1};
    for (int i = l->first[b]; i < l->first[b + 1]; i++) {
      int v = l->order[i];
      if (out[v] || j->value[v].bytes == 0) continue;
      if (ends[0] < 0 || j->value[v].bytes > j->value[ends[0]].bytes) ends[0] = v;
      if (ends[1] < 0 || j->value[v].bytes < j->value[ends[1]].bytes) ends[1] = v;
    }
    for (int e = 0; e < 2; e++) {
      iso_offload_use t;
      int v = ends[e];
      if (v < 0 || (e == 1 && j->value[v].bytes == j->value[ends[0]].bytes)) continue;
      l->move[b] += j->value[v].bytes;
      play(l, &t);
      l->move[b] -= j->value[v].bytes;
      // Hidden transfers: the largest first. A nanosecond keeps the rate finite and hidden ones ahead.
      double rate = (double)j->value[v].bytes / (fmax(0, t.stall_s - now->stall_s) + 1e-9);
      if (rate > best) {
        best = rate;
        pick = v;
      }
    }
  }
  return pick;
}

iso_status iso_offload_greedy(const iso_offload_job *j, int64_t need_b, bool *out, iso_offload_use *use, bool *found, iso_err *err) {
  line l;
  ISO_TRY(line_open(&l, j, err));
  memset(out, 0, (size_t)j->values * sizeof *out);
  play(&l, use);
  while (use->freed_b < need_b) {
    int pick = next_value(&l, out, use);
    if (pick < 0) break;
    out[pick] = true;
    l.move[j->value[pick].block] += j->value[pick].bytes;
    play(&l, use);
  }
  *found = use->freed_b >= need_b;
  for (int v = 0; *found && v < j->values; v++) {
    iso_offload_use t;
    if (!out[v]) continue;
    l.move[j->value[v].block] -= j->value[v].bytes;
    play(&l, &t);
    if (t.freed_b >= need_b) {
      *use = t;
      out[v] = false;
    } else {
      l.move[j->value[v].block] += j->value[v].bytes;
    }
  }
  line_close(&l);
  return ISO_OK;
}

typedef struct branch {
  line l;
  int64_t need_b;
  bool *now, *best;
  iso_offload_use use;
  bool found;
} branch;

// Values from v on are open: `left_b` bytes.
static void walk(branch *b, int v, int64_t left_b) {
  iso_offload_use t;
  moves(&b->l, b->now);
  play(&b->l, &t);
  if (b->found && t.step_s >= b->use.step_s) return;  // moving more makes no step shorter
  if (t.freed_b >= b->need_b) {
    b->found = true;
    b->use = t;
    memcpy(b->best, b->now, (size_t)b->l.j->values * sizeof *b->best);
    return;
  }
  if (v == b->l.j->values || t.moved_b + left_b < b->need_b) return;
  int64_t left = left_b - b->l.j->value[v].bytes;
  b->now[v] = true;
  walk(b, v + 1, left);
  b->now[v] = false;
  walk(b, v + 1, left);
}

iso_status iso_offload_exact(const iso_offload_job *j, int64_t need_b, bool *out, iso_offload_use *use, bool *found, iso_err *err) {
  if (j->values > 24) return iso_fail(err, ISO_EUNSUP, "offloading: every choice of %d values is too many, expected up to 24", j->values);
  branch b = {.need_b = need_b, .best = out};
  int64_t all = 0;
  bool now[24] = {false};
  ISO_TRY(line_open(&b.l, j, err));
  memset(out, 0, (size_t)j->values * sizeof *out);
  b.now = now;
  for (int v = 0; v < j->values; v++) all += j->value[v].bytes;
  walk(&b, 0, all);
  *found = b.found;
  *use = b.use;
  line_close(&b.l);
  return ISO_OK;
}
