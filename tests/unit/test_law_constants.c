// Constants of scaling laws as their papers and notebooks print them, set by set.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/law.h"

#define PF_DAY_FLOP 8.64e19

static const iso_law_const *set_of(const char *law, const char *set, const iso_law **l) {
  const iso_law_const *c = NULL;
  iso_err e = {0};
  if (iso_law_find(law, l, &e) != ISO_OK || iso_law_find_const(*l, set, &c, &e) != ISO_OK) fail_msg("%s", e.msg);
  return c;
}

// A constant by the paper's sign, undone of its logarithm.
static double natural(const iso_law *l, const iso_law_const *c, const char *sign) {
  for (int k = 0; k < l->n_params; k++)
    if (strcmp(l->param[k].sign, sign) == 0) return l->param[k].is_log ? exp(c->p[k]) : c->p[k];
  fail_msg("%s has no constant %s", l->base.name, sign);
  return NAN;
}

// Tolerances: 1e-8 where a set is what was printed; where it holds more digits than the text, those of the text.
static void test_printed(void **state) {
  (void)state;
  static const struct {
    const char *law, *set, *printed;
    double tol;
  } ROW[] = {
      {"chinchilla", "hoffmann2022_rounded", "E=1.69 A=406.4 B=410.7 alpha=0.34 beta=0.28", 1e-8},
      {"chinchilla", "hoffmann2022", "A=406.40 B=410.72 E=1.6934 alpha=0.33917084 beta=0.2849083", 2e-5},
      {"chinchilla", "besiroglu2024", "A=482.00572 B=2085.43420 E=1.81686 alpha=0.34781 beta=0.36585", 1.2e-5},
      {"chinchilla", "besiroglu2024", "A=482.01 B=2085.43 E=1.8172 alpha=0.3478 beta=0.3658", 2e-4},  // 1.8172 is the paper's, 1.81686 the notebook's
      {"chinchilla", "sardana2024", "E=1.69 A=406.4 B=410.7 alpha=0.336 beta=0.283", 1e-8},
      {"chinchilla", "sardana2024_100", "alpha=0.08 beta=0.13 A=7.199 B=25.97 E=0.17", 1e-8},
      {"chinchilla", "sardana2024_all", "alpha=0.18 beta=0.24 A=33.66 B=138.9 E=1.45", 1e-8},
      {"chinchilla", "krajewski2024_dense", "A=16.3 alpha=0.126 B=26.7 beta=0.127 E=0.47", 1e-8},
      {"kaplan_n", "kaplan2020", "alpha_N=0.076 N_c=8.8e13", 1e-8},
      {"kaplan_n", "clark2022_dense", "alpha_N=0.078 N_c=3.568e13", 1e-8},
      {"kaplan_d", "kaplan2020", "alpha_D=0.095 D_c=5.4e13", 1e-8},
      {"kaplan", "kaplan2020", "alpha_N=0.076 alpha_D=0.103 N_c=6.4e13 D_c=1.8e13", 1e-8},
      {"kaplan_steps", "kaplan2020", "alpha_N=0.077 alpha_S=0.76 N_c=6.5e13 S_c=2.1e3", 1e-8},
      {"kaplan_batch", "kaplan2020", "B_*=2e8 alpha_B=0.21", 1e-8},
      {"kaplan_params", "kaplan2020", "N_e=1.3e9 p_N=0.73", 1e-8},
      {"kaplan_tokens", "kaplan2020", "p_D=0.27", 1e-8},
      {"kaplan_best_batch", "kaplan2020", "p_B=0.24", 1e-8},
      {"kaplan_best_steps", "kaplan2020", "p_S=0.03", 1e-8},
      {"kaplan_data_needed", "kaplan2020", "k=5e3 x=0.74", 1e-8},
      {"allocation_params", "porian_kaplan", "a=0.8353 k=4.232e-8", 1e-4},
      {"allocation_params", "porian_head", "a=0.7065 k=1.270e-5", 1e-4},
      {"allocation_params", "porian_warmup", "a=0.6020 k=1.43e-3", 1e-4},
      {"allocation_params", "porian_cosine", "a=0.5715 k=4.77e-3", 1e-4},
      {"allocation_params", "porian_tuned", "a=0.4969 k=0.11893", 1e-6},
      // The released tables summary_df_att, summary_df_kaplan_tuned_hparams and summary_df_owt2, fit bs_median_weighted.
      {"allocation_params", "porian_head_attention", "a=0.71706 k=8.6167e-6", 3e-6},
      {"allocation_params", "porian_warmup_attention", "a=0.62225 k=6.6979e-4", 3e-6},
      {"allocation_params", "porian_cosine_attention", "a=0.57719 k=4.3516e-3", 3e-6},
      {"allocation_params", "porian_tuned_attention", "a=0.50527 k=0.092353", 3e-6},
      {"allocation_params", "porian_kaplan_tuned", "a=0.71149 k=8.952e-6", 3e-6},
      {"allocation_params", "porian_owt2_kaplan", "a=0.86351 k=1.285e-8", 3e-6},
      {"allocation_params", "porian_owt2_head", "a=0.69850 k=1.7334e-5", 3e-6},
      {"allocation_params", "porian_owt2_warmup", "a=0.60320 k=1.3177e-3", 3e-6},
      {"allocation_params", "porian_owt2_cosine", "a=0.57430 k=4.3658e-3", 3e-6},
      {"allocation_params", "porian_owt2_tuned", "a=0.51845 k=0.046935", 3e-6},
      {"allocation_params", "nanochat", "a=0.54", 1e-8},
      {"allocation_tokens", "nanochat", "a=0.49", 1e-8},
      {"allocation_tokens", "deepseek", "k=5.8316 a=0.4757", 1e-5},
      {"allocation_flop_per_tok", "deepseek", "k=0.1715 a=0.5243", 1e-5},
      {"data_constrained", "muennighoff2023", "A=520.82 B=1487.72 E=1.8691 alpha=0.3526596 R_D*=15.387756 R_N*=5.309743", 3e-5},
      {"overtraining", "gadre2024_c4", "b=189.52 alpha=0.24247 E=1.5083", 1e-8},
      {"overtraining", "gadre2024_rpj", "b=366.69 alpha=0.27285 E=1.8366", 1e-8},
      {"overtraining", "gadre2024_rw", "b=246.21 alpha=0.25439 E=1.7345", 1e-8},
      {"overtraining_error", "gadre2024_c4_46", "k=1.2885 gamma=0.9722 eps=0.7589", 1e-8},
      {"overtraining_error", "gadre2024_rpj_46", "k=1.3229 gamma=0.8907 eps=0.7608", 1e-8},
      {"overtraining_error", "gadre2024_rw_46", "k=1.1281 gamma=0.8215 eps=0.7677", 1e-8},
      {"overtraining_error", "gadre2024_c4_17", "k=2.0789 gamma=0.7561 eps=0.8497", 1e-8},
      {"overtraining_error", "gadre2024_rpj_17", "k=2.2065 gamma=0.7146 eps=0.8570", 1e-8},
      {"overtraining_error", "gadre2024_rw_17", "k=2.2148 gamma=0.7070 eps=0.8653", 1e-8},
      {"precision", "kumar2024",
       "A=4.299e3 alpha=0.4965 B=1.806e4 E=2.7648 gamma_w=2.6745 n_w=0.3037 gamma_a=2.2102 n_a=1.4072 gamma_kv=0.9578 n_kv=2.4185", 1e-8},
      {"precision_ptq", "kumar2024_no_offsets", "C=0.0598 gamma_D=0.5068 gamma_N=0.3439 gamma_post=0.5907", 1e-8},
      {"step_lr", "li2025", "k=1.79 alpha=-0.713 beta=0.307", 1e-8},
      {"step_batch", "li2025", "k=0.58 beta=0.571", 1e-8},
      {"step_lr", "li2025_bootstrap", "alpha=-0.71292 beta=0.30749", 5e-6},
      {"step_batch", "li2025_bootstrap", "beta=0.57094", 1e-5},
      {"budget_lr", "deepseek2024", "k=0.3118 x=-0.1250", 1e-8},
      {"budget_batch", "deepseek2024", "k=0.2920 x=0.3271", 1e-8},
      {"budget_lr", "tian2025_moe", "k=1.1576 x=-0.1529", 1e-8},
      {"budget_batch", "tian2025_moe", "k=0.0694 x=0.3644", 1e-8},
      {"power_lines_tau", "bergsma2025", "k=1.084 x=-0.527", 1e-8},
      {"power_lines_batch", "bergsma2025", "x=0.383", 1e-8},
      {"power_lines_critical", "bergsma2025", "x=0.462", 1e-8},
      {"critical_batch", "zhang2024", "x=0.47", 1e-8},
      {"critical_batch_params", "zhang2024_chinchilla", "x=0.47", 1e-8},
      {"critical_batch_params", "zhang2024_fixed_tokens", "x=0.087", 1e-8},
      {"moe_routing", "clark2022_sbase_table", "a=-0.082 b=-0.108 c=0.009 d=1.104 E_start=1.847 E_max=314.478", 1e-8},
      {"moe_routing", "clark2022_rlr_table", "a=-0.083 b=-0.126 c=0.012 d=1.111 E_start=1.880 E_max=469.982", 1e-8},
      {"moe_routing", "clark2022_hash_table", "a=-0.087 b=-0.136 c=0.012 d=1.157 E_start=4.175 E_max=477.741", 1e-8},
      {"moe_routing", "clark2022_sbase", "a=-0.0830 b=-0.1180 c=0.00992 d=1.1136 E_start=2.075 E_max=238.7", 1e-8},
      {"moe_routing", "clark2022_hash", "a=-0.0874 b=-0.1384 c=0.01264 d=1.1595 E_start=4.269 E_max=427.3", 1e-8},
      {"moe_fine_grained", "krajewski2024", "a=18.1 alpha=0.115 B=30.8 beta=0.147 g=2.1 gamma=0.58 c=0.47", 1e-8},
      {"moe_sparsity", "abnar2025", "a=16612.50 b=5455.67 c=0.4598 d=17.26 e=0.94 alpha=0.5962 beta=0.3954 lambda=-0.1666 delta=0.1603 gamma=0.1595",
       1e-8},
      {"moe_joint", "ludziejewski2025",
       "a=35.91 alpha=-0.1889 delta=-0.2285 gamma=0.0098 b=35.98 beta=-0.1775 omega=0.5529 zeta=-0.0259 E_start=2.0732 E_max=290.4521 c=1.3637",
       1e-8},
      {"moe_leverage", "tian2025", "a=1.23 d=-0.0761 gamma=0.0167 beta=-0.117 A_start=0.0163 A_max=5.28e16", 1e-8},
      {"vocab_params", "tao2024", "k=0.2041233 gamma=0.4163622634135234", 3e-7},
      {"vocab_size", "tao2024_derivative", "gamma=0.8353974035228025", 1e-8},
      {"vocab_size", "tao2024_isoflop", "gamma=0.833", 4e-4},  // 0.4164 / 0.5
      {"vocab", "tao2024", "A1=1.8313852 A2=0.1958424 B=2.1241123 E=5.5327847 alpha1=0.44660634 alpha2=0.67073747", 2e-7},
      {"vocab_fertility", "tao2024", "a=0.00639222 b=-0.15811069 c=1.20470122", 1e-8},
      {"farseer", "li2025", "a3=-0.021 gamma=0.169 b3=-0.091 a2=88.01 beta=-0.1 b2=-6.287 a1=-0.124 alpha=0.123 b1=0.424", 1e-8},
      {"parscale", "parscale2025_stack", "E=0.69127 A=1.1307e7 alpha=0.18939 k=0.39343", 3e-4},
      {"distillation_supervised", "busbridge2025", "E=1.220 A=3355 alpha=0.408 B=18186 beta=0.431 gamma=0.452", 1e-8},
      {"distillation", "busbridge2025", "A'=2243 B'=24181 alpha'=0.321 beta'=0.637 gamma'=0.764 c0=2.549 c1=522.6 f1=0.090 d1=1.315", 1e-8},
      {"weight_sparsity", "frantar2023_t5", "a_S=16.8 b_S=0.722 c_S=45 b_N=0.245 a_D=6.9e8 b_D=0.203 c=0.651", 1e-8},
      {"transfer", "hernandez2021_text", "k=1.9e4 alpha=0.18 beta=0.38", 1e-8},
      {"transfer", "hernandez2021_mix", "k=2.1e5 alpha=0.096 beta=0.38", 1e-8},
      {"algorithmic_progress", "ho2024", "T_2=8.4", 1e-8},
      {"compute_only", "cerebras2023", "a=0.0737 E=0.5066", 1e-8},
  };
  for (size_t i = 0; i < ISO_COUNT(ROW); i++) {
    const iso_law *l;
    const iso_law_const *c = set_of(ROW[i].law, ROW[i].set, &l);
    for (const char *s = ROW[i].printed; *s;) {
      char sign[24], *end;
      size_t n = strcspn(s, "=");
      assert_true(n < sizeof sign);
      memcpy(sign, s, n);
      sign[n] = 0;
      double want = strtod(s + n + 1, &end), got = natural(l, c, sign);
      if (!(fabs(got - want) <= ROW[i].tol * fabs(want))) fail_msg("%s, %s: %s is %.9g, printed %.9g", ROW[i].law, ROW[i].set, sign, got, want);
      s = *end ? end + 1 : end;
    }
  }
}

