// Published numbers of scaling laws, by law, set and inputs: values, facts, optima, compute for a loss, inputs for a value.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/law_ask.h"

static const iso_law *law_of(const char *name) {
  const iso_law *l = NULL;
  iso_err e = {0};
  if (iso_law_find(name, &l, &e) != ISO_OK) fail_msg("%s", e.msg);
  return l;
}
static const iso_law_const *set_of(const iso_law *l, const char *name) {
  const iso_law_const *c = NULL;
  iso_err e = {0};
  if (iso_law_find_const(l, name, &c, &e) != ISO_OK) fail_msg("%s", e.msg);
  return c;
}
static void near(double got, double want, double tol, const char *law, const char *what) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("%s, %s: got %.9g, published %.9g, tolerance %g", law, what, got, want, tol);
}

// "name=value,name=value" over the absent inputs.
static void inputs(const iso_law *l, const char *text, double *x) {
  iso_law_absent(l, x);
  for (const char *s = text; *s;) {
    char name[40];
    size_t n = strcspn(s, "=");
    memcpy(name, s, n);
    name[n] = 0;
    int k = iso_law_input_find(l, name);
    char *end;
    if (k < 0) fail_msg("%s has no input %s", l->base.name, name);
    x[k] = strtod(s + n + 1, &end);
    s = *end ? end + 1 : end;
  }
}

static double fact_of(const iso_law *l, const double *p, const double *x, const char *name) {
  iso_law_fact f[ISO_LAW_FACT_MAX];
  int n = l->facts(p, x, f);
  assert_true(n <= ISO_LAW_FACT_MAX);
  for (int i = 0; i < n; i++)
    if (strcmp(f[i].name, name) == 0) return f[i].value;
  fail_msg("%s has no fact %s", l->base.name, name);
  return NAN;
}

