// What the layout tests share: tolerances, statuses, shapes.
#ifndef TEST_LAYOUT_NEAR_H
#define TEST_LAYOUT_NEAR_H
#include "base/rng.h"
#include "plan/layout/layout.h"

static inline void near(double got, double want, double tol, const char *what) {
  if (!(fabs(got - want) <= tol)) fail_msg("%s: got %.9g, expected %.9g +- %g", what, got, want, tol);
}

static inline void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}

static inline iso_layout_machine a100(void) {
  iso_device_spec s;
  iso_layout_machine m;
  iso_err e;
  ok(iso_device_spec_find("a100-80", &s, &e), &e);
  ok(iso_layout_machine_from(&s, &m, &e), &e);
  return m;
}

static inline iso_layout_shape gpt(int64_t layers, int64_t width, int64_t heads) {
  return iso_layout_shape_gpt("gpt", layers, width, heads, 51200, 2048);
}

static inline iso_layout_shape llama(int64_t layers, int64_t width, int64_t heads, int64_t kv, int64_t mlp, int64_t vocab, int64_t seq) {
  return (iso_layout_shape){.name = "llama",
                            .layers = layers,
                            .width = width,
                            .heads = heads,
                            .kv_heads = kv,
                            .head_dim = width / heads,
                            .mlp = mlp,
                            .vocab = vocab,
                            .seq = seq,
                            .gated = true};
}

static inline iso_layout tpd(int64_t t, int64_t p, int64_t d, int64_t micro_batch) {
  iso_layout l = iso_layout_default();
  l.tensor = t;
  l.pipeline = p;
  l.data = d;
  l.micro_batch = micro_batch;
  return l;
}

// A layout that the rules allow for `j`, of a schedule with a closed form, by rejection; seed and number decide.
static inline iso_layout random_layout(const iso_layout_job *j, uint64_t number) {
  for (uint64_t k = 0;; k++) {
#define PICK(i, n) iso_rng_below(7, ISO_RNG_TEST, number * 4096 + k, i, n)
    iso_layout l = iso_layout_default();
    l.tensor = 1 << PICK(0, 5);
    l.pipeline = 1 << PICK(1, 5);
    l.data = 1 << PICK(2, 6);
    l.context = 1 << PICK(3, 3);
    l.expert = j->shape.experts ? 1 << PICK(4, 4) : 1;
    l.micro_batch = 1 << PICK(5, 4);
    l.schedule = (iso_layout_sched)PICK(6, ISO_LAYOUT_DUALPIPE);
    if (l.schedule == ISO_LAYOUT_1F1B && PICK(18, 3) == 0) l.schedule = ISO_LAYOUT_DUALPIPE;
    l.chunks = l.schedule == ISO_LAYOUT_INTERLEAVED ? 2 + PICK(7, 3) : iso_layout_sched_v(l.schedule) ? 2 : 1;
    l.recompute = (iso_layout_recompute)PICK(8, 3);
    l.zero = (int)PICK(9, 4);
    l.seq_parallel = PICK(10, 2);
    l.offload = PICK(11, 4) == 0;
    if (PICK(12, 2)) {
      l.local = 1 << PICK(13, 5);
      l.weights_over = (iso_layout_split)PICK(14, 3);
      l.grads_over = (iso_layout_split)PICK(15, 2);
      l.states_over = (iso_layout_split)PICK(16, 2);
      l.quantised = PICK(17, 2);
    }
#undef PICK
    if (iso_layout_check(j, &l, NULL) == ISO_OK) return l;
  }
}
#endif