// Constants that are kept in other units than the paper's.
static void test_converted(void **state) {
  (void)state;
  const iso_law *l;
  const iso_law_const *c;
  static const struct {
    const char *law, *set, *sign;
    double want, tol;
  } ROW[] = {
      {"kaplan_c", "kaplan2020_cmin", "C_c", 3.1e8 * PF_DAY_FLOP, 1e-8},
      {"kaplan_c", "kaplan2020_naive", "C_c", 1.6e7 * PF_DAY_FLOP, 1e-8},
      {"compute_only", "cerebras2023", "A", 47.7160, 1e-5},            // (f / 5.984e22)^-0.0737: 5.984e22^0.0737
      {"power_lines_batch", "bergsma2025", "k", 0.0306 * 2048, 1e-8},  // sequences of 2048 tokens
      {"power_lines_critical", "bergsma2025", "k", 0.0471 * 2048, 1e-8},
      {"critical_batch_params", "zhang2024_chinchilla", "k", 72.22472, 1e-6},    // 93.20 sequences of 512 tokens at N = 1e6
      {"critical_batch_params", "zhang2024_fixed_tokens", "k", 95631.28, 1e-6},  // 621.341
  };
  for (size_t i = 0; i < ISO_COUNT(ROW); i++) {
    c = set_of(ROW[i].law, ROW[i].set, &l);
    double got = natural(l, c, ROW[i].sign);
    if (!(fabs(got - ROW[i].want) <= ROW[i].tol * ROW[i].want))
      fail_msg("%s, %s: %s is %.9g, not %.9g", ROW[i].law, ROW[i].set, ROW[i].sign, got, ROW[i].want);
  }
  // The over-training repository's a' N^-alpha is a M^(alpha/2) C^(-alpha/2) with a = a' 6^(alpha/2).
  static const struct {
    const char *set;
    double a;
  } OVER[] = {{"gadre2024_c4", 113.69}, {"gadre2024_rpj", 166.21}, {"gadre2024_rw", 125.10}};
  for (size_t i = 0; i < ISO_COUNT(OVER); i++) {
    c = set_of("overtraining", OVER[i].set, &l);
    double a = natural(l, c, "a") / pow(6, natural(l, c, "alpha") / 2);
    if (!(fabs(a - OVER[i].a) <= 1e-8 * a)) fail_msg("%s: a' is %.9g, not %.9g", OVER[i].set, a, OVER[i].a);
  }
  // Step Law's bootstrap prints logarithms, with standard deviations beside them.
  static const struct {
    const char *law, *sign;
    double log_k, sd[3];
  } STEP[] = {{"step_lr", "k", 0.5863, {0.624, 0.0299, 0.0191}}, {"step_batch", "k", -0.54354, {0.437, 0.0187}}};
  for (size_t i = 0; i < ISO_COUNT(STEP); i++) {
    c = set_of(STEP[i].law, "li2025_bootstrap", &l);
    assert_true(fabs(log(natural(l, c, STEP[i].sign)) - STEP[i].log_k) < 1e-5);
    const iso_law_spread *s = iso_law_spread_of(l, c);
    assert_non_null(s);
    for (int k = 0; k < l->n_params; k++) assert_true(fabs(s->up[k] / STEP[i].sd[k] - 1) < 3e-3 && s->up[k] == s->down[k]);
  }
}