// The target at inputs. Tolerances are those of the printed digits; where the constants are rounded more, of these.
static void test_values(void **state) {
  (void)state;
  static const struct {
    const char *law, *set, *at;
    double want, tol;
  } ROW[] = {
      {"chinchilla", "besiroglu2024", "params=70e9,tokens=1.4e12", 1.97341, 3e-6},
      {"chinchilla", "besiroglu2024", "params=280e9,tokens=300e9", 1.99907, 3e-6},
      {"chinchilla", "besiroglu2024", "params=175e9,tokens=300e9", 2.00800, 3e-6},
      {"chinchilla", "hoffmann2022_rounded", "params=70e9,tokens=1.4e12", 1.93665, 3e-6},
      {"chinchilla", "hoffmann2022_rounded", "params=280e9,tokens=300e9", 1.99326, 3e-6},
      {"kaplan_n", "kaplan2020", "params=1.5e9", 2.30355, 3e-6},
      {"kaplan_n", "kaplan2020", "params=175e9", 1.60439, 4e-6},
      {"kaplan_d", "kaplan2020", "tokens=22.9e9", 2.09119, 3e-6},
      {"kaplan", "kaplan2020", "params=1.5e9,tokens=22e9", 2.31255, 3e-6},
      {"kaplan_batch", "kaplan2020", "loss=3", 1.0691e6, 5e-5},
      {"kaplan_batch", "kaplan2020", "loss=2.5", 2.5473e6, 2e-5},
      {"kaplan_batch", "kaplan2020", "loss=2", 7.3715e6, 1e-5},
      {"kaplan_params", "kaplan2020", "train_flop=8.64e19", 1.3e9, 1e-6},
      {"kaplan_best_batch", "kaplan2020", "train_flop=8.64e20", 2e6 * 1.737801, 1e-6},  // 10^0.24
      {"kaplan_best_steps", "kaplan2020", "train_flop=8.64e20", 5.4e3 * 1.071519, 1e-6},
      {"kaplan_data_needed", "kaplan2020", "params=1e9", 2.28e10, 3e-3},
      {"allocation_params", "porian_kaplan", "train_flop=5.88e23", 3e12, 0.02},
      {"allocation_params", "porian_head", "train_flop=5.88e23", 787e9, 3e-3},
      {"allocation_params", "porian_warmup", "train_flop=5.88e23", 292e9, 3e-3},
      {"allocation_params", "porian_cosine", "train_flop=5.88e23", 183e9, 3e-3},
      {"allocation_params", "porian_tuned", "train_flop=5.88e23", 77e9, 3e-3},
      {"allocation_params", "nanochat", "train_flop=1e18", 110.68e6, 0.05},
      {"allocation_params", "nanochat", "train_flop=1e19", 381.76e6, 0.05},
      {"allocation_tokens", "nanochat", "train_flop=1e18", 1.2415e9, 0.03},
      {"allocation_tokens", "nanochat", "train_flop=1e19", 3.8069e9, 0.03},
      {"allocation_params", "nanochat", "train_flop=2e18", 167.797e6, 0.05},
      {"allocation_params", "nanochat", "train_flop=5e18", 250.651e6, 0.05},
      {"allocation_tokens", "nanochat", "train_flop=2e18", 1.78534e9, 0.03},
      {"allocation_tokens", "deepseek", "train_flop=1e20", 5.8316 * 3.26588e9, 1e-5},  // 10^9.514
      {"allocation_flop_per_tok", "deepseek", "train_flop=1e20", 0.1715 * 3.06196e10, 1e-5},
      {"data_constrained", "muennighoff2023", "params=6.34e9,tokens=242e9,unique_tokens=25e9", 2.2256440889984477, 1e-8},
      {"precision", "kumar2024", "params=1e15,tokens=1e20", 2.7648, 1e-3},
      {"precision_ptq", "kumar2024_no_offsets", "params=1e9,tokens=20e9,post_bits=4", 0.009147, 6e-5},
      {"step_lr", "li2025", "params=1e9,tokens=1e11", 1.6325e-3, 5e-5},
      {"step_lr", "li2025", "params=215e6,tokens=11.4e9", 2.508e-3, 2e-4},
      {"step_batch", "li2025", "tokens=1e11", 1.1077e6, 5e-5},
      {"step_batch", "li2025", "tokens=11.4e9", 3.206e5, 2e-4},
      {"power_lines_tau", "bergsma2025", "params=1e9,tokens=1e9", 1.084, 1e-6},
      {"power_lines_tau", "bergsma2025", "params=1e9,tokens=20e9", 0.22356, 3e-5},
      {"power_lines_tau", "bergsma2025", "params=1e9,tokens=1000e9", 0.028447, 3e-5},
      {"moe_routing", "clark2022_sbase_table", "params=370e6,experts=64", 2.2282, 3e-5},
      {"moe_routing", "clark2022_rlr_table", "params=370e6,experts=64", 2.2863, 3e-5},
      {"moe_routing", "clark2022_hash_table", "params=370e6,experts=64", 2.2533, 3e-5},
      {"moe_sparsity", "abnar2025", "params=1e9,tokens=2e10,active_share=1", 2.56568, 3e-6},
      {"moe_sparsity", "abnar2025", "params=1e9,tokens=2e10,active_share=0.25", 2.62843, 3e-6},
      {"moe_sparsity", "abnar2025", "params=1e9,tokens=2e10,active_share=0.05", 2.77534, 3e-6},
      {"moe_sparsity", "abnar2025", "params=1e10,tokens=2e11,active_share=0.05", 2.13172, 3e-6},
      {"vocab_size", "tao2024_isoflop", "params=2.87e9,width=3200", 37942, 3e-5},
      {"vocab_size", "tao2024_derivative", "params=2.87e9,width=3200", 40993, 3e-5},
      {"vocab_size", "tao2024_isoflop", "params=70e9,width=8192", 211860, 1e-5},
      {"vocab_size", "tao2024_derivative", "params=70e9,width=8192", 230861, 1e-5},
      {"parscale", "parscale2025_pile", "params=1571472384,streams=1", 1.9542, 3e-5},
      {"parscale", "parscale2025_pile", "params=1571472384,streams=2", 1.9275, 3e-5},
      {"parscale", "parscale2025_pile", "params=1571472384,streams=4", 1.9062, 3e-5},
      {"distillation_supervised", "busbridge2025", "params=1e9,tokens=20e9", 2.37469, 3e-6},
      {"distillation_supervised", "busbridge2025", "params=7e9,tokens=140e9", 2.01881, 3e-6},
      {"compute_only", "cerebras2023", "train_flop=5.984e22", 1.5066, 1e-9},
      {"moe_leverage", "tian2025", "active_share=0.031,granularity=12,train_flop=1e22", 7.2, 0.01},
      {"critical_batch_params", "zhang2024_fixed_tokens", "params=1e6", 621.341 * 512, 1e-6},
      {"transfer", "hernandez2021_text", "params=1,finetune_chars=1", 1.9e4, 1e-6},
      {"transfer", "hernandez2021_mix", "params=1,finetune_chars=1", 2.1e5, 1e-6},
      {"algorithmic_progress", "ho2024", "months=8.4", 2, 1e-9},
  };
  for (size_t i = 0; i < ISO_COUNT(ROW); i++) {
    double x[ISO_LAW_INPUT_MAX];
    const iso_law *l = law_of(ROW[i].law);
    inputs(l, ROW[i].at, x);
    near(l->value(set_of(l, ROW[i].set)->p, x, NULL), ROW[i].want, ROW[i].tol, ROW[i].law, ROW[i].at);
  }
}

