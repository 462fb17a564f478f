// The run store: what goes in comes out, batches are whole or absent, killed runs are noticed, damaged and foreign files are kept.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>  // needs the ones above
// clang-format on
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "store/store.h"

typedef struct fixture {
  iso_ctx *c;
  iso_arena *a;
  char dir[64], path[96];
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  iso_err e;
  assert_int_equal(iso_ctx_open(1, &f->c, &e), ISO_OK);
  assert_int_equal(iso_arena_open(&f->a, &e), ISO_OK);
  snprintf(f->dir, sizeof f->dir, "/tmp/iso_test_store.XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  snprintf(f->path, sizeof f->path, "%s/runs.db", f->dir);
  *state = f;
  return 0;
}
static int teardown(void **state) {
  fixture *f = *state;
  char cmd[96];
  snprintf(cmd, sizeof cmd, "rm -r %s", f->dir);
  assert_int_equal(system(cmd), 0);
  iso_arena_close(f->a);
  iso_ctx_close(f->c);
  free(f);
  return 0;
}

static iso_store *opened(fixture *f) {
  iso_store *s;
  iso_err e = {0};
  if (iso_store_open(f->c, f->path, &s, &e) != ISO_OK) fail_msg("%s", e.msg);
  return s;
}

// Another way in: plain SQL.
static void sql(fixture *f, const char *text) {
  sqlite3 *db;
  char *msg = NULL;
  assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
  if (sqlite3_exec(db, text, NULL, NULL, &msg) != SQLITE_OK) fail_msg("%s", msg);
  sqlite3_close(db);
}
static double sql_num(fixture *f, const char *text) {
  sqlite3 *db;
  sqlite3_stmt *q;
  assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
  if (sqlite3_prepare_v2(db, text, -1, &q, NULL) != SQLITE_OK) fail_msg("%s", sqlite3_errmsg(db));
  assert_int_equal(sqlite3_step(q), SQLITE_ROW);
  double v = sqlite3_column_type(q, 0) == SQLITE_NULL ? NAN : sqlite3_column_double(q, 0);
  sqlite3_finalize(q);
  sqlite3_close(db);
  return v;
}

static void begin(iso_store *s, const char *kind, const char *parent, char id[ISO_RUN_ID]) {
  iso_store_run r = iso_store_run_blank();
  iso_err e = {0};
  r.kind = kind;
  r.parent = parent;
  if (iso_store_begin(s, &r, id, &e) != ISO_OK) fail_msg("%s", e.msg);
}

static iso_cost random_cost(uint64_t seed) {
  iso_cost c = iso_cost_unknown();
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    double m = exp(iso_rng_normal(seed, ISO_RNG_TEST, 0, (uint64_t)r) * 20);
    if (iso_rng_u64(seed, ISO_RNG_TEST, 1, (uint64_t)r) & 3) *iso_cost_at(&c, (iso_res)r) = iso_est_range(m, m * 1.1, m * 1.2);
  }
  return c;
}
static bool same(double a, double b) { return a == b || (isnan(a) && isnan(b)); }
static void same_cost(const iso_cost *a, const iso_cost *b) {
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    iso_est x = iso_cost_get(a, (iso_res)r), y = iso_cost_get(b, (iso_res)r);
    assert_true(same(x.lo, y.lo) && same(x.mean, y.mean) && same(x.hi, y.hi));
  }
}

