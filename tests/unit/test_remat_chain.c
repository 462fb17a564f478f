// Rematerialisation of chains: revolve's closed forms, the trainer's own memory plan and recomputation, and the best plans of real graphs.
#include <stdlib.h>

#include "remat_near.h"

// ---- Closed forms.

// Least forward steps by trying every split: t(l, s) = min over m of m + t(l - m, s - 1) + t(m, s).
static void test_revolve_numbers(void **state) {
  (void)state;
  enum { L = 60, S = 8 };
  static int64_t t[L + 1][S + 1];
  for (int s = 1; s <= S; s++)
    for (int l = 1; l <= L; l++) {
      t[l][s] = l == 1 ? 0 : INT64_MAX;
      for (int m = 1; m < l; m++) {
        int64_t right = s > 1 ? t[l - m][s - 1] : l - m == 1 ? 0 : INT64_MAX;
        if (right < INT64_MAX && m + right + t[m][s] < t[l][s]) t[l][s] = m + right + t[m][s];
      }
      assert_int_equal(iso_remat_revolve_steps(l, s), t[l][s]);
    }
  // Griewank 1992: C(s + r, s) steps with s values and r repeats; the paper's 3 and 3 do 20.
  assert_int_equal(iso_remat_revolve_length(3, 3), 20);
  assert_int_equal(iso_remat_revolve_length(1, 5), 6);
  assert_int_equal(iso_remat_revolve_length(4, 2), 15);
  assert_int_equal(iso_remat_revolve_length(10, 3), 286);
  assert_int_equal(iso_remat_revolve_steps(10, 0), -1);
}

// A chain of n equal steps: a forward value each, of 1 byte and cost 1, and a gradient in place of the one before that reads what entered the
// step. What the last step puts out is read too.
static iso_remat_dag *line(int n) {
  iso_remat_dag *d;
  OK(iso_remat_open(&d, err));
  for (int v = 0; v < n; v++)
    OK(iso_remat_add(d, &(iso_remat_node){.name = "x", .cost = 1, .bytes = 1, .n_in = v > 0, .in = {v - 1}, .inplace = -1, .layer = v}, NULL, err));
  for (int v = 0; v < n; v++) {
    iso_remat_node g = {.name = "g", .bytes = 1, .inplace = -1, .once = true, .layer = n - 1 - v};
    if (v > 0) {
      g.in[g.n_in++] = n + v - 1;
      g.inplace = n + v - 1;
    }
    if (v == 0) g.in[g.n_in++] = n - 1;
    if (v < n - 1) g.in[g.n_in++] = n - 2 - v;
    OK(iso_remat_add(d, &g, NULL, err));
  }
  return d;
}

// Schedules of revolve on that chain take the steps of the closed form and the last step's own, and no step runs more than r times.
static void test_revolve_schedules(void **state) {
  (void)state;
  for (int s = 1; s <= 4; s++)
    for (int r = 1; r <= 3; r++) {
      int n = (int)iso_remat_revolve_length(s, r), *step, steps;
      if (n > 40) continue;
      iso_remat_dag *d = line(n);
      iso_remat_chain *c;
      iso_remat_schedule sch;
      OK(iso_remat_chain_open(d, &c, err));
      OK(iso_remat_layers(d, c, &step, &steps, err));
      assert_int_equal(steps, n);
      OK(iso_remat_revolve(d, c, step, steps, s, &sch, err));
      iso_remat_use u = use_of(d, &sch);
      assert_true(u.cost == (double)(1 + iso_remat_revolve_steps(n, s)));
      assert_int_equal(u.intervals, r);
      // Kept values (the start is none here), two of the step that runs, the gradient that waits.
      assert_true(u.peak_b <= s - 1 + 3);
      iso_remat_schedule_close(&sch);
      free(step);
      iso_remat_chain_close(c);
      iso_remat_close(d);
    }
}

