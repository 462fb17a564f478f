// Distil or train alone: FLOPs of the three teacher costs, the paper's findings, the best teacher against a grid, refusals.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/distil.h"

// The distilled set is not confirmed, so the program predicts nothing with it. Here it only has to behave as the paper describes.
static iso_distil_laws laws(void) { return (iso_distil_laws){iso_law_distillation_supervised.consts[0].p, iso_law_distillation.consts[0].p}; }

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("got %.12g, expected %.12g", got, want);
}

static iso_distil_answer decide(iso_distil_cost cost, double flop, double student, double teacher, double tokens) {
  iso_distil_laws l = laws();
  iso_distil_answer a;
  iso_err e = {0};
  if (iso_distil_decide(&l, cost, flop, student, teacher, tokens, &a, &e) != ISO_OK) fail_msg("%s", e.msg);
  return a;
}

// FLOPs = 3 F(N_S) D_S + F(N_T) (d_logits D_S + 3 d_train D_T), F(N) = 2 N: all of the budget is spent, on both sides of the comparison.
static void test_flops(void **state) {
  (void)state;
  static const int logits[ISO_DISTIL_COSTS] = {0, 1, 1}, train[ISO_DISTIL_COSTS] = {0, 0, 1};
  double flop = 4e20, ns = 5e8, nt = 3e9, dt = 1e10, before = 0;
  for (int c = 0; c < ISO_DISTIL_COSTS; c++) {
    iso_distil_answer a = decide((iso_distil_cost)c, flop, ns, nt, dt);
    double teacher = 2 * nt * (logits[c] * a.student_tokens + 3 * train[c] * dt);
    near(3 * 2 * ns * a.student_tokens + teacher, flop, 1e-12);
    near(a.teacher_flop + 1, teacher + 1, 1e-12);
    near(6 * ns * a.supervised_tokens, flop, 1e-12);
    double x[2] = {nt, dt}, alone[2] = {ns, a.student_tokens};
    near(a.teacher_loss, iso_law_distillation_supervised.value(laws().supervised, x, NULL), 1e-15);
    // The student's own supervised loss is that of the tokens it is taught with, not of the whole budget.
    double y[4] = {ns, a.student_tokens, a.teacher_loss, iso_law_distillation_supervised.value(laws().supervised, alone, NULL)};
    near(a.distilled_loss, iso_law_distillation.value(laws().distilled, y, NULL), 1e-15);
    assert_int_equal(a.distil, a.distilled_loss < a.supervised_loss);
    // Every cost that is added leaves the student fewer tokens and a higher loss.
    assert_true(a.distilled_loss > before);
    before = a.distilled_loss;
  }
  assert_string_equal(iso_distil_cost_name(ISO_DISTIL_TRAIN), "train");
  // A teacher dearer than the budget leaves nothing.
  iso_distil_answer a = decide(ISO_DISTIL_TRAIN, 1e20, ns, nt, dt);
  assert_true(isinf(a.distilled_loss) && a.student_tokens == 0 && !a.distil);
}

// FLOPs up to which a teacher of eight times the student's parameters and 20 tokens a parameter helps; 0 when it does not at 1e18 already.
static double helps_until(iso_distil_cost cost, double student) {
  double flop = 1e18, teacher = 8 * student;
  if (!decide(cost, flop, student, teacher, 20 * teacher).distil) return 0;
  while (flop < 1e28 && decide(cost, flop, student, teacher, 20 * teacher).distil) flop *= 1.02;
  return flop;
}

// The paper: with a teacher at hand, or shared by many students, distillation is better up to a compute level that grows with the student;
// with a teacher to be trained for one student, supervised training is. A teacher may also be too good for its student.
static void test_findings(void **state) {
  (void)state;
  static const double student[3] = {3e8, 1e9, 3e9};
  iso_distil_laws l = laws();
  for (int c = ISO_DISTIL_FREE; c <= ISO_DISTIL_FORWARD; c++) {
    double last = 0;
    for (int i = 0; i < 3; i++) {
      double until = helps_until((iso_distil_cost)c, student[i]);
      print_message("%s: a %.0e student is better distilled up to %.2e FLOP\n", iso_distil_cost_name((iso_distil_cost)c), student[i], until);
      assert_true(until > last && until < 1e26);
      last = until;
    }
    assert_true(helps_until(ISO_DISTIL_FORWARD, 1e9) < helps_until(ISO_DISTIL_FREE, 1e9));
  }
  for (int i = 0; i < 3; i++)
    for (double flop = 1e21; flop < 1e26; flop *= 100) {
      iso_distil_answer a;
      assert_int_equal(iso_distil_best_teacher(&l, flop, student[i], &a, NULL), ISO_OK);
      assert_false(a.distil);
    }
  assert_true(decide(ISO_DISTIL_FREE, 1e21, 3e8, 7e10, 1.4e12).distilled_loss >
              decide(ISO_DISTIL_FREE, 1e21, 3e8, 7e9, 1.4e11).distilled_loss + 0.05);
}