static void runs(void **state) {
  fixture *f = *state;
  iso_store *s = opened(f);
  iso_err e;
  char id[ISO_RUN_ID], kid[ISO_RUN_ID], last[ISO_RUN_ID];
  iso_store_run r = iso_store_run_blank(), *rows, got;
  int64_t n;
  r.kind = "demo";
  r.command = "isoflop demo --budget '5m'";
  r.budget_json = "{\"wall\":300.0}";
  r.seed = 0;
  assert_int_equal(iso_store_begin(s, &r, id, &e), ISO_OK);
  assert_int_equal(strlen(id), 26);
  begin(s, "train", id, kid);
  begin(s, "demo", NULL, last);
  r = iso_store_run_blank();
  r.params = 1234567;
  r.steal_s = 0.25;
  r.out_dir = "/tmp/ö";
  assert_int_equal(iso_store_update(s, id, &r, &e), ISO_OK);
  assert_int_equal(iso_store_finish(s, id, "done", &e), ISO_OK);
  assert_int_equal(iso_store_finish(s, id, "killed", &e), ISO_EINVAL);
  assert_int_equal(iso_store_finish(s, "nobody", "done", &e), ISO_EINVAL);
  assert_int_equal(iso_store_update(s, "nobody", &r, &e), ISO_EINVAL);
  iso_store_close(s);
  s = opened(f);
  assert_int_equal(iso_store_runs(s, NULL, NULL, 0, f->a, &rows, &n, &e), ISO_OK);
  assert_int_equal(n, 3);
  assert_string_equal(rows[0].id, last);  // newest first
  assert_string_equal(rows[1].status, "running");
  assert_string_equal(rows[1].parent, id);
  got = rows[2];
  assert_string_equal(got.status, "done");
  assert_string_equal(got.command, "isoflop demo --budget '5m'");
  assert_string_equal(got.out_dir, "/tmp/ö");
  assert_true(got.params == 1234567 && got.steal_s == 0.25 && got.seed == 0 && got.tokens == -1 && got.pid == getpid() && !got.rev && got.ended);
  assert_int_equal(iso_store_runs(s, NULL, id, 0, f->a, &rows, &n, &e), ISO_OK);
  assert_true(n == 1 && strcmp(rows[0].id, kid) == 0);
  assert_int_equal(iso_store_runs(s, "demo", NULL, 1, f->a, &rows, &n, &e), ISO_OK);
  assert_true(n == 1 && strcmp(rows[0].id, last) == 0);
  assert_int_equal(iso_store_find(s, "latest", "train", f->a, &got, &e), ISO_OK);
  assert_string_equal(got.id, kid);
  assert_int_equal(iso_store_find(s, NULL, "fit", f->a, &got, &e), ISO_EINVAL);
  assert_int_equal(iso_store_find(s, kid, NULL, f->a, &got, &e), ISO_OK);
  assert_string_equal(got.kind, "train");
  char part[8] = "";
  snprintf(part, sizeof part, "%.4s", id);  // the milliseconds agree
  assert_int_equal(iso_store_find(s, part, NULL, f->a, &got, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "more than one"));
  char lower[ISO_RUN_ID];
  for (int i = 0; i < ISO_RUN_ID; i++) lower[i] = (char)(id[i] >= 'A' ? id[i] + 32 : id[i]);
  assert_int_equal(iso_store_find(s, lower, NULL, f->a, &got, &e), ISO_OK);
  assert_string_equal(got.id, id);
  assert_int_equal(iso_store_find(s, "zzz", NULL, f->a, &got, &e), ISO_EINVAL);
  r = iso_store_run_blank();
  assert_int_equal(iso_store_begin(s, &r, id, &e), ISO_EINVAL);  // no kind
  r.kind = "train";
  r.parent = "nobody";
  assert_int_equal(iso_store_begin(s, &r, id, &e), ISO_EINVAL);
  iso_store_close(s);
}

