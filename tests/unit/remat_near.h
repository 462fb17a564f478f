// Helpers of the rematerialisation tests: random graphs of values and training graphs of models.
#ifndef TESTS_REMAT_NEAR_H
#define TESTS_REMAT_NEAR_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first.
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "graph/exec.h"
#include "model/arch.h"
#include "plan/remat/remat.h"

#define OK(call)                                                  \
  do {                                                            \
    iso_err ok_err_ = {0};                                        \
    iso_err *err = &ok_err_;                                      \
    if ((call) != ISO_OK) fail_msg("%s: %s", #call, ok_err_.msg); \
  } while (0)

static inline bool small(void) { return getenv("ISOFLOP_TEST_SMALL") != NULL; }

// `forward` values, each reading one to three before it (the last one mostly), then a gradient of each in reverse order that reads the one
// before it, in place where sizes allow, and up to two values.
static inline iso_remat_dag *random_training(uint64_t seed, int forward, int back) {
  iso_remat_dag *d;
  uint64_t k = 0;
#define DRAW(n) ((int)iso_rng_below(seed, ISO_RNG_TEST, k++, 0, (n)))
  OK(iso_remat_open(&d, err));
  for (int v = 0; v < forward + back; v++) {
    iso_remat_node n = {.name = "v", .cost = 1 + DRAW(9), .bytes = 1 + DRAW(6), .work_b = DRAW(4) ? 0 : DRAW(3), .inplace = -1, .layer = -1};
    n.flop = 2 * n.cost;
    n.once = v >= forward;
    int reach = v < forward ? v : forward;
    if (v > forward) n.in[n.n_in++] = v - 1;
    if (v > 0 && v < forward && DRAW(5)) n.in[n.n_in++] = v - 1;
    for (int i = DRAW(3); i > 0 && reach > 0; i--)
      n.in[n.n_in++] = v < forward ? DRAW(reach) : (2 * forward - 1 - v + DRAW(3) + 2 * forward) % forward;
    if (v == forward && forward > 0) n.in[n.n_in++] = forward - 1;
    if (v > forward && DRAW(3) == 0) n.inplace = v - 1;
    n.result = v == forward + back - 1 && DRAW(2);
    OK(iso_remat_add(d, &n, NULL, err));
  }
#undef DRAW
  return d;
}

// The training graph of a shape (iso_config_parse), f32 values.
static inline iso_graph *model_graph(const char *shape, const char *arch) {
  iso_graph *g;
  iso_graph_io io;
  iso_model_config c;
  const iso_arch *a;
  OK(iso_config_parse(shape, &c, err));
  if (arch) strcpy(c.arch, arch);
  OK(iso_arch_find(c.arch, &a, err));
  OK(iso_graph_open(&g, err));
  OK(a->build(&c, &(iso_build){.mode = ISO_MODE_LOSS}, g, &io, err));
  OK(iso_pass_gradient(g, err));
  return g;
}

static inline iso_remat_use use_of(const iso_remat_dag *d, const iso_remat_schedule *s) {
  iso_remat_use u;
  OK(iso_remat_replay(d, s, &u, err));
  return u;
}
#endif