static void test_facts(void **state) {
  (void)state;
  static const struct {
    const char *law, *set, *at, *fact;
    double want, tol;
  } ROW[] = {
      {"chinchilla", "hoffmann2022", "", "exponent_params", 0.46, 0.011},
      {"chinchilla", "hoffmann2022", "", "exponent_tokens", 0.54, 0.011},
      {"chinchilla", "besiroglu2024", "", "exponent_params", 0.513, 1e-3},
      {"kaplan_compute", "kaplan2020", "", "exponent_loss", 0.052, 0.01},
      {"kaplan_compute", "kaplan2020", "", "exponent_params", 0.71, 0.06},  // "within a few percent" of 0.73, 0.24 and 0.03
      {"kaplan_compute", "kaplan2020", "", "exponent_batch", 0.24, 0.05},
      {"data_constrained", "muennighoff2023", "params=1e6,tokens=2e9,unique_tokens=1e9", "effective_epochs", 1.96820, 3e-6},
      {"data_constrained", "muennighoff2023", "params=1e6,tokens=8e9,unique_tokens=1e9", "effective_epochs", 6.62412, 3e-6},
      {"data_constrained", "muennighoff2023", "params=1e6,tokens=16e9,unique_tokens=1e9", "effective_epochs", 10.58246, 3e-6},
      {"data_constrained", "muennighoff2023", "params=1e6,tokens=40e9,unique_tokens=1e9", "effective_epochs", 15.16746, 3e-6},
      {"data_constrained", "muennighoff2023", "params=1e6,tokens=100e9,unique_tokens=1e9", "effective_epochs", 16.36304, 3e-6},
      {"data_constrained", "muennighoff2023", "params=1e6,tokens=2e9,unique_tokens=1e9", "token_efficiency", 0.98410, 6e-6},
      {"data_constrained", "muennighoff2023", "params=1e6,tokens=40e9,unique_tokens=1e9", "token_efficiency", 0.37919, 2e-5},
      {"data_constrained", "muennighoff2023", "params=1e6,tokens=100e9,unique_tokens=1e9", "token_efficiency", 0.16363, 4e-5},
      {"data_constrained", "muennighoff2023", "", "most_params", 6.3097, 1e-5},
      {"precision", "kumar2024_no_offsets", "params=1e9,tokens=2e10,weight_bits=16", "effective_share", 0.99748, 6e-6},
      {"precision", "kumar2024_no_offsets", "params=1e9,tokens=2e10,weight_bits=8", "effective_share", 0.94977, 6e-6},
      {"precision", "kumar2024_no_offsets", "params=1e9,tokens=2e10,weight_bits=3", "effective_share", 0.67428, 1e-5},
      {"precision", "kumar2024_no_offsets", "params=1e9,tokens=2e10,weight_bits=2", "effective_share", 0.52659, 1e-5},
      {"precision", "kumar2024", "", "best_bits", 7.002, 2e-4},
      {"moe_joint", "ludziejewski2025", "experts=2", "m", 27.7982, 2e-3},
      {"moe_joint", "ludziejewski2025", "experts=2", "mu", -0.1780, 4e-4},
      {"moe_joint", "ludziejewski2025", "experts=2", "n", 66.8401, 2e-3},
      {"moe_joint", "ludziejewski2025", "experts=2", "nu", -0.2065, 4e-4},
      {"moe_joint", "ludziejewski2025", "experts=8", "m", 21.8330, 2e-3},
      {"moe_joint", "ludziejewski2025", "experts=8", "mu", -0.1676, 4e-4},
      {"moe_joint", "ludziejewski2025", "experts=8", "n", 119.9126, 2e-3},
      {"moe_joint", "ludziejewski2025", "experts=8", "nu", -0.2338, 4e-4},
      {"moe_routing", "clark2022_sbase", "", "cutoff_params", 783e9, 0.02},
      {"moe_routing", "clark2022_hash", "", "cutoff_params", 89e9, 0.02},
      {"moe_routing", "clark2022_sbase_table", "", "cutoff_params", 1e12, 1e-9},
      {"moe_routing", "clark2022_hash_table", "", "cutoff_params", 2.2e11, 0.03},
      {"moe_leverage", "tian2025", "", "best_granularity", 11, 0.04},
      {"moe_fine_grained", "krajewski2024", "params=4.429e9,tokens=1,granularity=8", "active_params", 1.03e8, 1e-4},
      {"parscale", "parscale2025_stack", "params=1.5715e9,streams=2", "equivalent_params", 2.0e9, 0.002},
      {"weight_sparsity", "frantar2023_t5", "params=1e8,tokens=1e10,density=0.25", "dense_multiple", 2.16, 1e-3},
  };
  for (size_t i = 0; i < ISO_COUNT(ROW); i++) {
    double x[ISO_LAW_INPUT_MAX];
    const iso_law *l = law_of(ROW[i].law);
    inputs(l, ROW[i].at, x);
    near(fact_of(l, set_of(l, ROW[i].set)->p, x, ROW[i].fact), ROW[i].want, ROW[i].tol, ROW[i].law, ROW[i].fact);
  }
}

