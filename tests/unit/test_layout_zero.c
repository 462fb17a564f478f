// ZeRO over parts of the data-parallel group: memory by hand, the published traffic of ZeRO++, one node equal to ZeRO-3, rules.
// clang-format off: cmocka.h needs the standard headers before it
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
// clang-format on
#include "unit/layout_near.h"

static iso_layout split(int64_t d, int zero, int64_t local, iso_layout_split w, iso_layout_split g, iso_layout_split s) {
  iso_layout l = tpd(1, 1, d, 1);
  l.zero = zero;
  l.local = local;
  l.weights_over = w;
  l.grads_over = g;
  l.states_over = s;
  return l;
}

enum { ALL = ISO_LAYOUT_SPLIT_ALL, LOCAL = ISO_LAYOUT_SPLIT_LOCAL, HPZ = ISO_LAYOUT_SPLIT_HPZ };
#define SPLIT(d, zero, local, w, g, s) split(d, zero, local, (iso_layout_split)(w), (iso_layout_split)(g), (iso_layout_split)(s))

static iso_layout_step cost(const iso_layout_job *j, const iso_layout_machine *m, iso_layout l) {
  iso_layout_cal c = iso_layout_cal_default();
  iso_layout_step s;
  iso_err e;
  ok(iso_layout_step_cost(j, m, &c, &l, &s, &e), &e);
  return s;
}

// Bytes a parameter of weights 2, gradients 4, states 12 on 64 ranks, 8 of them neighbours.
static void test_memory(void **state) {
  (void)state;
  iso_layout_job j = iso_layout_job_default();
  iso_layout_counts c;
  iso_layout_mem m;
  j.shape = gpt(24, 2304, 24);
  j.batch = 64;
  iso_layout_count(&j.shape, &c);
  const struct {
    iso_layout l;
    double want;
  } t[] = {{SPLIT(64, 1, 8, ALL, ALL, LOCAL), 2 + 4 + 12 / 8.0},
           {SPLIT(64, 2, 8, ALL, LOCAL, ALL), 2 + 4 / 8.0 + 12 / 64.0},
           {SPLIT(64, 2, 8, ALL, LOCAL, LOCAL), 2 + 16 / 8.0},
           {SPLIT(64, 3, 8, HPZ, ALL, ALL), 18 / 64.0 + 2 / 8.0},  // ZeRO++: a second copy of the weights a node
           {SPLIT(64, 3, 64, HPZ, ALL, ALL), 18 / 64.0},           // which is the first one when all are neighbours
           {SPLIT(64, 3, 8, LOCAL, ALL, ALL), 2 / 8.0 + 16 / 64.0},
           {SPLIT(64, 3, 8, LOCAL, LOCAL, ALL), 6 / 8.0 + 12 / 64.0},
           {SPLIT(64, 3, 8, LOCAL, LOCAL, LOCAL), 18 / 8.0},
           {SPLIT(64, 3, 1, LOCAL, LOCAL, ALL), 6 + 12 / 64.0}};
  iso_err e;
  for (size_t i = 0; i < ISO_COUNT(t); i++) {
    ok(iso_layout_check(&j, &t[i].l, &e), &e);
    iso_layout_memory(&j, &t[i].l, &m);
    near((m.weights_b + m.grads_b + m.optim_b) / (double)c.params, t[i].want, 1e-9, "bytes a parameter");
    near(m.weights_b + m.grads_b + m.optim_b + m.act_b + m.work_b, m.total_b, 0, "parts");
  }
}

// Bytes that a node sends for a micro-batch over those of 16-bit weights, from the roofline of the links between nodes, which counts bytes.
static double sent(iso_layout l, int64_t per_node, double *once) {
  iso_layout_job j = iso_layout_job_default();
  iso_layout_machine m = a100();
  iso_layout_counts c;
  j.shape = gpt(24, 2304, 24);
  j.shape.tied = false;
  m.per_node = per_node;
  iso_layout_count(&j.shape, &c);
  double a, b, nodes = (double)l.data / (double)per_node, unit = 2 * (double)c.params / ((double)per_node * m.inter_b_s);
  j.batch = l.data;
  a = cost(&j, &m, l).inter_roof_s;
  j.batch = 3 * l.data;
  b = cost(&j, &m, l).inter_roof_s;
  if (once) *once = (a - (b - a) / 2) / unit * nodes / (nodes - 1);
  return (b - a) / 2 / unit;
}

// ZeRO++ (arXiv:2306.10209): M for each of forward gather, backward gather and reduce-scatter of ZeRO-3; hpZ saves the second, qwZ half of a
// gather, qgZ three quarters of the scatter: 3 M, 2 M and 0.75 M. Rings send (n - 1) / n of it, all-to-alls (nodes - 1) / nodes.
static void test_published_traffic(void **state) {
  (void)state;
  const double ring = 63.0 / 64, hops = 7.0 / 8;
  double once;
  near(sent(SPLIT(64, 3, 0, ALL, ALL, ALL), 8, NULL), 3 * ring, 1e-9, "ZeRO-3");
  near(sent(SPLIT(64, 3, 8, HPZ, ALL, ALL), 8, NULL), 2 * ring, 1e-9, "hpZ");
  iso_layout l = SPLIT(64, 3, 8, ALL, ALL, ALL);
  l.quantised = true;
  near(sent(l, 8, NULL), 2 * 0.5 * ring + 0.25 * hops, 1e-9, "qwZ and qgZ");
  l.weights_over = ISO_LAYOUT_SPLIT_HPZ;
  near(sent(l, 8, NULL), 0.5 * ring + 0.25 * hops, 1e-9, "ZeRO++: 0.75 M");
  near(sent(SPLIT(4096, 3, 0, ALL, ALL, ALL), 16, NULL), 3, 1e-3, "3 M");
  l = SPLIT(4096, 3, 16, HPZ, ALL, ALL);
  l.quantised = true;
  near(sent(l, 16, NULL), 0.75, 2e-3, "0.75 M");
  // Split over nodes alone: nothing between them but once a step, weights back (M) or gradients too (2 M more, or M where states are split).
  near(sent(SPLIT(64, 3, 8, LOCAL, ALL, ALL), 8, &once), ring, 1e-9, "local weights");
  near(once, 1, 1e-9, "weights back");
  near(sent(SPLIT(64, 3, 8, LOCAL, LOCAL, ALL), 8, &once), 0, 1e-9, "local gradients");
  near(once, 2, 1e-9, "gradients there, weights back");
  near(sent(SPLIT(64, 3, 8, LOCAL, LOCAL, LOCAL), 8, &once), 0, 1e-9, "all local");
  near(once, 2, 1e-9, "gradients summed");
}

