// Checkpointing schemes that split a chain again and again: groups of k, halves, and revolve's binomial splits.
#include <math.h>
#include <stdlib.h>

#include "plan/remat/chain_impl.h"

typedef struct tree {
  iso_remat_writer w;
  const int *step;
  int steps;
  iso_remat_split_fn split;
  void *arg;
} tree;

static int atom_at(const tree *t, int step) { return step < t->steps ? t->step[step] : t->w.c->n; }

static iso_status run(tree *t, int a, int b, int depth, iso_err *err) {
  int m = b - a > 1 ? t->split(t->arg, b - a, depth) : 0;
  if (m <= 0 || m >= b - a) return iso_remat_write_whole(&t->w, atom_at(t, a), atom_at(t, b), err);
  int at = atom_at(t, a + m);
  ISO_TRY(iso_remat_write_forward(&t->w, atom_at(t, a), at, NULL, err));
  ISO_TRY(run(t, a + m, b, depth + 1, err));
  ISO_TRY(iso_remat_push(t->w.out, t->w.c->atom[at - 1].f1 - 1, true, err));
  return run(t, a, a + m, depth, err);
}

iso_status iso_remat_tree(const iso_remat_dag *d, const iso_remat_chain *c, const int *step, int steps, iso_remat_split_fn split, void *arg,
                          iso_remat_schedule *out, iso_err *err) {
  tree t = {.step = step, .steps = steps, .split = split, .arg = arg};
  ISO_TRY(iso_remat_writer_open(&t.w, d, c, out, err));
  iso_status st = run(&t, 0, steps, 0, err);
  if (st != ISO_OK) iso_remat_schedule_close(out);
  iso_remat_writer_close(&t.w);
  return st;
}

static int split_every(void *arg, int len, int depth) {
  int every = *(const int *)arg;
  (void)depth;
  return len > every ? every : 0;
}

iso_status iso_remat_every(const iso_remat_dag *d, const iso_remat_chain *c, const int *step, int steps, int every, iso_remat_schedule *out,
                           iso_err *err) {
  if (every < 1) return iso_fail(err, ISO_EINVAL, "groups of %d layers: expected one or more", every);
  return iso_remat_tree(d, c, step, steps, split_every, &every, out, err);
}

// ceil(n / k) groups keep that many values, and k steps' worth is there at once.
int iso_remat_sqrt(int steps) {
  int best = 1;
  for (int k = 1; k <= steps; k++)
    if ((steps + k - 1) / k + k < (steps + best - 1) / best + best) best = k;
  return best;
}

static int split_half(void *arg, int len, int depth) {
  (void)arg;
  (void)depth;
  return len / 2;
}

iso_status iso_remat_halves(const iso_remat_dag *d, const iso_remat_chain *c, const int *step, int steps, iso_remat_schedule *out, iso_err *err) {
  return iso_remat_tree(d, c, step, steps, split_half, NULL, out, err);
}

// C(n, k), saturating.
static int64_t choose(int64_t n, int64_t k) {
  double v = 1;
  if (k < 0 || k > n) return 0;
  if (k > n - k) k = n - k;
  for (int64_t i = 1; i <= k; i++) {
    v = v * (double)(n - k + i) / (double)i;
    if (v > 9e15) return INT64_MAX / 4;
  }
  return (int64_t)llround(v);
}

int64_t iso_remat_revolve_length(int64_t slots, int64_t repeats) { return choose(slots + repeats, slots); }

int64_t iso_remat_revolve_steps(int64_t steps, int64_t slots) {
  int64_t r = 0;
  if (slots < 1) return -1;
  if (steps <= 1) return 0;
  while (choose(slots + r, slots) < steps) r++;
  return r * steps - choose(slots + r, r - 1);
}

static int split_revolve(void *arg, int len, int depth) {
  int slots = *(const int *)arg - depth, best = len - 1;
  int64_t least = INT64_MAX;
  if (slots <= 1) return len - 1;
  for (int m = 1; m < len; m++) {
    int64_t n = m + iso_remat_revolve_steps(len - m, slots - 1) + iso_remat_revolve_steps(m, slots);
    if (n < least) {
      least = n;
      best = m;
    }
  }
  return best;
}

iso_status iso_remat_revolve(const iso_remat_dag *d, const iso_remat_chain *c, const int *step, int steps, int slots, iso_remat_schedule *out,
                             iso_err *err) {
  if (slots < 1) return iso_fail(err, ISO_EINVAL, "revolve with %d values kept: expected one or more", slots);
  return iso_remat_tree(d, c, step, steps, split_revolve, &slots, out, err);
}

iso_status iso_remat_layers(const iso_remat_dag *d, const iso_remat_chain *c, int **step, int *n, iso_err *err) {
  int *s = calloc((size_t)c->n + 1, sizeof *s), seen = 0;
  if (!s) return iso_fail(err, ISO_ENOMEM, "no memory for the layers of a chain");
  *n = 0;
  for (int a = 0; a < c->n; a++) {
    int layer = d->node[c->atom[a].f0].layer;
    if (layer < seen) continue;
    s[(*n)++] = seen == 0 ? 0 : a;
    seen = layer + 1;
  }
  if (*n == 0) s[(*n)++] = 0;
  *step = s;
  return ISO_OK;
}