// Facts agree with the laws they follow from: a dense model of the effective size has the same loss, equal worth the same loss.
static void test_facts_by_value(void **state) {
  (void)state;
  const iso_law *l = law_of("moe_routing");
  for (int c = 0; c < l->n_consts; c++) {
    double x[2] = {370e6, 64}, dense[2] = {fact_of(l, l->consts[c].p, x, "effective_params"), 1};
    near(l->value(l->consts[c].p, dense, NULL), l->value(l->consts[c].p, x, NULL), 1e-9, "moe_routing", "loss of the effective size");
  }
  l = law_of("parscale");
  for (int c = 0; c < l->n_consts; c++) {
    double x[2] = {1571472384, 4}, one[2] = {fact_of(l, l->consts[c].p, x, "equivalent_params"), 1};
    near(l->value(l->consts[c].p, one, NULL), l->value(l->consts[c].p, x, NULL), 1e-12, "parscale", "loss of the equivalent size");
  }
  l = law_of("data_constrained");
  double x[3] = {6.34e9, 242e9, 25e9}, fresh[3] = {NAN, NAN, INFINITY};
  fresh[0] = fact_of(l, l->consts[0].p, x, "effective_params");
  fresh[1] = fact_of(l, l->consts[0].p, x, "effective_tokens");
  near(l->value(l->consts[0].p, fresh, NULL), l->value(l->consts[0].p, x, NULL), 1e-12, "data_constrained", "loss of what repetition is worth");
  l = law_of("moe_joint");
  double j[3] = {1e9, 2e10, 8};
  const double *p = l->consts[0].p;
  double loss = fact_of(l, p, j, "m") * pow(j[0], fact_of(l, p, j, "mu")) + fact_of(l, p, j, "n") * pow(j[1], fact_of(l, p, j, "nu")) + exp(p[8]);
  near(loss, l->value(p, j, NULL), 1e-12, "moe_joint", "loss by table 4's form");
  // Single gamma 2.6745 in all parts: (3 / g) e^(-P / g) = (1 - e^(-P / g)) / P, 5.09 bits.
  l = law_of("precision");
  double q[ISO_LAW_PARAM_MAX], none[ISO_LAW_INPUT_MAX], g = 2.6745, lo = 1, hi = 16;
  memcpy(q, set_of(l, "kumar2024_no_offsets")->p, sizeof q);
  q[5] = q[6] = q[4];
  for (int i = 0; i < 80; i++) {
    double mid = 0.5 * (lo + hi), e = exp(-mid / g);
    *(3 / g * e > (1 - e) / mid ? &lo : &hi) = mid;
  }
  iso_law_absent(l, none);
  near(lo, 5.09, 1e-3, "precision", "bits of one gamma");
  near(fact_of(l, q, none, "best_bits"), lo, 1e-6, "precision", "bits of one gamma by search");
  // Over-training: M* is the optimum's ratio; eta half of alpha.
  l = law_of("overtraining");
  iso_law_point pt;
  iso_law_absent(l, none);
  for (int c = 0; c < l->n_consts; c++) {
    assert_int_equal(l->optimum(l->consts[c].p, 1e21, &pt, NULL), ISO_OK);
    near(fact_of(l, l->consts[c].p, none, "tokens_per_param"), pt.tokens / pt.params, 1e-12, "overtraining", "M*");
  }
  // Reward: peaks where the searched best is.
  static const double R[2] = {0.9, 0.2};
  for (int k = 0; k < 2; k++) {
    l = law_of(k ? "reward_rl" : "reward_bon");
    double start[1] = {1}, at, value;
    iso_law searched = *l;
    searched.best = NULL;
    assert_int_equal(iso_law_best_input(&searched, R, start, 0, 1.5, 1e9, &at, &value, NULL), ISO_OK);
    near(fact_of(l, R, &at, "peak_reward"), value, 1e-12, l->base.name, "reward at the peak");
    near(fact_of(l, R, &at, "distance"), fact_of(l, R, &at, "peak_distance"), 1e-5, l->base.name, "distance at the peak");
  }
  static const double KL[3][2] = {{4, 0.636294}, {100, 3.615170}, {1000, 5.908755}};
  for (int k = 0; k < 3; k++) near(fact_of(law_of("reward_bon"), R, KL[k], "kl"), KL[k][1], 1e-6, "reward_bon", "KL");
  // McCandlish: at the critical batch both are twice the least.
  static const double S[2] = {7, 12};
  double b = exp(S[1]);
  near(fact_of(law_of("batch_steps"), S, &b, "steps_over_least"), 2, 1e-12, "batch_steps", "S / S_min");
  near(fact_of(law_of("batch_steps"), S, &b, "tokens_over_least"), 2, 1e-12, "batch_steps", "E / E_min");
  near(fact_of(law_of("batch_steps"), S, &b, "tokens"), 2 * fact_of(law_of("batch_steps"), S, &b, "least_tokens"), 1e-12, "batch_steps", "E");
}