// Whose neighbours are all there is, has what the plain stage has.
static void test_one_node(void **state) {
  (void)state;
  iso_layout_job j = iso_layout_job_default();
  iso_layout_machine m = a100();
  iso_layout_mem a, b;
  j.shape = gpt(24, 2304, 24);
  j.batch = 64;
  for (int moe = 0; moe < 2; moe++) {
    if (moe) {
      j.shape = llama(8, 2048, 16, 16, 4096, 32000, 2048);
      j.shape.experts = 8;
      j.shape.experts_used = 2;
    }
    for (int zero = 1; zero <= 3; zero++) {
      iso_layout plain = SPLIT(8, zero, 0, ALL, ALL, ALL);
      plain.expert = moe ? 4 : 1;
      double want = cost(&j, &m, plain).step_s;
      iso_layout_memory(&j, &plain, &a);
      for (int w = ALL; w <= (zero > 2 ? HPZ : ALL); w++) {
        bool local = w == LOCAL || zero < 3;
        iso_layout l = SPLIT(8, zero, 8, w, zero > 1 && local ? LOCAL : ALL, local ? LOCAL : ALL);
        l.expert = plain.expert;
        near(cost(&j, &m, l).step_s / want, 1, 1e-12, "one node");
        iso_layout_memory(&j, &l, &b);
        near(b.total_b / a.total_b, 1, 1e-12, "bytes of one node");
      }
    }
  }
}

// On slow links between nodes each step of ZeRO++ helps, and no layout undercuts its rooflines.
static void test_slow_links(void **state) {
  (void)state;
  iso_layout_job j = iso_layout_job_default();
  iso_layout_machine m = a100();
  j.shape = gpt(48, 6144, 48);
  j.batch = 256;
  m.inter_b_s /= 10;
  iso_layout l = SPLIT(64, 3, 0, ALL, ALL, ALL);
  double plain = cost(&j, &m, l).step_s;
  l.local = 8;
  l.weights_over = ISO_LAYOUT_SPLIT_HPZ;
  double hpz = cost(&j, &m, l).step_s;
  l.quantised = true;
  iso_layout_step all = cost(&j, &m, l);
  l = SPLIT(64, 3, 8, LOCAL, LOCAL, ALL);
  iso_layout_step local = cost(&j, &m, l);
  print_message("ZeRO-3 %.1f s, hpZ %.1f s, ZeRO++ %.1f s, weights and gradients in nodes %.1f s\n", plain, hpz, all.step_s, local.step_s);
  assert_true(hpz < 0.75 * plain && all.step_s < 0.6 * hpz && all.step_s >= all.roofline_s);
  assert_true(local.step_s < hpz && local.step_s >= local.roofline_s);
}

static void refuse(iso_layout l, const char *word) {
  iso_layout_job j = iso_layout_job_default();
  iso_err e = {0};
  j.shape = gpt(24, 2304, 24);
  j.batch = 64;
  if (iso_layout_check(&j, &l, &e) != ISO_EINVAL || !strstr(e.msg, word)) fail_msg("expected a refusal with '%s', got '%s'", word, e.msg);
}

static void test_rules(void **state) {
  (void)state;
  refuse(SPLIT(64, 3, 3, HPZ, ALL, ALL), "local = 3");
  refuse(SPLIT(64, 3, 65, HPZ, ALL, ALL), "local is 65");
  refuse(SPLIT(64, 3, 0, HPZ, ALL, ALL), "weights over hpz need");
  refuse(SPLIT(64, 2, 8, HPZ, ALL, ALL), "weights over hpz need zero = 3");
  refuse(SPLIT(64, 1, 8, ALL, LOCAL, ALL), "gradients over local need zero = 2");
  refuse(SPLIT(64, 2, 8, ALL, ALL, LOCAL), "as finely as gradients");
  refuse(SPLIT(64, 3, 8, HPZ, LOCAL, ALL), "as finely as weights");
  refuse(SPLIT(64, 3, 8, ALL, HPZ, ALL), "gradients split over number 2");
  iso_layout l = SPLIT(64, 2, 8, ALL, ALL, ALL);
  l.quantised = true;
  refuse(l, "quantised collectives");
  l = SPLIT(64, 3, 8, LOCAL, LOCAL, LOCAL);
  l.quantised = true;
  refuse(l, "states over local");
}

int main(void) {
  const struct CMUnitTest t[] = {cmocka_unit_test(test_memory), cmocka_unit_test(test_published_traffic), cmocka_unit_test(test_one_node),
                                 cmocka_unit_test(test_slow_links), cmocka_unit_test(test_rules)};
  return cmocka_run_group_tests(t, NULL, NULL);
}