static void test_sqrt(void **state) {
  (void)state;
  for (int n = 1; n < 400; n++) {
    int k = iso_remat_sqrt(n), held = (n + k - 1) / k + k;
    for (int j = 1; j <= n; j++) assert_true((n + j - 1) / j + j >= held);
    assert_true(fabs(held - 2 * sqrt((double)n)) <= 1);  // 2 sqrt(n)
  }
}

// ---- The trainer's own plans.

static const struct {
  const char *shape, *arch;
  int64_t b, t;
} MODELS[] = {{"3,64,2/2,176,512,128", "llama", 2, 64}, {"4,128,4/2,352,1000,128", "llama", 4, 128}, {"2,96,3/3,384,512,64", "gpt2", 2, 64}};

static void test_keep_all_is_the_arena(void **state) {
  (void)state;
  for (size_t i = 0; i < ISO_COUNT(MODELS); i++) {
    iso_graph *g = model_graph(MODELS[i].shape, MODELS[i].arch);
    iso_bind b = iso_bind_batch(MODELS[i].b, MODELS[i].t);
    for (size_t elem = 2; elem <= 8; elem *= 2) {
      iso_remat_dag *d;
      iso_arena_layout l;
      iso_remat_schedule s;
      OK(iso_remat_from_graph(g, &b, elem, NULL, &d, err));
      OK(iso_pass_memory(g, &b, elem, true, (iso_recompute){0}, &l, err));
      OK(iso_remat_keep_all(d, true, &s, err));
      iso_remat_use arena = use_of(d, &s);
      iso_remat_schedule_close(&s);
      OK(iso_remat_keep_all(d, false, &s, err));
      iso_remat_use lively = use_of(d, &s);
      iso_remat_schedule_close(&s);
      // All but the last norm's statistics (the one or two vectors that are saved without the values beside them), scratch packed tight.
      int64_t rows = (MODELS[i].b * MODELS[i].t * (int64_t)elem + 63) / 64 * 64;
      int64_t stats = rows * (strcmp(MODELS[i].arch, "gpt2") == 0 ? 2 : 1);
      assert_int_equal(arena.peak_b, l.bytes[ISO_ROLE_ACT] - stats);
      assert_true(lively.peak_b < arena.peak_b && lively.again == 0);
      // One node per call: the same FLOPs as the cost pass.
      iso_graph_cost f = iso_pass_cost(g, ISO_SECTION_FORWARD, &b, elem), k = iso_pass_cost(g, ISO_SECTION_BACKWARD, &b, elem);
      assert_true(fabs(lively.flop / (f.mat_flop + f.vec_flop + k.mat_flop + k.vec_flop) - 1) < 1e-12);
      iso_arena_layout_close(&l);
      iso_remat_close(d);
    }
    iso_graph_close(g);
  }
}

// Groups of k layers as the trainer runs them; the embedding, which it keeps, is looked up again.
static void test_every_costs_what_the_trainer_runs(void **state) {
  (void)state;
  for (size_t i = 0; i < ISO_COUNT(MODELS); i++) {
    iso_graph *g = model_graph(MODELS[i].shape, MODELS[i].arch);
    iso_bind b = iso_bind_batch(MODELS[i].b, MODELS[i].t);
    iso_remat_dag *d;
    iso_remat_chain *c;
    int *step, steps, nf;
    OK(iso_remat_from_graph(g, &b, 4, NULL, &d, err));
    OK(iso_remat_forward(d, &nf, err));
    OK(iso_remat_chain_open(d, &c, err));
    OK(iso_remat_layers(d, c, &step, &steps, err));
    double plain = iso_pass_cost(g, ISO_SECTION_BACKWARD, &b, 4).mat_flop + iso_pass_cost(g, ISO_SECTION_BACKWARD, &b, 4).vec_flop;
    for (int k = 1; k <= steps; k++) {
      iso_remat_schedule s;
      OK(iso_remat_every(d, c, step, steps, k, &s, err));
      iso_remat_use u = use_of(d, &s);
      iso_graph_cost x;
      OK(iso_exec_cost(g, ISO_SECTION_BACKWARD, &b, 4, (iso_recompute){.every = k < steps ? k : 0}, &x, err));
      double want = x.mat_flop + x.vec_flop - plain + (k < steps ? d->node[0].flop : 0);
      assert_true(fabs(u.extra_flop - want) <= 1e-9 * x.mat_flop);
      iso_remat_schedule_close(&s);
    }
    free(step);
    iso_remat_chain_close(c);
    iso_remat_close(d);
    iso_graph_close(g);
  }
}