static void rows_come_back(void **state) {
  fixture *f = *state;
  enum { N = 40 };
  iso_store *s = opened(f);
  iso_err e;
  char id[ISO_RUN_ID], kid[ISO_RUN_ID];
  begin(s, "sweep", NULL, id);
  begin(s, "train", id, kid);
  iso_store_point p[N], *q;
  iso_store_sample c[N], *d;
  iso_run_row l[N], *m;
  iso_store_fit fit = {.run = id, .law = "chinchilla", .params_json = "{\"E\":1.69}", .objective = 1e-3, .n_points = 240}, *fits;
  int64_t n;
  for (int i = 0; i < N; i++) {
    p[i] = iso_store_point_blank();
    p[i].run = i & 1 ? kid : id;
    p[i].predicted = i % 3 == 0;
    p[i].metric = "bits_per_byte";
    p[i].quality = 1.0 / (i + 3);
    p[i].n_params = 1e9 * i;
    p[i].flops = INFINITY;  // is stored as NULL, like unknown
    p[i].cost = random_cost((uint64_t)i);
    c[i] = iso_store_sample_blank();
    c[i].step = N - i;
    c[i].train_loss = sqrt(i);
    c[i].event = i == 5 ? "decay" : NULL;
    l[i] = (iso_run_row){
        .id = i, .state = (iso_row_state)(i & 3), .predicted = random_cost(1000 + (uint64_t)i), .measured = random_cost(2000 + (uint64_t)i)};
    snprintf(l[i].label, sizeof l[i].label, "trial %d", i);
  }
  assert_int_equal(iso_store_points_add(s, p, N, &e), ISO_OK);
  assert_int_equal(iso_store_curve_add(s, kid, c, N, &e), ISO_OK);
  assert_int_equal(iso_store_ledger_add(s, id, l, N, &e), ISO_OK);
  assert_int_equal(iso_store_fit_add(s, &fit, &e), ISO_OK);
  iso_store_close(s);
  s = opened(f);
  assert_int_equal(iso_store_points(s, id, true, -1, f->a, &q, &n, &e), ISO_OK);
  assert_int_equal(n, N);
  for (int i = 0; i < N; i++) {
    assert_string_equal(q[i].run, p[i].run);
    assert_true(q[i].predicted == p[i].predicted && q[i].quality == p[i].quality && q[i].n_params == p[i].n_params && isnan(q[i].flops) &&
                isnan(q[i].stderr_) && !q[i].label);
    same_cost(&q[i].cost, &p[i].cost);
  }
  assert_int_equal(iso_store_points(s, id, false, 1, f->a, &q, &n, &e), ISO_OK);
  assert_int_equal(n, 7);  // 0, 6, ..., 36
  assert_int_equal(iso_store_points(s, NULL, false, 0, f->a, &q, &n, &e), ISO_OK);
  assert_int_equal(n, 26);
  c[3].train_loss = 77;
  assert_int_equal(iso_store_curve_add(s, kid, c + 3, 1, &e), ISO_OK);  // a resumed run repeats a step
  assert_int_equal(iso_store_curve(s, kid, f->a, &d, &n, &e), ISO_OK);
  assert_int_equal(n, N);
  for (int i = 0; i < N; i++) assert_true(d[i].step == i + 1 && d[i].train_loss == (i == N - 4 ? 77 : sqrt(N - 1 - i)) && isnan(d[i].val_loss));
  assert_string_equal(d[N - 6].event, "decay");
  assert_int_equal(iso_store_ledger(s, id, f->a, &m, &n, &e), ISO_OK);
  assert_int_equal(n, N);
  for (int i = 0; i < N; i++) {
    assert_string_equal(m[i].label, l[i].label);
    assert_true(m[i].state == l[i].state && m[i].id == i);
    same_cost(&m[i].predicted, &l[i].predicted);
    same_cost(&m[i].measured, &l[i].measured);
  }
  assert_int_equal(iso_store_fits(s, NULL, "chinchilla", f->a, &fits, &n, &e), ISO_OK);
  assert_true(n == 1 && fits[0].objective == 1e-3 && fits[0].n_points == 240 && !fits[0].interval_json);
  assert_int_equal(iso_store_fits(s, kid, NULL, f->a, &fits, &n, &e), ISO_OK);
  assert_int_equal(n, 0);
  // The columns are those of budget.def; unknown is NULL.
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    char text[200];
    const char *name = iso_res_get((iso_res)r)->name;
    snprintf(text, sizeof text, "SELECT sum(%s_mean) FROM points WHERE id=8", name);
    assert_true(same(sql_num(f, text), iso_cost_get(&p[7].cost, (iso_res)r).mean));
    snprintf(text, sizeof text, "SELECT sum(measured_%s_hi) FROM ledger WHERE seq=9", name);
    assert_true(same(sql_num(f, text), iso_cost_get(&l[9].measured, (iso_res)r).hi));
  }
  iso_store_close(s);
}

