// isoflop.h: bad arguments, empty texts, a call that is stopped and repeated, several calls on one engine.
// ctest: timeout=300
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>  // needs the ones above
// clang-format on
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "isoflop.h"

static char dir[200], text_path[220], out[220];
static const char TINY[] = "{\"model\": \"1,16,1/1,32,300,16\", \"steps\": 20, \"batch\": 2, \"seed\": 1}";

static int setup(void **state) {
  (void)state;
  (void)snprintf(dir, sizeof dir, "%s/isoflop-api.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
  if (!mkdtemp(dir)) return -1;
  setenv("ISOFLOP_HOME", dir, 1);
  (void)snprintf(text_path, sizeof text_path, "%s/text.txt", dir);
  (void)snprintf(out, sizeof out, "%s/model", dir);
  FILE *f = fopen(text_path, "w");
  if (!f) return -1;
  for (int i = 0; i < 3000; i++) fprintf(f, "line %d of a text with some words in it\n", i * 7919 % 3000);
  return fclose(f);
}

static int teardown(void **state) {
  (void)state;
  char cmd[300];
  (void)snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
  return system(cmd);
}

static isoflop_status train(isoflop *f, const char *budget, const char *where, const char *options, char **json) {
  const char *texts[] = {text_path};
  return isoflop_train(f, texts, 1, budget, where, options, json);
}

static void bad_arguments(void **state) {
  (void)state;
  isoflop *f = isoflop_open(1);
  assert_non_null(f);
  assert_string_equal(isoflop_error(f), "");
  assert_int_not_equal(train(f, NULL, out, NULL, NULL), 0);
  assert_non_null(strstr(isoflop_error(f), "nothing bounds"));
  assert_int_not_equal(train(f, "1GiB", out, NULL, NULL), 0);
  assert_non_null(strstr(isoflop_error(f), "nothing bounds"));
  assert_int_not_equal(train(f, "5 parsec", out, NULL, NULL), 0);
  assert_int_not_equal(train(f, NULL, out, "{\"stepz\": 5}", NULL), 0);
  assert_non_null(strstr(isoflop_error(f), "stepz"));
  assert_int_not_equal(train(f, NULL, out, "{", NULL), 0);
  assert_int_not_equal(train(f, NULL, NULL, TINY, NULL), 0);
  assert_non_null(strstr(isoflop_error(f), "folder"));
  isoflop_model *m = (isoflop_model *)f;
  assert_int_not_equal(isoflop_model_open(f, "/nonexistent", &m), 0);
  assert_null(m);
  isoflop_close(f);
  assert_non_null(isoflop_error(NULL));
}

static void train_and_use(void **state) {
  (void)state;
  isoflop *f = isoflop_open(1);
  char *json = NULL, *text = NULL;
  isoflop_model *m;
  double bpb = NAN, again = NAN;
  if (train(f, NULL, out, TINY, &json) != 0) fail_msg("%s", isoflop_error(f));
  assert_non_null(strstr(json, "\"tokens\":640"));  // 20 steps of 2 x 16
  free(json);
  assert_int_equal(isoflop_model_open(f, out, &m), 0);
  assert_true(isoflop_model_params(m) > 300 * 16);
  assert_int_equal(isoflop_model_eval(m, "a text with some words", 22, &bpb), 0);
  assert_true(bpb > 0.5 && bpb < 12);
  assert_int_not_equal(isoflop_model_eval(m, "", 0, &again), 0);
  assert_true(isnan(again));
  // An empty prompt is the start of a document, as in isoflop sample.
  assert_int_equal(isoflop_model_sample(m, "", 5, 0, 1, 0, &text), 0);
  assert_non_null(text);
  free(text);
  assert_int_not_equal(isoflop_model_sample(m, "a", -1, 0, 1, 0, &text), 0);
  assert_null(text);
  // The same engine trains again; the model that is open stays what it was.
  char other[240];
  (void)snprintf(other, sizeof other, "%s/other", dir);
  assert_int_equal(train(f, NULL, other, TINY, NULL), 0);
  assert_int_equal(isoflop_model_eval(m, "a text with some words", 22, &again), 0);
  assert_true(fabs(again - bpb) < 0.05 * bpb);
  isoflop_model_close(m);
  isoflop_close(f);
}

static void *stopper(void *f) {
  usleep(1500000);
  isoflop_stop(f);
  return NULL;
}

static void stopped_and_repeated(void **state) {
  (void)state;
  isoflop *f = isoflop_open(1);
  pthread_t t;
  char where[240], *json = NULL;
  static const char LONG[] = "{\"model\": \"1,16,1/1,32,300,16\", \"steps\": 2000000, \"batch\": 2, \"seed\": 1}";
  (void)snprintf(where, sizeof where, "%s/stopped", dir);
  assert_int_equal(pthread_create(&t, NULL, stopper, f), 0);
  assert_string_equal(isoflop_status_name(train(f, NULL, where, LONG, NULL)), "stopped");
  assert_int_equal(pthread_join(t, NULL), 0);
  // With other options it is refused, and not because it was stopped.
  assert_string_equal(isoflop_status_name(train(f, NULL, where, TINY, &json)), "bad argument");
  assert_non_null(strstr(isoflop_error(f), "steps"));
  assert_null(json);
  isoflop_close(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(bad_arguments), cmocka_unit_test(train_and_use), cmocka_unit_test(stopped_and_repeated)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