// The best teacher to train against every teacher of a grid.
static void test_best_teacher(void **state) {
  (void)state;
  iso_distil_laws l = laws();
  static const double student[2] = {3e8, 3e9}, budget[2] = {1e19, 1e22};
  for (int i = 0; i < 2; i++)
    for (int k = 0; k < 2; k++) {
      iso_distil_answer best;
      double least = INFINITY;
      assert_int_equal(iso_distil_best_teacher(&l, budget[k], student[i], &best, NULL), ISO_OK);
      for (double n = 1e6; n < 1e12; n *= 1.1)
        for (double share = 1e-4; share < 1; share *= 1.1) {
          iso_distil_answer a = decide(ISO_DISTIL_TRAIN, budget[k], student[i], n, share * budget[k] / (6 * n));
          least = fmin(least, a.distilled_loss);
        }
      print_message("student %.0e, %.0e FLOP: teacher %.3g on %.3g tokens, loss %.5f, grid %.5f\n", student[i], budget[k], best.teacher_params,
                    best.teacher_tokens, best.distilled_loss, least);
      assert_true(best.distilled_loss <= least + 1e-9 && best.distilled_loss > least - 2e-3);
      near(6 * best.teacher_params * best.teacher_tokens + (6 * student[i] + 2 * best.teacher_params) * best.student_tokens, budget[k], 1e-9);
    }
}

static void same(const iso_distil_answer *a, const iso_distil_answer *b) {
  assert_true(a->flop == b->flop && a->supervised_loss == b->supervised_loss && a->teacher_params == b->teacher_params);
  assert_true(a->teacher_tokens == b->teacher_tokens && a->teacher_loss == b->teacher_loss && a->teacher_flop == b->teacher_flop);
  assert_true(a->student_tokens == b->student_tokens && a->distilled_loss == b->distilled_loss && a->distil == b->distil);
}

// Questions: a teacher by size and tokens, by its loss, and the best one at hand against a grid of compute-optimal teachers.
static void test_questions(void **state) {
  (void)state;
  iso_distil_laws l = laws();
  iso_err e = {0};
  for (int c = 0; c < ISO_DISTIL_COSTS; c++) {
    iso_distil_answer want = decide((iso_distil_cost)c, 4e20, 5e8, 3e9, 1e10), a;
    iso_distil_question q = {&l, (iso_distil_cost)c, 5e8, 3e9, 1e10, NAN};
    assert_int_equal(iso_distil_ask(&q, 4e20, &a, &e), ISO_OK);
    same(&a, &want);
    q.teacher_loss = want.teacher_loss;  // told instead of reckoned
    if (c < ISO_DISTIL_TRAIN) q.teacher_tokens = NAN;
    if (c == ISO_DISTIL_FREE) q.teacher = NAN;
    assert_int_equal(iso_distil_ask(&q, 4e20, &a, &e), ISO_OK);
    near(a.distilled_loss, want.distilled_loss, 1e-15);
    near(a.student_tokens, want.student_tokens, 1e-15);
    q.teacher_loss = want.teacher_loss * 0.9;
    assert_int_equal(iso_distil_ask(&q, 4e20, &a, &e), ISO_OK);
    assert_true(fabs(a.distilled_loss - want.distilled_loss) > 1e-3);
    // What is not known and is needed is named.
    q = (iso_distil_question){&l, (iso_distil_cost)c, 5e8, NAN, 1e10, NAN};
    assert_int_equal(iso_distil_ask(&q, 4e20, &a, &e), ISO_EINVAL);
    assert_non_null(strstr(e.msg, "size of the teacher"));
  }
  iso_distil_question q = {&l, ISO_DISTIL_TRAIN, 5e8, 3e9, NAN, 2.2};
  iso_distil_answer a;
  assert_int_equal(iso_distil_ask(&q, 4e20, &a, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "tokens of the teacher"));
  for (int c = ISO_DISTIL_FREE; c <= ISO_DISTIL_FORWARD; c++)
    for (double flop = 1e19; flop < 1e23; flop *= 30) {
      double least = INFINITY;
      q = (iso_distil_question){&l, (iso_distil_cost)c, 5e8, NAN, NAN, NAN};
      assert_int_equal(iso_distil_ask(&q, flop, &a, &e), ISO_OK);
      for (double t = 1e15; t < 1e28; t *= 1.05) {
        iso_law_point p;
        assert_int_equal(iso_law_distillation_supervised.optimum(l.supervised, t, &p, &e), ISO_OK);
        least = fmin(least, decide((iso_distil_cost)c, flop, 5e8, p.params, p.tokens).distilled_loss);
      }
      assert_true(a.distilled_loss <= least + 1e-9 && a.distilled_loss > least - 1e-4);
    }
  q = (iso_distil_question){&l, ISO_DISTIL_TRAIN, 5e8, NAN, NAN, NAN};
  iso_distil_answer best;
  assert_int_equal(iso_distil_ask(&q, 1e21, &a, &e), ISO_OK);
  assert_int_equal(iso_distil_best_teacher(&l, 1e21, 5e8, &best, &e), ISO_OK);
  same(&a, &best);
}