static void batches_are_whole(void **state) {
  fixture *f = *state;
  iso_store *s = opened(f);
  iso_err e;
  char id[ISO_RUN_ID];
  iso_store_point p[5];
  begin(s, "sweep", NULL, id);
  for (int i = 0; i < 5; i++) {
    p[i] = iso_store_point_blank();
    p[i].run = i == 4 ? "nobody" : id;
  }
  assert_int_equal(iso_store_points_add(s, p, 5, &e), ISO_EINVAL);  // one bad row
  assert_true(sql_num(f, "SELECT count(*) FROM points") == 0);
  assert_int_equal(iso_store_points_add(s, p, 4, &e), ISO_OK);
  assert_true(sql_num(f, "SELECT count(*) FROM points") == 4);
  iso_store_close(s);
}

static void json(void **state) {
  fixture *f = *state;
  iso_store *s = opened(f);
  iso_err e;
  char id[ISO_RUN_ID];
  iso_store_run r = iso_store_run_blank();
  json_t *j;
  r.kind = "train";
  r.budget_json = "{\"wall\":300.0}";
  r.config_json = "not json";
  assert_int_equal(iso_store_begin(s, &r, id, &e), ISO_OK);
  iso_store_point p = iso_store_point_blank();
  p.run = id;
  p.cost.wall = iso_est_exact(2.5);
  assert_int_equal(iso_store_points_add(s, &p, 1, &e), ISO_OK);
  assert_int_equal(iso_store_query_json(s, "runs", NULL, &j, &e), ISO_OK);
  const json_t *o = json_array_get(j, 0);
  assert_string_equal(json_string_value(json_object_get(o, "id")), id);
  assert_true(json_number_value(json_object_get(json_object_get(o, "budget_json"), "wall")) == 300);
  assert_string_equal(json_string_value(json_object_get(o, "config_json")), "not json");
  assert_true(json_is_null(json_object_get(o, "rev")) && json_is_null(json_object_get(o, "steal_s")));
  json_decref(j);
  assert_int_equal(iso_store_query_json(s, "points", id, &j, &e), ISO_OK);
  o = json_array_get(j, 0);
  assert_true(json_array_size(j) == 1 && json_number_value(json_object_get(o, "wall_mean")) == 2.5 && json_is_null(json_object_get(o, "energy_hi")));
  json_decref(j);
  assert_int_equal(iso_store_query_json(s, "curve", id, &j, &e), ISO_OK);
  assert_int_equal(json_array_size(j), 0);
  json_decref(j);
  assert_int_equal(iso_store_query_json(s, "runs; DROP TABLE runs", NULL, &j, &e), ISO_EINVAL);
  iso_store_close(s);
}