// Porian et al.: tokens per parameter of the tuned protocol, 11.929 C^0.00594, through the laws of parameters and tokens. Kumar et al.: a bit less
// divides by 0.18398, ten times the tokens cost 3.2122 times as much.
static void test_ratios(void **state) {
  (void)state;
  const iso_law *n, *d, *q;
  const iso_law_const *pn = set_of("allocation_params", "porian_tuned", &n), *pd = set_of("allocation_tokens", "porian_tuned", &d);
  for (double flop = 1e17; flop < 1e25; flop *= 10) {
    double ratio = d->value(pd->p, &flop, NULL) / n->value(pn->p, &flop, NULL), want = 11.929 * pow(flop, 0.00594);
    if (!(fabs(ratio / want - 1) < 1e-4)) fail_msg("%g FLOP: %g tokens a parameter, not %g", flop, ratio, want);
  }
  const iso_law_const *c = set_of("precision_ptq", "kumar2024_no_offsets", &q);
  double at[3] = {1e9, 20e9, 4}, fewer[3] = {1e9, 20e9, 3}, more[3] = {1e9, 200e9, 4};
  double one = q->value(c->p, at, NULL);
  assert_true(fabs(one / q->value(c->p, fewer, NULL) - 0.18398) < 1e-5 && fabs(q->value(c->p, more, NULL) / one - 3.2122) < 1e-4);
}

