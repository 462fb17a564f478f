// Rankings of measured shapes: fronts, pairs and disagreements worked out by hand.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "plan/shape_rank.h"

// Five shapes. By parameters: deep (100 M) and wide (105 M) are equal within 10%, base (220 M) and narrow (210 M) too; big stands alone.
//   loss:  wide 2.9 < deep 3.0; base 2.6 < narrow 2.7; big 2.5.
//   score: deep 75 > wide 71;   narrow 82 > base 80;   big 81.
//   FLOPs: deep 10, wide 6, base 20, narrow 21, big 40.
static const char TABLE[] =
    "name,params,flops,speed,loss,score\n"
    "deep,100e6,10,5,3.0,75\n"
    "wide,105e6,6,9,2.9,71\n"
    "base,220e6,20,3,2.6,80\n"
    "narrow,210e6,21,,2.7,82\n"
    "big,400e6,40,1,2.5,81\n"
    "unfinished,400e6,40,1,,\n";
enum { DEEP, WIDE, BASE, NARROW, BIG, RUNS };

static void read(const char *text, iso_shape_run **r, int64_t *n) {
  iso_csv t;
  iso_err err = {0};
  assert_int_equal(iso_csv_parse(text, strlen(text), "runs.csv", &t, &err), ISO_OK);
  if (iso_shape_runs_read(&t, r, n, &err) != ISO_OK) fail_msg("%s", err.msg);
  iso_csv_close(&t);
}

static void check_front(const iso_shape_rank *k, int axis, const int64_t *want) {
  for (int i = 0; i < RUNS; i++)
    if (k->beaten_by[i][axis] != want[i])
      fail_msg("axis %d: run %d is beaten by %lld, expected %lld", axis, i, (long long)k->beaten_by[i][axis], (long long)want[i]);
}