static void notices_the_killed(void **state) {
  fixture *f = *state;
  int fd[2];
  char id[ISO_RUN_ID], mine[ISO_RUN_ID];
  assert_int_equal(pipe(fd), 0);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    begin(opened(f), "train", NULL, id);
    if (write(fd[1], id, sizeof id) != (ssize_t)sizeof id) _exit(1);
    for (;;) pause();
  }
  assert_int_equal(read(fd[0], id, sizeof id), sizeof id);
  iso_store *s = opened(f);
  iso_store_run r;
  iso_err e;
  begin(s, "train", NULL, mine);
  assert_int_equal(iso_store_find(s, id, NULL, f->a, &r, &e), ISO_OK);
  assert_string_equal(r.status, "running");
  kill(pid, SIGKILL);
  usleep(50000);  // a zombie counts as gone; it may take a moment to become one
  for (int i = 0; i < 200; i++) {
    assert_int_equal(iso_store_find(s, id, NULL, f->a, &r, &e), ISO_OK);
    if (strcmp(r.status, "killed") == 0) break;
    usleep(10000);
  }
  assert_string_equal(r.status, "killed");
  assert_int_equal(waitpid(pid, NULL, 0), pid);
  assert_int_equal(iso_store_find(s, mine, NULL, f->a, &r, &e), ISO_OK);
  assert_string_equal(r.status, "running");
  assert_int_equal(iso_store_resume(s, id, &e), ISO_OK);
  assert_int_equal(iso_store_find(s, id, NULL, f->a, &r, &e), ISO_OK);
  assert_string_equal(r.status, "running");
  assert_int_equal(r.pid, getpid());
  sql(f, "UPDATE runs SET pid_start = pid_start - 1");  // our number, an older process
  assert_int_equal(iso_store_find(s, id, NULL, f->a, &r, &e), ISO_OK);
  assert_string_equal(r.status, "killed");
  sql(f, "UPDATE runs SET status='running', pid_start = pid_start + 1, boot='another'");
  assert_int_equal(iso_store_find(s, id, NULL, f->a, &r, &e), ISO_OK);
  assert_string_equal(r.status, "killed");
  sql(f, "UPDATE runs SET status='running', host='elsewhere'");  // cannot be judged from here
  assert_int_equal(iso_store_find(s, id, NULL, f->a, &r, &e), ISO_OK);
  assert_string_equal(r.status, "running");
  iso_store_close(s);
  close(fd[0]);
  close(fd[1]);
}

static void versions(void **state) {
  fixture *f = *state;
  iso_store *s = opened(f);
  iso_err e;
  char id[ISO_RUN_ID];
  begin(s, "train", NULL, id);
  iso_store_point p = iso_store_point_blank(), *q;
  int64_t n;
  p.run = id;
  p.quality = 3;
  assert_int_equal(iso_store_points_add(s, &p, 1, &e), ISO_OK);
  iso_store_close(s);
  // A store from before a resource was known gains its columns and keeps its rows.
  sql(f, "ALTER TABLE points DROP COLUMN instr_hi; ALTER TABLE ledger DROP COLUMN predicted_wall_lo");
  s = opened(f);
  p.cost.instr = iso_est_exact(9);
  assert_int_equal(iso_store_points_add(s, &p, 1, &e), ISO_OK);
  assert_int_equal(iso_store_points(s, NULL, false, -1, f->a, &q, &n, &e), ISO_OK);
  assert_true(n == 2 && q[0].quality == 3 && isnan(q[0].cost.instr.hi) && q[1].cost.instr.hi == 9);
  assert_int_equal(iso_store_ledger_add(s, id, &(iso_run_row){.label = "x"}, 1, &e), ISO_OK);
  iso_store_close(s);
  sql(f, "PRAGMA user_version=99");
  assert_int_equal(iso_store_open(f->c, f->path, &s, &e), ISO_EUNSUP);
  assert_null(s);
  assert_non_null(strstr(e.msg, "99"));
}

static void expect_kept(fixture *f, const char *bytes, size_t n, iso_status want) {
  FILE *file = fopen(f->path, "wb");
  iso_store *s;
  iso_err e;
  char *now, cmd[400];
  size_t k;
  fwrite(bytes, 1, n, file);
  fclose(file);
  assert_int_equal(iso_store_open(f->c, f->path, &s, &e), want);
  assert_null(s);
  assert_true(strlen(e.hint) > 0 && strstr(e.msg, f->path));
  assert_int_equal(iso_file_get(f->path, 1 << 24, &now, &k, &e), ISO_OK);
  assert_int_equal(k, n);
  assert_memory_equal(now, bytes, n);
  free(now);
  snprintf(cmd, sizeof cmd, "rm -f %s %s-wal %s-shm", f->path, f->path, f->path);
  assert_int_equal(system(cmd), 0);
}