// Every change of the answer on a fine scan lies beside one that is told, and the answers differ there.
static void test_flips(void **state) {
  (void)state;
  iso_distil_laws l = laws();
  for (int c = 0; c < ISO_DISTIL_COSTS; c++) {
    iso_distil_question q = {&l, (iso_distil_cost)c, 1e9, 8e9, 1.6e11, NAN};
    double at[8];
    int n = iso_distil_flips(&q, 1e18, 1e28, at, 8), k = 0;
    bool before = decide(q.cost, 1e18, 1e9, 8e9, 1.6e11).distil;
    for (double flop = 1e18 * 1.01; flop < 1e28; flop *= 1.01) {
      bool now = decide(q.cost, flop, 1e9, 8e9, 1.6e11).distil;
      if (now != before) {
        assert_true(k < n);
        near(at[k], flop / 1.005, 0.006);
        k++;
      }
      before = now;
    }
    assert_int_equal(k, n);
    assert_true(c == ISO_DISTIL_TRAIN || n >= 1);
    for (int i = 0; i < n; i++)
      assert_true(decide(q.cost, at[i] * (1 - 1e-6), 1e9, 8e9, 1.6e11).distil != decide(q.cost, at[i] * (1 + 1e-6), 1e9, 8e9, 1.6e11).distil);
  }
}

static void test_bad(void **state) {
  (void)state;
  iso_distil_laws l = laws();
  iso_distil_answer a;
  iso_err e = {0};
  assert_int_equal(iso_distil_decide(&l, ISO_DISTIL_FREE, 0, 1e9, 1e9, 1e9, &a, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "budget"));
  assert_int_equal(iso_distil_decide(&l, ISO_DISTIL_FREE, 1e20, 1e9, -1, 1e9, &a, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "size of the teacher"));
  assert_int_equal(iso_distil_decide(&l, ISO_DISTIL_FREE, 1e20, NAN, 1e9, 1e9, &a, &e), ISO_EINVAL);
  assert_int_equal(iso_distil_best_teacher(&l, INFINITY, 1e9, &a, &e), ISO_EINVAL);
  double broken[9];
  memcpy(broken, l.distilled, sizeof broken);
  broken[0] = NAN;
  l.distilled = broken;
  assert_int_equal(iso_distil_decide(&l, ISO_DISTIL_FREE, 1e20, 1e9, 1e9, 1e9, &a, &e), ISO_ENUM);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_flops),     cmocka_unit_test(test_findings), cmocka_unit_test(test_best_teacher),
                                     cmocka_unit_test(test_questions), cmocka_unit_test(test_flips),    cmocka_unit_test(test_bad)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