static void test_by_hand(void **state) {
  (void)state;
  iso_shape_run *r;
  int64_t n;
  iso_shape_rank k;
  iso_err err = {0};
  iso_shape_rank_opts o = iso_shape_rank_opts_default();
  read(TABLE, &r, &n);
  assert_int_equal(n, RUNS);
  assert_string_equal(r[NARROW].name, "narrow");
  assert_true(isnan(r[NARROW].speed) && r[BASE].line == 4);
  // Upstream.
  assert_int_equal(iso_shape_rank_run(r, n, &o, &k, &err), ISO_OK);
  static const int64_t ORDER_UP[RUNS] = {BIG, BASE, NARROW, WIDE, DEEP};
  for (int i = 0; i < RUNS; i++) assert_int_equal(k.order[i], ORDER_UP[i]);
  // Deep is beaten by wide, 5% larger; narrow by base. By FLOPs the same. By speed wide beats deep; narrow is not measured.
  check_front(&k, ISO_SHAPE_PARAMS, (int64_t[]){WIDE, -1, -1, BASE, -1});
  check_front(&k, ISO_SHAPE_FLOP, (int64_t[]){WIDE, -1, -1, BASE, -1});
  check_front(&k, ISO_SHAPE_SPEED, (int64_t[]){WIDE, -1, -1, -1, -1});
  // The other quality's front by parameters: deep, narrow; wide loses to deep, base to narrow, big to narrow.
  static const bool OTHER[RUNS] = {true, false, false, true, false};
  for (int i = 0; i < RUNS; i++) assert_int_equal(k.other_front[i][ISO_SHAPE_PARAMS], OTHER[i]);
  // Pairs of equal parameters: deep-wide and narrow-base, both reversed: tau -1. Of equal FLOPs: base-narrow alone.
  assert_true(k.tau[ISO_SHAPE_TAU_PARAMS].pairs == 2 && k.tau[ISO_SHAPE_TAU_PARAMS].discordant == 2 && k.tau[ISO_SHAPE_TAU_PARAMS].tau == -1);
  assert_true(isnan(k.tau[ISO_SHAPE_TAU_PARAMS].lo));
  assert_true(k.tau[ISO_SHAPE_TAU_FLOP].pairs == 1 && k.tau[ISO_SHAPE_TAU_FLOP].tau == -1);
  // All ten pairs: deep-wide, base-narrow and narrow-big are reversed: (7 - 3) / 10.
  assert_true(k.tau[ISO_SHAPE_TAU_ALL].pairs == 10 && k.tau[ISO_SHAPE_TAU_ALL].discordant == 3);
  assert_true(fabs(k.tau[ISO_SHAPE_TAU_ALL].tau - 0.4) < 1e-12 && k.tau[ISO_SHAPE_TAU_ALL].lo < 0.4 && k.tau[ISO_SHAPE_TAU_ALL].hi > 0.4);
  // Disagreements, largest difference in score first.
  assert_int_equal(k.n_clash, 2);
  assert_true(k.clash[0].up == WIDE && k.clash[0].down == DEEP && k.clash[0].params && !k.clash[0].flop && k.clash[0].d_score == 4);
  assert_true(k.clash[1].up == BASE && k.clash[1].down == NARROW && k.clash[1].params && k.clash[1].flop);
  iso_shape_rank_close(&k);
  // Downstream: wide is beaten by deep at equal parameters but stands on the front by FLOPs; base and big are beaten by narrow.
  o.downstream = true;
  assert_int_equal(iso_shape_rank_run(r, n, &o, &k, &err), ISO_OK);
  check_front(&k, ISO_SHAPE_PARAMS, (int64_t[]){-1, DEEP, NARROW, -1, NARROW});
  check_front(&k, ISO_SHAPE_FLOP, (int64_t[]){-1, -1, NARROW, -1, NARROW});
  iso_shape_rank_close(&k);
  // Sizes must be equal to the digit: wide is larger than deep, base than narrow; narrow takes more FLOPs than base.
  o = (iso_shape_rank_opts){.within = 0, .level = 0.9};
  assert_int_equal(iso_shape_rank_run(r, n, &o, &k, &err), ISO_OK);
  check_front(&k, ISO_SHAPE_PARAMS, (int64_t[]){-1, -1, -1, -1, -1});
  check_front(&k, ISO_SHAPE_FLOP, (int64_t[]){WIDE, -1, -1, BASE, -1});
  assert_true(k.n_clash == 0 && k.tau[ISO_SHAPE_TAU_PARAMS].pairs == 0 && isnan(k.tau[ISO_SHAPE_TAU_PARAMS].tau));
  iso_shape_rank_close(&k);
  free(r);
}

// Ties: of equally good runs the much smaller one stays; tau-b leaves tied pairs out of the side that ties.
static void test_ties(void **state) {
  (void)state;
  iso_shape_run *r;
  int64_t n;
  iso_shape_rank k;
  iso_err err = {0};
  iso_shape_rank_opts o = iso_shape_rank_opts_default();
  read("params,flop,upstream,downstream\n100,1,2,50\n200,2,2,60\n300,3,1,60\n", &r, &n);
  assert_string_equal(r[1].name, "line 3");
  assert_int_equal(iso_shape_rank_run(r, n, &o, &k, &err), ISO_OK);
  assert_int_equal(k.beaten_by[1][ISO_SHAPE_PARAMS], 0);
  assert_int_equal(k.beaten_by[0][ISO_SHAPE_PARAMS], -1);
  assert_int_equal(k.order[0], 2);
  assert_int_equal(k.order[1], 0);
  // Pairs: (0,1) tied in loss; (1,2) tied in score; (0,2) agrees: 1 / sqrt(2 x 2).
  assert_true(k.tau[ISO_SHAPE_TAU_ALL].pairs == 3 && k.tau[ISO_SHAPE_TAU_ALL].concordant == 1);
  assert_true(fabs(k.tau[ISO_SHAPE_TAU_ALL].tau - 0.5) < 1e-12);
  assert_true(isnan(k.tau[ISO_SHAPE_TAU_PARAMS].tau) && k.n_clash == 0);
  iso_shape_rank_close(&k);
  free(r);
  // Equally good and of equal size: neither beats the other.
  read("params,flop,upstream,downstream\n100,1,2,50\n105,1,2,60\n", &r, &n);
  assert_int_equal(iso_shape_rank_run(r, n, &o, &k, &err), ISO_OK);
  assert_true(k.beaten_by[0][ISO_SHAPE_PARAMS] == -1 && k.beaten_by[1][ISO_SHAPE_PARAMS] == -1);
  iso_shape_rank_close(&k);
  free(r);
}