// Optima at a budget: full-precision constants.
static void test_optima(void **state) {
  (void)state;
  static const double ROW[3][4] = {{1e20, 8.546e8, 22.82, 2.55251}, {1e22, 9.058e9, 20.32, 2.14050}, {1e24, 9.601e10, 18.08, 1.95925}};
  const iso_law *l = law_of("chinchilla");
  const double *p = set_of(l, "besiroglu2024")->p;
  double none[2] = {NAN, NAN};
  for (int i = 0; i < 3; i++) {
    iso_law_point a, b, c;
    assert_int_equal(iso_law_optimum_at(l, p, none, ROW[i][0], &a, NULL), ISO_OK);
    near(a.params, ROW[i][1], 1e-4, "chinchilla", "N*");
    near(a.tokens / a.params, ROW[i][2], 3e-4, "chinchilla", "D* / N*");
    near(a.loss, ROW[i][3], 3e-6, "chinchilla", "L*");
    assert_int_equal(iso_law_optimum_numeric(l, p, NULL, ROW[i][0], 1e3, 1e15, NULL, NULL, &b, NULL, NULL), ISO_OK);
    near(b.params, a.params, 1e-6, "chinchilla", "N* by search");
    assert_int_equal(iso_law_flop_for(l, p, none, a.loss, &c, NULL), ISO_OK);
    near(c.flop, ROW[i][0], 1e-9, "chinchilla", "compute for L*");
  }
  // Rounding the constants moves the optimum from 59 to 93 tokens a parameter at Gopher's budget.
  iso_law_point whole, cut;
  assert_int_equal(l->optimum(set_of(l, "hoffmann2022")->p, 5.76e23, &whole, NULL), ISO_OK);
  assert_int_equal(l->optimum(set_of(l, "hoffmann2022_rounded")->p, 5.76e23, &cut, NULL), ISO_OK);
  near(whole.tokens / whole.params, 59, 0.01, "chinchilla", "tokens per parameter, unrounded");
  near(cut.tokens / cut.params, 93, 0.01, "chinchilla", "tokens per parameter, rounded");
  // The dense models' compute for the mixtures' losses, by inverse of the optimum.
  const iso_law *moe = law_of("moe_fine_grained");
  static const double G[2][3] = {{1e20, 16, 21.3}, {1e25, 64, 32}};
  for (int i = 0; i < 2; i++) {
    iso_law_point m, d;
    double x[4] = {NAN, NAN, G[i][1], 64};
    assert_int_equal(iso_law_optimum_at(moe, moe->consts[0].p, x, G[i][0], &m, NULL), ISO_OK);
    assert_int_equal(iso_law_flop_for(l, set_of(l, "krajewski2024_dense")->p, none, m.loss, &d, NULL), ISO_OK);
    near(d.flop / G[i][0], G[i][2], 0.01, "moe_fine_grained", "dense over mixture");
  }
}