// Intervals of exponents as printed, by the standard errors that the sets carry: mean -+ quantile times error.
static void test_intervals(void **state) {
  (void)state;
  static const struct {
    const char *law, *set, *sign;
    double lo, hi, quantile;
  } ROW[] = {
      {"allocation_params", "chinchilla1", "a", 0.488, 0.502, 1.281552},
      {"allocation_params", "chinchilla2", "a", 0.462, 0.534, 1.281552},
      {"allocation_tokens", "chinchilla1", "a", 0.501, 0.512, 1.281552},
      {"allocation_tokens", "chinchilla2", "a", 0.483, 0.529, 1.281552},
      {"allocation_params", "porian_kaplan", "a", 0.8235, 0.8460, 1.959964},
      {"allocation_params", "porian_head", "a", 0.6915, 0.7169, 1.959964},
      {"allocation_params", "porian_warmup", "a", 0.5914, 0.6173, 1.959964},
      {"allocation_params", "porian_cosine", "a", 0.5598, 0.5885, 1.959964},
      {"allocation_params", "porian_tuned", "a", 0.4907, 0.5045, 1.959964},
      {"allocation_params", "porian_head_attention", "a", 0.7029, 0.7273, 1.959964},
      {"allocation_params", "porian_warmup_attention", "a", 0.6072, 0.6320, 1.959964},
      {"allocation_params", "porian_cosine_attention", "a", 0.5620, 0.5925, 1.959964},
      {"allocation_params", "porian_tuned_attention", "a", 0.4962, 0.5123, 1.959964},
      {"allocation_params", "porian_kaplan_tuned", "a", 0.7026, 0.7214, 1.959964},
      {"allocation_params", "porian_owt2_kaplan", "a", 0.8186, 0.8974, 1.959964},
      {"allocation_params", "porian_owt2_tuned", "a", 0.4931, 0.5414, 1.959964},
      {"power_lines_tau", "bergsma2025", "x", -0.529, -0.507, 1.959964},
      {"algorithmic_progress", "ho2024", "T_2", 4.5, 14.3, 1.959964},
  };
  for (size_t i = 0; i < ISO_COUNT(ROW); i++) {
    const iso_law *l;
    const iso_law_const *c = set_of(ROW[i].law, ROW[i].set, &l);
    const iso_law_spread *s = iso_law_spread_of(l, c);
    int k = 0;
    while (k < l->n_params && strcmp(l->param[k].sign, ROW[i].sign) != 0) k++;
    assert_true(k < l->n_params);
    if (!s) fail_msg("%s, %s: no spread", ROW[i].law, ROW[i].set);
    double lo = c->p[k] - ROW[i].quantile * s->down[k], hi = c->p[k] + ROW[i].quantile * s->up[k];
    if (l->param[k].is_log) lo = exp(lo), hi = exp(hi);
    if (!(fabs(lo - ROW[i].lo) < 1.1e-4 * fmax(1, fabs(lo)) && fabs(hi - ROW[i].hi) < 1.1e-4 * fmax(1, fabs(hi))))
      fail_msg("%s, %s: %.5f to %.5f, printed %.5f to %.5f", ROW[i].law, ROW[i].set, lo, hi, ROW[i].lo, ROW[i].hi);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_printed), cmocka_unit_test(test_converted), cmocka_unit_test(test_ratios),
                                     cmocka_unit_test(test_intervals)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