// No run on a front is beaten by any other, and everyone else by one that is, on random runs with sizes taken as they are.
static void test_fronts(void **state) {
  (void)state;
  enum { N = 60 };
  iso_shape_run r[N] = {0};
  iso_shape_rank k;
  iso_err err = {0};
  iso_shape_rank_opts o = {.within = 0, .level = 0.9};
  for (int i = 0; i < N; i++) {
    r[i].params = 1 + (i * 7919) % 101;
    r[i].flop = 1 + (i * 104729) % 97;
    r[i].speed = 1 + (i * 1299709) % 89;
    r[i].upstream = (i * 15485863) % 83;
    r[i].downstream = (i * 32452843) % 79;
  }
  for (int down = 0; down < 2; down++) {
    o.downstream = down;
    assert_int_equal(iso_shape_rank_run(r, N, &o, &k, &err), ISO_OK);
    for (int a = 0; a < ISO_SHAPE_AXES; a++)
      for (int i = 0; i < N; i++) {
        bool beaten = false;
        for (int j = 0; j < N; j++) {
          double ci = a == 0 ? r[i].params : a == 1 ? r[i].flop : -r[i].speed, cj = a == 0 ? r[j].params : a == 1 ? r[j].flop : -r[j].speed;
          double qi = down ? r[i].downstream : -r[i].upstream, qj = down ? r[j].downstream : -r[j].upstream;
          beaten = beaten || (cj <= ci && qj >= qi && (cj < ci || qj > qi));
        }
        int64_t by = k.beaten_by[i][a];
        assert_int_equal(by >= 0, beaten);
        assert_true(by < 0 || k.beaten_by[by][a] < 0);
      }
    iso_shape_rank_close(&k);
  }
}

static void test_refused(void **state) {
  (void)state;
  static const struct {
    const char *text, *says;
  } BAD[] = {{"params,flops,loss\n1,2,3\n", "no column downstream"},
             {"params,flops,loss,score\n-1,2,3,4\n1,2,3,4\n", "params"},
             {"params,flops,loss,score\n1,2,3,4\n", "1 rows"},
             {"params,flops,loss,score,speed\n1,2,3,4,fast\n", "speed"}};
  for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
    iso_csv t;
    iso_shape_run *r;
    int64_t n;
    iso_err err = {0};
    assert_int_equal(iso_csv_parse(BAD[i].text, strlen(BAD[i].text), "runs.csv", &t, &err), ISO_OK);
    assert_true(iso_shape_runs_read(&t, &r, &n, &err) != ISO_OK && r == NULL);
    if (!strstr(err.msg, BAD[i].says)) fail_msg("%s", err.msg);
    iso_csv_close(&t);
  }
  iso_shape_run r[2] = {{.params = 1, .flop = 1}, {.params = 2, .flop = 2}};
  iso_shape_rank k;
  iso_err err = {0};
  iso_shape_rank_opts o = iso_shape_rank_opts_default();
  assert_int_equal(iso_shape_rank_run(r, 1, &o, &k, &err), ISO_EINVAL);
  o.within = -1;
  assert_int_equal(iso_shape_rank_run(r, 2, &o, &k, &err), ISO_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_by_hand), cmocka_unit_test(test_ties), cmocka_unit_test(test_fronts),
                                     cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