// ---- The best plans.

// Every point is a schedule that the replay agrees with, none beats the bound or, on graphs small enough, the exact optimum.
static void test_front(void **state) {
  (void)state;
  for (size_t i = 0; i < ISO_COUNT(MODELS); i++) {
    iso_graph *g = model_graph(MODELS[i].shape, MODELS[i].arch);
    iso_bind b = iso_bind_batch(MODELS[i].b, MODELS[i].t);
    iso_remat_dag *d;
    iso_remat_chain *c;
    iso_remat_front *f;
    double once = 0, bound;
    OK(iso_remat_from_graph(g, &b, 4, NULL, &d, err));
    OK(iso_remat_chain_open(d, &c, err));
    OK(iso_remat_front_open(d, c, 4096, 0, &f, err));
    for (int v = 0; v < d->n; v++) once += d->node[v].once ? d->node[v].cost : 0;
    assert_false(iso_remat_front_thinned(f));
    int n = iso_remat_front_count(f);
    assert_true(n > 20);
    for (int j = 0; j < n; j += small() ? 9 : 1) {
      iso_remat_point p = iso_remat_front_at(f, j);
      iso_remat_schedule s;
      OK(iso_remat_front_schedule(f, j, &s, err));
      iso_remat_use u = use_of(d, &s);
      assert_int_equal(u.peak_b, p.peak_b);
      assert_true(fabs(u.cost / (p.cost + once) - 1) < 1e-9);
      assert_int_equal(iso_remat_front_under(f, p.peak_b), j);
      OK(iso_remat_bound(d, p.peak_b, &bound, err));
      assert_true(bound <= u.cost * (1 + 1e-9));
      iso_remat_schedule_close(&s);
    }
    // The cheapest plan computes nothing again, at the peak of keeping all or below.
    iso_remat_schedule s;
    OK(iso_remat_keep_all(d, false, &s, err));
    iso_remat_use all = use_of(d, &s);
    iso_remat_point last = iso_remat_front_at(f, n - 1);
    assert_true(fabs((last.cost + once) / all.cost - 1) < 1e-12 && last.peak_b <= all.peak_b);
    assert_int_equal(iso_remat_front_under(f, iso_remat_front_at(f, 0).peak_b - 1), -1);
    iso_remat_schedule_close(&s);
    iso_remat_front_close(f);
    iso_remat_chain_close(c);
    iso_remat_close(d);
    iso_graph_close(g);
  }
}