// Kaplan et al., section 6.3: where compute-efficient training runs out of data, "an order of magnitude in either direction": the loss of
// C and that of D(C) = 2 C / (6 N(C)) tokens meet near 1e4 PF-days, 1e12 parameters, 1e12 tokens, 1.7 nats.
static void test_intersection(void **state) {
  (void)state;
  const iso_law *c = law_of("kaplan_c"), *d = law_of("kaplan_d"), *n = law_of("kaplan_params");
  const double day = 8.64e19, *pc = set_of(c, "kaplan2020_cmin")->p, *pd = d->consts[0].p, *pn = n->consts[0].p;
  double lo = log(day), hi = log(1e8 * day), flop = 0, size = 0, tokens = 0;
  for (int i = 0; i < 80; i++) {
    flop = exp(0.5 * (lo + hi));
    size = n->value(pn, &flop, NULL);
    tokens = 2 * flop / (6 * size);
    *(c->value(pc, &flop, NULL) > d->value(pd, &tokens, NULL) ? &lo : &hi) = log(flop);
  }
  print_message("C* %.3g PF-days, N* %.3g, D* %.3g, L* %.4f\n", flop / day, size, tokens, c->value(pc, &flop, NULL));
  assert_true(fabs(log10(flop / day) - 4) < 1 && fabs(log10(size) - 12) < 1 && fabs(log10(tokens) - 12) < 1);
  near(c->value(pc, &flop, NULL), 1.7, 0.05, "kaplan_c", "L*");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_facts), cmocka_unit_test(test_facts_by_value),
                                     cmocka_unit_test(test_optima), cmocka_unit_test(test_intersection)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