static void damaged_files_are_kept(void **state) {
  fixture *f = *state;
  iso_store *s = opened(f);
  iso_err e;
  char id[ISO_RUN_ID], *good;
  size_t n;
  begin(s, "train", NULL, id);
  iso_store_sample c[400];
  for (int i = 0; i < 400; i++) c[i] = (iso_store_sample){.step = i, .train_loss = i};
  assert_int_equal(iso_store_curve_add(s, id, c, 400, &e), ISO_OK);
  iso_store_close(s);  // the last to close folds the WAL in
  assert_int_equal(iso_file_get(f->path, 1 << 24, &good, &n, &e), ISO_OK);
  expect_kept(f, "this is not a database, but it is long enough to be looked at by anyone who opens it\n", 85, ISO_EFORMAT);
  expect_kept(f, good, n / 2, ISO_EFORMAT);  // cut off
  char *bad = malloc(n);
  memcpy(bad, good, n);
  memset(bad + n / 2, 0x5a, 5000);  // a page overwritten
  expect_kept(f, bad, n, ISO_EFORMAT);
  free(bad);
  free(good);
  sql(f, "PRAGMA journal_mode=DELETE; CREATE TABLE theirs (x); PRAGMA user_version=1");
  char *theirs;
  assert_int_equal(iso_file_get(f->path, 1 << 24, &theirs, &n, &e), ISO_OK);
  expect_kept(f, theirs, n, ISO_EFORMAT);
  free(theirs);
  assert_int_equal(iso_store_open(f->c, f->dir, &s, &e), ISO_EIO);
  assert_int_equal(iso_store_open(f->c, "/nonexistent/dir/runs.db", &s, &e), ISO_EIO);
  FILE *empty = fopen(f->path, "w");
  fclose(empty);
  iso_store_close(opened(f));  // an empty file becomes a store
}

typedef struct writer {
  fixture *f;
  iso_store *s;
  char id[ISO_RUN_ID];
  int n, bad;
} writer;
static void *add_many(void *arg) {
  writer *w = arg;
  iso_err e;
  for (int i = 0; i < w->n; i++) {
    iso_store_sample c = iso_store_sample_blank();
    c.step = i;
    w->bad += iso_store_curve_add(w->s, w->id, &c, 1, &e) != ISO_OK;
  }
  return NULL;
}

// Two threads on one handle and one on its own, as another process would have.
static void writers_at_once(void **state) {
  fixture *f = *state;
  iso_store *s = opened(f), *other = opened(f);
  writer w[3];
  pthread_t t[3];
  for (int i = 0; i < 3; i++) {
    w[i] = (writer){.f = f, .s = i < 2 ? s : other, .n = 50};
    begin(s, "train", NULL, w[i].id);
    assert_int_equal(pthread_create(&t[i], NULL, add_many, &w[i]), 0);
  }
  for (int i = 0; i < 3; i++) {
    pthread_join(t[i], NULL);
    assert_int_equal(w[i].bad, 0);
  }
  assert_true(sql_num(f, "SELECT count(*) FROM curve") == 150);
  iso_store_close(s);
  iso_store_close(other);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(runs, setup, teardown),
      cmocka_unit_test_setup_teardown(rows_come_back, setup, teardown),
      cmocka_unit_test_setup_teardown(batches_are_whole, setup, teardown),
      cmocka_unit_test_setup_teardown(json, setup, teardown),
      cmocka_unit_test_setup_teardown(notices_the_killed, setup, teardown),
      cmocka_unit_test_setup_teardown(versions, setup, teardown),
      cmocka_unit_test_setup_teardown(damaged_files_are_kept, setup, teardown),
      cmocka_unit_test_setup_teardown(writers_at_once, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