// Two layers, against the optimum over all schedules of the whole graph.
static void test_front_against_exact(void **state) {
  (void)state;
  iso_graph *g = model_graph("2,64,2/2,176,512,128", "llama");
  iso_bind b = iso_bind_batch(2, 64);
  iso_remat_dag *d;
  iso_remat_chain *c;
  iso_remat_front *f;
  iso_remat_schedule s;
  double forward = 0, once = 0, worst = 0;
  OK(iso_remat_from_graph(g, &b, 4, NULL, &d, err));
  OK(iso_remat_chain_open(d, &c, err));
  OK(iso_remat_front_open(d, c, 4096, 0, &f, err));
  OK(iso_remat_keep_all(d, false, &s, err));
  int64_t all = use_of(d, &s).peak_b;
  iso_remat_schedule_close(&s);
  for (int v = 0; v < d->n; v++) *(d->node[v].once ? &once : &forward) += d->node[v].cost;
  for (int q = small() ? 65 : 45; q < 100; q += 5) {
    int64_t limit = all / 100 * q;
    iso_remat_answer a;
    OK(iso_remat_exact(d, limit, NULL, -1, 4000000, &a, NULL, err));
    assert_true(a.optimal);
    int i = iso_remat_front_under(f, limit);
    assert_true(i >= 0);
    double over = iso_remat_front_at(f, i).cost + once - a.cost;
    assert_true(over >= -1e-9 * a.cost);
    print_message("%d%%: optimum %.3f%%, per block %.3f%% more\n", q, 100 * (a.cost - once - forward) / forward, 100 * over / forward);
    worst = fmax(worst, over / forward);
  }
  print_message("plans per block: at most %.3f%% of a forward pass above the optimum over all schedules\n", 100 * worst);
  assert_true(worst < 0.02);
  iso_remat_front_close(f);
  iso_remat_chain_close(c);
  iso_remat_close(d);
  iso_graph_close(g);
}

// At most C retention intervals a value: every plan keeps to it and costs what it says, C = 1 computes nothing again, more are never worse and
// no better than the optimum over all schedules with as many.
static void test_front_capped(void **state) {
  (void)state;
  iso_graph *g = model_graph("2,64,2/2,176,512,128", "llama");
  iso_bind b = iso_bind_batch(2, 64);
  iso_remat_dag *d;
  iso_remat_chain *c;
  iso_remat_front *f[4];
  double once = 0;
  OK(iso_remat_from_graph(g, &b, 4, NULL, &d, err));
  OK(iso_remat_chain_open(d, &c, err));
  for (int v = 0; v < d->n; v++) once += d->node[v].once ? d->node[v].cost : 0;
  for (int cap = 0; cap <= 3; cap++) {
    int most = 0;
    OK(iso_remat_front_open(d, c, 4096, cap, &f[cap], err));
    assert_true(iso_remat_front_count(f[cap]) > 0);
    for (int i = 0; i < iso_remat_front_count(f[cap]); i++) {
      iso_remat_schedule s;
      iso_remat_point p = iso_remat_front_at(f[cap], i);
      OK(iso_remat_front_schedule(f[cap], i, &s, err));
      iso_remat_use u = use_of(d, &s);
      if (cap && u.intervals > cap) fail_msg("plan %d of %d intervals: %d", i, cap, u.intervals);
      assert_int_equal(u.peak_b, p.peak_b);
      assert_true(fabs(u.cost - once - p.cost) <= 1e-9 * u.cost);
      if (cap == 1) assert_int_equal(u.again, 0);
      if (u.intervals > most) most = u.intervals;
      iso_remat_schedule_close(&s);
    }
    print_message("C = %d: %d plans from %lld bytes on, %d intervals at most\n", cap, iso_remat_front_count(f[cap]),
                  (long long)iso_remat_front_at(f[cap], 0).peak_b, most);
    assert_true(cap == 0 ? most > 2 : most == cap);
  }
  int64_t all = iso_remat_front_at(f[1], iso_remat_front_count(f[1]) - 1).peak_b;
  for (int q = 60; q < 100; q += 5) {
    int64_t limit = all / 100 * q;
    iso_remat_answer a;
    OK(iso_remat_exact(d, limit, NULL, 1, 4000000, &a, NULL, err));
    int i = iso_remat_front_under(f[2], limit), j = iso_remat_front_under(f[0], limit), k = iso_remat_front_under(f[3], limit);
    assert_true(i >= 0 && j >= 0 && k >= 0 && a.found);
    double two = iso_remat_front_at(f[2], i).cost, any = iso_remat_front_at(f[0], j).cost, three = iso_remat_front_at(f[3], k).cost;
    print_message("%d%%: two intervals %.3f%% above any number, %.3f%% above the optimum of two\n", q, 100 * (two - any) / any,
                  100 * (two + once - a.cost) / any);
    assert_true(any <= three * (1 + 1e-9) && three <= two * (1 + 1e-9) && two + once >= a.cost * (1 - 1e-9) && two <= 1.02 * any);
  }
  for (int cap = 0; cap <= 3; cap++) iso_remat_front_close(f[cap]);
  iso_err e = {0};
  assert_int_equal(iso_remat_front_open(d, c, 4096, ISO_REMAT_INTERVALS, &f[0], &e), ISO_EINVAL);
  iso_remat_chain_close(c);
  iso_remat_close(d);
  iso_graph_close(g);
}

// Twelve layers: nothing simpler is as good at its own peak.
static void test_front_beats_groups(void **state) {
  (void)state;
  iso_graph *g = model_graph("12,128,4/4,352,1024,256", "llama");
  iso_bind b = iso_bind_batch(4, 256);
  iso_remat_dag *d;
  iso_remat_chain *c;
  iso_remat_front *f;
  int *step, steps;
  double forward = 0, once = 0;
  OK(iso_remat_from_graph(g, &b, 4, NULL, &d, err));
  OK(iso_remat_chain_open(d, &c, err));
  OK(iso_remat_layers(d, c, &step, &steps, err));
  assert_int_equal(steps, 12);
  OK(iso_remat_front_open(d, c, 4096, 0, &f, err));
  for (int v = 0; v < d->n; v++) *(d->node[v].once ? &once : &forward) += d->node[v].cost;
  for (int k = 0; k <= 2 * steps; k++) {
    iso_remat_schedule s;
    if (k == 0)
      OK(iso_remat_halves(d, c, step, steps, &s, err));
    else if (k <= steps)
      OK(iso_remat_every(d, c, step, steps, k, &s, err));
    else
      OK(iso_remat_revolve(d, c, step, steps, k - steps, &s, err));
    iso_remat_use u = use_of(d, &s);
    int i = iso_remat_front_under(f, u.peak_b);
    assert_true(i >= 0);
    double best = iso_remat_front_at(f, i).cost + once;
    assert_true(best <= u.cost * (1 + 1e-12));
    if (k >= 1 && k < steps) {
      print_message("groups of %2d%s: extra %.1f%% of the forward pass, best plan %.1f%%\n", k, k == iso_remat_sqrt(steps) ? " (sqrt)" : "",
                    100 * u.extra_cost / forward, 100 * (best - forward - once) / forward);
      assert_true(best < u.cost);
    }
    iso_remat_schedule_close(&s);
  }
  free(step);
  iso_remat_front_close(f);
  iso_remat_chain_close(c);
  iso_remat_close(d);
  iso_graph_close(g);
}

// Fronts cut short keep real plans, and hardly lose.
static void test_thinned(void **state) {
  (void)state;
  iso_graph *g = model_graph("8,64,2/2,176,512,128", "llama");
  iso_bind b = iso_bind_batch(2, 64);
  iso_remat_dag *d;
  iso_remat_chain *c;
  iso_remat_front *full, *thin;
  OK(iso_remat_from_graph(g, &b, 4, NULL, &d, err));
  OK(iso_remat_chain_open(d, &c, err));
  OK(iso_remat_front_open(d, c, 8192, 0, &full, err));
  OK(iso_remat_front_open(d, c, 100, 0, &thin, err));
  assert_false(iso_remat_front_thinned(full));
  assert_true(iso_remat_front_thinned(thin) && iso_remat_front_count(thin) <= 100);
  for (int i = 0; i < iso_remat_front_count(thin); i++) {
    iso_remat_schedule s;
    iso_remat_point p = iso_remat_front_at(thin, i);
    OK(iso_remat_front_schedule(thin, i, &s, err));
    assert_int_equal(use_of(d, &s).peak_b, p.peak_b);
    int j = iso_remat_front_under(full, p.peak_b);
    assert_true(j >= 0 && iso_remat_front_at(full, j).cost <= p.cost * (1 + 1e-9));
    if (i > 10) assert_true(p.cost < 1.05 * iso_remat_front_at(full, j).cost);
    iso_remat_schedule_close(&s);
  }
  iso_remat_front_close(full);
  iso_remat_front_close(thin);
  iso_remat_chain_close(c);
  iso_remat_close(d);
  iso_graph_close(g);
}

// What the trainer can run: the best of its settings beats groups of layers alone and stays above the best plan of all.
static void test_trainer_settings(void **state) {
  (void)state;
  iso_model_config m;
  iso_remat_dag *d;
  iso_remat_chain *c;
  iso_remat_front *f;
  double once = 0, forward = 0, flop;
  OK(iso_config_parse("12,128,4/4,352,1024,256", &m, err));
  OK(iso_remat_from_model(&m, 4, 256, 4, NULL, &d, NULL, &flop, err));
  OK(iso_remat_chain_open(d, &c, err));
  OK(iso_remat_front_open(d, c, 4096, 0, &f, err));
  for (int v = 0; v < d->n; v++) *(d->node[v].once ? &once : &forward) += d->node[v].cost;
  iso_graph *g = model_graph("12,128,4/4,352,1024,256", "llama");
  iso_bind b = iso_bind_batch(4, 256);
  iso_remat_setting s;
  OK(iso_remat_trainer(&m, 4, 256, 4, 1000, &s, err));
  assert_false(s.found);
  OK(iso_remat_trainer(&m, 4, 256, 4, INT64_MAX, &s, err));
  assert_true(s.found && s.extra_flop == 0);
  for (int k = 1; k < 12; k++) {
    iso_arena_layout l;
    iso_graph_cost x, plain = iso_pass_cost(g, ISO_SECTION_BACKWARD, &b, 4);
    OK(iso_pass_memory(g, &b, 4, true, (iso_recompute){.every = k}, &l, err));
    OK(iso_exec_cost(g, ISO_SECTION_BACKWARD, &b, 4, (iso_recompute){.every = k}, &x, err));
    OK(iso_remat_trainer(&m, 4, 256, 4, l.bytes[ISO_ROLE_ACT], &s, err));
    double groups = x.mat_flop + x.vec_flop - plain.mat_flop - plain.vec_flop;
    int i = iso_remat_front_under(f, l.bytes[ISO_ROLE_ACT]);
    double best = iso_remat_front_at(f, i).cost - forward;
    print_message("arena of groups of %2d: groups %.1f%% of the forward pass; first %d layers%s%s %.1f%%; best plan %.1f%%\n", k,
                  100 * groups / forward, s.layers, s.cheap ? " and cheap values" : "", s.every ? " (groups)" : "", 100 * s.extra_flop / forward,
                  100 * best / forward);
    assert_true(s.found && s.act_b <= l.bytes[ISO_ROLE_ACT] && s.extra_flop <= groups && s.extra_flop >= best * (1 - 1e-9));
    if (k >= 5) assert_true(s.extra_flop < 0.9 * groups);
    iso_arena_layout_close(&l);
  }
  iso_graph_close(g);
  iso_remat_front_close(f);
  iso_remat_chain_close(c);
  iso_remat_close(d);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_revolve_numbers),
                                     cmocka_unit_test(test_revolve_schedules),
                                     cmocka_unit_test(test_sqrt),
                                     cmocka_unit_test(test_keep_all_is_the_arena),
                                     cmocka_unit_test(test_every_costs_what_the_trainer_runs),
                                     cmocka_unit_test(test_front),
                                     cmocka_unit_test(test_front_against_exact),
                                     cmocka_unit_test(test_front_capped),
                                     cmocka_unit_test(test_front_beats_groups),
                                     cmocka_unit_test(test_thinned),
                                     cmocka_unit_test(test_trainer_settings)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
