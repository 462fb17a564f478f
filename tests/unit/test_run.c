// Reserve and settle: scripted clock, invariants under eight threads, and journals cut at every byte against independent sums.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>  // needs the ones above
// clang-format on
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "cost/run.h"

// A context whose clock, writes and syncs the test scripts.
typedef struct script {
  iso_ctx *c;
  double now_s;
  int64_t room;  // bytes that still fit on the disk
  int syncs;
  char dir[64], path[96];
} script;

static double scripted_now(void *self) { return ((script *)self)->now_s; }
static ssize_t scripted_write(void *self, int fd, const void *buf, size_t n) {
  script *s = self;
  if (s->room <= 0) {
    errno = ENOSPC;
    return -1;
  }
  size_t k = (int64_t)n < s->room ? n : (size_t)s->room;
  s->room -= (int64_t)k;
  return write(fd, buf, k);
}
static int scripted_fsync(void *self, int fd) {
  (void)fd;
  ((script *)self)->syncs++;
  return 0;
}

static int setup(void **state) {
  script *s = calloc(1, sizeof *s);
  iso_err e;
  assert_int_equal(iso_ctx_open(1, &s->c, &e), ISO_OK);
  s->c->clock = (iso_clock){scripted_now, s};
  s->c->io.write = scripted_write;
  s->c->io.fsync = scripted_fsync;
  s->c->io.self = s;
  s->c->start_s = s->now_s = 1000;
  s->room = INT64_MAX;
  snprintf(s->dir, sizeof s->dir, "/tmp/iso_test_run.XXXXXX");
  assert_non_null(mkdtemp(s->dir));
  snprintf(s->path, sizeof s->path, "%s/journal.jsonl", s->dir);
  *state = s;
  return 0;
}
static int teardown(void **state) {
  script *s = *state;
  iso_ctx_close(s->c);
  unlink(s->path);
  rmdir(s->dir);
  free(s);
  return 0;
}

static iso_cost wall_ram(double s, double b) {
  iso_cost c = iso_cost_zero();
  c.wall = iso_est_exact(s);
  c.peak_ram = iso_est_exact(b);
  return c;
}
static iso_budget limits(double wall, double ram) {
  iso_budget b = iso_budget_none();
  b.wall = wall;
  b.peak_ram = ram;
  return b;
}

// A morning's work by hand.
static void serial(void **state) {
  script *s = *state;
  iso_budget b = limits(100, 500), left;
  iso_run *run;
  iso_hold *h1, *h2, *h3;
  iso_err e;
  iso_cost c = wall_ram(0, 400), got;
  assert_int_equal(iso_run_open(s->c, &b, NULL, ISO_RUN_SERIAL, NULL, &run, &e), ISO_OK);
  c.wall = iso_est_range(20, 30, 40);
  assert_int_equal(iso_run_reserve(run, "sweep", &c, &h1, &e), ISO_OK);
  left = iso_run_left(run);
  assert_true(left.wall == 60 && left.peak_ram == 500 && isinf(left.energy));
  c = wall_ram(60, 500);
  assert_int_equal(iso_run_reserve(run, "train", &c, &h2, &e), ISO_OK);  // exactly what is left
  c = wall_ram(1, 1);
  assert_int_equal(iso_run_reserve(run, "eval", &c, &h3, &e), ISO_EBUDGET);
  assert_null(h3);
  assert_non_null(strstr(e.msg, "wall"));
  assert_non_null(strstr(e.hint, "wall=101s"));
  c = wall_ram(0, 501);
  assert_int_equal(iso_run_reserve(run, "too big", &c, &h3, &e), ISO_EBUDGET);
  assert_non_null(strstr(e.msg, "peak_ram"));
  got = iso_run_reserved(run);
  assert_true(got.wall.lo == 80 && got.wall.mean == 90 && got.wall.hi == 100 && got.peak_ram.hi == 500);
  c = wall_ram(25, 420);
  assert_int_equal(iso_run_settle(h1, &c, &e), ISO_OK);  // 15 come back
  left = iso_run_left(run);
  assert_true(left.wall == 15);
  c = wall_ram(15, 1);
  assert_int_equal(iso_run_reserve(run, "eval", &c, &h3, &e), ISO_OK);
  iso_run_release(h3);
  c = wall_ram(70, 300);  // a stall: ten over the reservation
  assert_int_equal(iso_run_settle(h2, &c, &e), ISO_OK);
  got = iso_run_spent(run);
  assert_true(got.wall.hi == 95 && got.peak_ram.hi == 420);
  assert_false(iso_run_overrun(run, NULL));
  c = wall_ram(6, 0);
  assert_int_equal(iso_run_charge(run, "overhead", &c, &e), ISO_OK);
  iso_res r;
  assert_true(iso_run_overrun(run, &r));
  assert_int_equal(r, ISO_RES_wall);
  left = iso_run_left(run);
  assert_true(left.wall == 0);
  iso_run_row *rows;
  int64_t n;
  assert_int_equal(iso_run_rows(run, &rows, &n, &e), ISO_OK);
  assert_int_equal(n, 4);
  assert_string_equal(rows[0].label, "sweep");
  assert_true(rows[0].state == ISO_ROW_SETTLED && rows[0].predicted.wall.mean == 30 && rows[0].measured.wall.mean == 25);
  assert_true(rows[2].state == ISO_ROW_RELEASED && isnan(rows[2].measured.wall.mean) && rows[3].state == ISO_ROW_CHARGED);
  free(rows);
  iso_run_close(run);
}

static void unknowns(void **state) {
  script *s = *state;
  iso_budget b = limits(100, INFINITY);
  iso_run *run;
  iso_hold *h;
  iso_err e;
  iso_cost c = iso_cost_unknown();
  assert_int_equal(iso_run_open(s->c, &b, NULL, ISO_RUN_SERIAL, NULL, &run, &e), ISO_OK);
  assert_int_equal(iso_run_reserve(run, "who knows", &c, &h, &e), ISO_EBUDGET);
  assert_non_null(strstr(e.msg, "unknown"));
  c.wall = iso_est_range(10, 20, 30);
  assert_int_equal(iso_run_reserve(run, "energy is not limited", &c, &h, &e), ISO_OK);
  iso_cost blind = iso_cost_unknown();
  assert_int_equal(iso_run_settle(h, &blind, &e), ISO_OK);  // no meter: the high estimate is booked
  assert_true(iso_run_spent(run).wall.mean == 30);
  iso_run_row *rows;
  int64_t n;
  assert_int_equal(iso_run_rows(run, &rows, &n, &e), ISO_OK);
  assert_true(n == 1 && isnan(rows[0].measured.wall.mean));
  free(rows);
  c.wall = iso_est_range(-1, 2, 3);
  assert_int_equal(iso_run_reserve(run, "negative", &c, &h, &e), ISO_EINVAL);
  iso_run_close(run);
}

static void children(void **state) {
  script *s = *state;
  iso_budget b = limits(100, 500), share = limits(50, INFINITY), none = iso_budget_none();
  iso_run *root, *sweep, *trial;
  iso_hold *h, *no;
  iso_err e;
  iso_cost c = wall_ram(45, 300);
  assert_int_equal(iso_run_open(s->c, &b, NULL, ISO_RUN_SERIAL, NULL, &root, &e), ISO_OK);
  assert_int_equal(iso_run_open(s->c, &share, root, ISO_RUN_SERIAL, NULL, &sweep, &e), ISO_OK);
  assert_int_equal(iso_run_open(s->c, &none, sweep, ISO_RUN_SERIAL, NULL, &trial, &e), ISO_OK);
  assert_int_equal(iso_run_reserve(trial, "t1", &c, &h, &e), ISO_OK);
  assert_true(iso_run_reserved(root).wall.hi == 45 && iso_run_left(root).wall == 55 && iso_run_left(trial).wall == 5);
  c = wall_ram(6, 0);
  assert_int_equal(iso_run_reserve(trial, "t2", &c, &no, &e), ISO_EBUDGET);  // the sweep's share binds
  assert_int_equal(iso_run_reserve(root, "fits above", &c, &no, &e), ISO_OK);
  iso_run_release(no);
  c = wall_ram(1, 501);
  assert_int_equal(iso_run_reserve(trial, "t3", &c, &no, &e), ISO_EBUDGET);  // the root's memory binds
  c = wall_ram(20, 350);
  assert_int_equal(iso_run_settle(h, &c, &e), ISO_OK);
  iso_run_close(trial);
  assert_true(iso_run_spent(sweep).wall.mean == 20 && iso_run_spent(root).wall.mean == 20 && iso_run_spent(root).peak_ram.mean == 350);
  iso_run_row *rows;
  int64_t n;
  assert_int_equal(iso_run_rows(root, &rows, &n, &e), ISO_OK);
  assert_int_equal(n, 2);
  free(rows);
  assert_int_equal(iso_run_rows(sweep, &rows, &n, &e), ISO_OK);
  assert_int_equal(n, 1);  // the closed trial's
  free(rows);
  assert_int_equal(iso_run_open(s->c, &none, sweep, ISO_RUN_SERIAL, "/tmp/x", &trial, &e), ISO_EINVAL);
  iso_run_close(root);  // before its child
  c = wall_ram(30, 0);
  assert_int_equal(iso_run_reserve(sweep, "t4", &c, &h, &e), ISO_OK);
  c = wall_ram(31, 0);
  assert_int_equal(iso_run_reserve(sweep, "t5", &c, &no, &e), ISO_EBUDGET);
  iso_run_close(sweep);
}

// A server: requests overlap in time and hold memory together.
static void side_by_side(void **state) {
  script *s = *state;
  iso_budget b = limits(100, 500), none = iso_budget_none();
  iso_run *root, *req;
  iso_hold *h[3], *no;
  iso_err e;
  iso_cost c = wall_ram(40, 200);
  assert_int_equal(iso_run_open(s->c, &b, NULL, ISO_RUN_PARALLEL, NULL, &root, &e), ISO_OK);
  assert_int_equal(iso_run_reserve(root, "a", &c, &h[0], &e), ISO_OK);
  assert_int_equal(iso_run_reserve(root, "b", &c, &h[1], &e), ISO_OK);
  assert_true(iso_run_reserved(root).wall.hi == 40 && iso_run_reserved(root).peak_ram.hi == 400);
  assert_true(iso_run_left(root).wall == 100 && iso_run_left(root).peak_ram == 100);
  assert_int_equal(iso_run_reserve(root, "c", &c, &no, &e), ISO_EBUDGET);
  assert_non_null(strstr(e.msg, "peak_ram"));
  s->now_s += 30;
  iso_cost m = wall_ram(30, 150);
  assert_int_equal(iso_run_settle(h[0], &m, &e), ISO_OK);
  assert_true(iso_run_spent(root).wall.mean == 30 && iso_run_left(root).peak_ram == 300);
  s->now_s += 31;  // 61 s in: 40 more do not fit, 39 do
  assert_int_equal(iso_run_open(s->c, &none, root, ISO_RUN_SERIAL, NULL, &req, &e), ISO_OK);
  assert_int_equal(iso_run_reserve(req, "c", &c, &no, &e), ISO_EBUDGET);
  assert_non_null(strstr(e.msg, "wall"));
  assert_true(iso_run_left(req).wall == 39 && iso_run_left(req).peak_ram == 300);
  c = wall_ram(39, 300);
  assert_int_equal(iso_run_reserve(req, "c", &c, &h[2], &e), ISO_OK);
  assert_true(iso_run_reserved(root).peak_ram.hi == 500);
  s->now_s += 39;
  m = wall_ram(39, 300);
  assert_int_equal(iso_run_settle(h[2], &m, &e), ISO_OK);
  assert_int_equal(iso_run_settle(h[1], &m, &e), ISO_OK);
  iso_run_close(req);
  assert_true(iso_run_spent(root).wall.mean == 100 && !iso_run_overrun(root, NULL));
  iso_run_close(root);
}

static void counts_from_process_start(void **state) {
  script *s = *state;
  iso_budget b = limits(100, INFINITY);
  iso_run *run;
  iso_hold *h;
  iso_err e;
  s->now_s += 7;  // reading flags, loading libraries
  assert_int_equal(iso_run_open(s->c, &b, NULL, ISO_RUN_SERIAL, NULL, &run, &e), ISO_OK);
  assert_int_equal(iso_run_true_up(run, "start", &e), ISO_OK);
  assert_true(iso_run_spent(run).wall.mean == 7);
  iso_cost c = wall_ram(50, 0);
  assert_int_equal(iso_run_reserve(run, "work", &c, &h, &e), ISO_OK);
  s->now_s += 20;
  c = wall_ram(20, 0);
  assert_int_equal(iso_run_settle(h, &c, &e), ISO_OK);
  s->now_s += 3;
  assert_int_equal(iso_run_true_up(run, "between", &e), ISO_OK);
  assert_int_equal(iso_run_true_up(run, "nothing new", &e), ISO_OK);
  assert_true(iso_run_spent(run).wall.mean == 30 && iso_run_left(run).wall == 70);
  iso_run_close(run);
}

// --- threads ---

enum { THREADS = 8, ROUNDS = 400 };
typedef struct worker {
  iso_run *root, *own;
  int id;
  double cpu, over;
  int refused, settled;
} worker;

static void *work(void *arg) {
  worker *w = arg;
  iso_hold *open[4] = {NULL};
  double mean[4];
  for (uint64_t i = 0; i < ROUNDS; i++) {
    uint64_t seed = 100 + (uint64_t)w->id;
    int k = (int)iso_rng_below(seed, ISO_RNG_TEST, i, 0, 4);
    iso_err e;
    if (!open[k]) {
      iso_cost c = iso_cost_zero();
      mean[k] = (double)(1 + iso_rng_below(seed, ISO_RNG_TEST, i, 1, 20));
      c.cpu = iso_est_range(mean[k] - 1, mean[k], mean[k] + 5);  // whole numbers: sums are exact
      c.peak_ram = iso_est_exact((double)(1 + iso_rng_below(seed, ISO_RNG_TEST, i, 2, 50)));
      iso_status st = iso_run_reserve(i & 1 ? w->root : w->own, "job", &c, &open[k], &e);
      if (st != ISO_OK) w->refused++;
    } else if (iso_rng_below(seed, ISO_RNG_TEST, i, 3, 3) == 0) {
      iso_run_release(open[k]);
      open[k] = NULL;
    } else {
      iso_cost m = iso_cost_zero();
      m.cpu = iso_est_exact(mean[k] + (double)iso_rng_below(seed, ISO_RNG_TEST, i, 4, 6) - 1);  // never above the high estimate
      assert_int_equal(iso_run_settle(open[k], &m, &e), ISO_OK);
      w->cpu += m.cpu.mean;
      w->settled++;
      open[k] = NULL;
    }
    iso_cost held = iso_run_reserved(w->root);
    if (held.peak_ram.hi > 300) w->over++;
    if (iso_run_spent(w->root).cpu.hi > 20000) w->over++;
  }
  for (int k = 0; k < 4; k++) iso_run_release(open[k]);
  iso_run_close(w->own);
  return NULL;
}

static void threads(void **state) {
  script *s = *state;
  iso_budget b = iso_budget_none(), none = b;
  b.cpu = 8000;
  b.peak_ram = 300;
  iso_run *root;
  iso_err e;
  worker w[THREADS];
  pthread_t t[THREADS];
  assert_int_equal(iso_run_open(s->c, &b, NULL, ISO_RUN_PARALLEL, NULL, &root, &e), ISO_OK);
  for (int i = 0; i < THREADS; i++) {
    w[i] = (worker){.root = root, .id = i};
    assert_int_equal(iso_run_open(s->c, &none, root, ISO_RUN_PARALLEL, NULL, &w[i].own, &e), ISO_OK);
  }
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
  double cpu = 0;
  int refused = 0, settled = 0;
  for (int i = 0; i < THREADS; i++) {
    pthread_join(t[i], NULL);
    assert_true(w[i].over == 0);
    cpu += w[i].cpu;
    refused += w[i].refused;
    settled += w[i].settled;
  }
  iso_cost spent = iso_run_spent(root), held = iso_run_reserved(root);
  assert_true(spent.cpu.mean == cpu && spent.cpu.hi <= 8000);
  assert_true(held.cpu.hi == 0 && held.peak_ram.hi == 0 && iso_run_left(root).peak_ram == 300 && iso_run_left(root).cpu == 8000 - cpu);
  assert_true(refused > 10 && settled > 100);
  iso_run_close(root);
}

// --- journal ---

// What the oracle remembers of each piece of work: no trees, just lists.
typedef struct item {
  bool open, gone, noted, parallel;
  double est_mean, note, cpu;  // cpu: settled
  double ram;
  double wall_est, wall, t_s, wall_note;
} item;
typedef struct oracle {
  item it[64];
  int n;
  bool kid;  // the parallel child was opened
  double kid_open, kid_last;
} oracle;

static iso_cost expect(const oracle *o, int64_t *open) {
  iso_cost c = iso_cost_zero();
  double cpu = 0, ram = 0, wall = 0, last = o->kid_last;
  *open = 0;
  for (int i = 0; i < o->n; i++) {
    const item *x = &o->it[i];
    if (x->gone) continue;
    if (x->open) ++*open;
    double used = x->open ? (x->noted ? x->note : x->est_mean) : x->cpu, w = x->open ? (x->noted ? x->wall_note : x->wall_est) : x->wall;
    cpu += used;
    if (x->ram > ram) ram = x->ram;
    if (!x->parallel)
      wall += w;
    else if (x->open && x->t_s + w > last)
      last = x->t_s + w;
  }
  if (o->kid) wall += last - o->kid_open;
  c.cpu = iso_est_exact(cpu);
  c.peak_ram = iso_est_exact(ram);
  c.wall = iso_est_exact(wall);
  return c;
}

static void same(iso_cost a, iso_cost b) {
  assert_true(a.cpu.mean == b.cpu.mean && a.cpu.hi == b.cpu.hi);
  assert_true(a.wall.mean == b.wall.mean && a.peak_ram.mean == b.peak_ram.mean);
}

enum { OPS = 28 };
static oracle after[OPS + 8];  // after so many lines
static int lines;

static void random_work(script *s, iso_run *root, iso_run *kid, oracle *o) {
  iso_hold *h[64] = {NULL};
  iso_err e;
  for (uint64_t i = 0; i < OPS; i++) {
    int64_t op = iso_rng_below(9, ISO_RNG_TEST, i, 0, 6), k = o->n ? iso_rng_below(9, ISO_RNG_TEST, i, 1, o->n) : 0;
    double v = (double)(4 + iso_rng_below(9, ISO_RNG_TEST, i, 2, 20));
    s->now_s += (double)iso_rng_below(9, ISO_RNG_TEST, i, 3, 5);
    item *x = &o->it[k];
    iso_cost c = iso_cost_zero();
    c.instr = iso_est_unknown();
    c.cpu = iso_est_range(v - 2, v, v + 3);
    c.wall = iso_est_range(v / 4, v / 2, v);
    c.peak_ram = iso_est_exact(10 * v);
    if (op <= 2 || !x->open) {
      x = &o->it[o->n];
      *x = (item){.open = true, .est_mean = v, .wall_est = v / 2, .ram = 10 * v, .parallel = i & 1, .t_s = s->now_s};
      assert_int_equal(iso_run_reserve(i & 1 ? kid : root, "a \"label\"\n", &c, &h[o->n++], &e), ISO_OK);
    } else if (op == 3) {
      iso_run_release(h[k]);
      x->gone = true;
      x->open = false;
    } else if (op == 4) {
      c.cpu = iso_est_exact(v / 2);
      c.wall = iso_est_exact(1);
      x->noted = true;
      x->note = v / 2;
      x->wall_note = 1;
      x->ram = 10 * v;
      assert_int_equal(iso_run_progress(h[k], &c, &e), ISO_OK);
    } else {
      c.cpu = iso_est_exact(v);
      c.wall = iso_est_exact(v);
      int before = s->syncs;
      assert_int_equal(iso_run_settle(h[k], &c, &e), ISO_OK);
      assert_true(s->syncs > before);
      x->open = false;
      x->cpu = x->wall = v;
      x->ram = 10 * v;
      if (x->parallel && s->now_s > o->kid_last) o->kid_last = s->now_s;
    }
    after[++lines] = *o;
  }
}

static void put(const char *path, const char *text, size_t n) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(text, 1, n, f), n);
  fclose(f);
}

static void cut_at_every_byte(void **state) {
  script *s = *state;
  iso_budget none = iso_budget_none();
  iso_run *root, *kid, *none_open;
  iso_err e;
  oracle o = {0};
  lines = 0;
  after[0] = o;
  assert_int_equal(iso_run_open(s->c, &none, NULL, ISO_RUN_SERIAL, s->path, &root, &e), ISO_OK);
  after[++lines] = o;
  s->now_s += 3;
  assert_int_equal(iso_run_open(s->c, &none, root, ISO_RUN_PARALLEL, NULL, &kid, &e), ISO_OK);
  o.kid = true;
  o.kid_open = o.kid_last = s->now_s;
  after[++lines] = o;
  random_work(s, root, kid, &o);
  char *text;
  size_t n;
  assert_int_equal(iso_file_get(s->path, 1 << 20, &text, &n, &e), ISO_OK);
  char cut[128];
  snprintf(cut, sizeof cut, "%s/cut", s->dir);
  int whole = 0;
  for (size_t k = 0; k <= n; k++) {
    if (k > 0 && text[k - 1] == '\n') whole++;
    put(cut, text, k);
    iso_cost got;
    int64_t open, want_open;
    assert_int_equal(iso_run_recover(cut, &got, &open, &e), ISO_OK);
    same(got, expect(&after[whole], &want_open));
    assert_int_equal(open, want_open);
  }
  assert_int_equal(whole, lines);
  // Going on after a kill at some places: the same sums are booked, the torn line is gone, and the new life adds to them.
  for (size_t k = 0; k <= n; k += 37) {
    put(cut, text, k);
    iso_cost was, more = wall_ram(5, 1), got;
    int64_t open;
    iso_run *next;
    assert_int_equal(iso_run_recover(cut, &was, &open, &e), ISO_OK);
    s->now_s = 5;  // another boot: the clock starts over, idle time is not counted
    assert_int_equal(iso_run_open(s->c, &none, NULL, ISO_RUN_SERIAL, cut, &next, &e), ISO_OK);
    same(iso_run_spent(next), was);
    assert_int_equal(iso_run_charge(next, "on", &more, &e), ISO_OK);
    iso_cost now = iso_run_spent(next);
    iso_run_close(next);
    assert_int_equal(iso_run_recover(cut, &got, &open, &e), ISO_OK);
    same(got, now);
    assert_true(got.wall.mean == was.wall.mean + 5 && open >= 0);
  }
  // Damage in the middle is not passed over.
  char *mid = memchr(text, '{', n);
  assert_non_null(mid);
  *mid = '?';
  put(cut, text, n);
  iso_cost got;
  int64_t open;
  assert_int_equal(iso_run_recover(cut, &got, &open, &e), ISO_EFORMAT);
  assert_non_null(strstr(e.msg, "line 1"));
  assert_int_equal(iso_run_open(s->c, &none, NULL, ISO_RUN_SERIAL, cut, &none_open, &e), ISO_EFORMAT);
  struct stat info;
  assert_int_equal(stat(cut, &info), 0);
  assert_int_equal((size_t)info.st_size, n);  // kept as it is
  unlink(cut);
  free(text);
  iso_run_close(kid);
  iso_run_close(root);
}

static void clean_end_drops_open_holds(void **state) {
  script *s = *state;
  iso_budget none = iso_budget_none();
  iso_run *root, *other;
  iso_hold *h;
  iso_err e;
  iso_cost c = wall_ram(9, 5), got;
  int64_t open;
  assert_int_equal(iso_run_open(s->c, &none, NULL, ISO_RUN_SERIAL, s->path, &root, &e), ISO_OK);
  assert_int_equal(iso_run_reserve(root, "never run", &c, &h, &e), ISO_OK);
  assert_int_equal(iso_run_recover(s->path, &got, &open, &e), ISO_OK);
  assert_true(open == 1 && got.wall.mean == 9);
  assert_int_equal(iso_run_open(s->c, &none, NULL, ISO_RUN_SERIAL, s->path, &other, &e), ISO_EIO);  // two processes on one journal
  assert_non_null(strstr(e.msg, "another process"));
  iso_run_close(root);
  assert_int_equal(iso_run_recover(s->path, &got, &open, &e), ISO_OK);
  assert_true(open == 0 && got.wall.mean == 0);
  assert_int_equal(iso_run_recover("/nonexistent/journal", &got, &open, &e), ISO_OK);
  assert_true(got.wall.mean == 0);
}

// A torn tail longer than what the next life writes must not stay behind it.
static void long_torn_tail(void **state) {
  script *s = *state;
  iso_budget none = iso_budget_none();
  iso_run *run;
  iso_err e;
  iso_cost m = wall_ram(4, 5), got;
  int64_t open;
  char tail[3000];
  memset(tail, 'x', sizeof tail);
  put(s->path, tail, sizeof tail);
  assert_int_equal(iso_run_open(s->c, &none, NULL, ISO_RUN_SERIAL, s->path, &run, &e), ISO_OK);
  assert_int_equal(iso_run_charge(run, "c", &m, &e), ISO_OK);
  iso_run_close(run);
  char *text;
  size_t n;
  assert_int_equal(iso_file_get(s->path, 1 << 20, &text, &n, &e), ISO_OK);
  assert_true(n > 0 && text[n - 1] == '\n' && !memchr(text, 'x', n));
  free(text);
  assert_int_equal(iso_run_recover(s->path, &got, &open, &e), ISO_OK);
  assert_true(got.wall.mean == 4 && open == 0);
}

static void full_disk(void **state) {
  script *s = *state;
  iso_budget none = iso_budget_none();
  iso_run *run;
  iso_hold *h = NULL, *no;
  iso_err e;
  iso_cost c = wall_ram(9, 5), m = wall_ram(4, 5), got;
  int64_t open;
  assert_int_equal(iso_run_open(s->c, &none, NULL, ISO_RUN_SERIAL, s->path, &run, &e), ISO_OK);
  assert_int_equal(iso_run_reserve(run, "a", &c, &h, &e), ISO_OK);
  s->room = 11;  // the line is torn
  assert_int_equal(iso_run_reserve(run, "b", &c, &no, &e), ISO_EFULL);
  assert_null(no);
  assert_true(iso_run_reserved(run).wall.hi == 9);
  s->room = 3;
  assert_int_equal(iso_run_settle(h, &m, &e), ISO_EFULL);
  assert_true(iso_run_spent(run).wall.mean == 4);  // it happened all the same
  s->room = INT64_MAX;
  assert_int_equal(iso_run_charge(run, "c", &m, &e), ISO_OK);
  assert_int_equal(iso_run_recover(s->path, &got, &open, &e), ISO_OK);  // no torn line in the middle
  assert_true(got.wall.mean == 13 && open == 1);                        // the settlement was lost: its reservation stands at its mean
  iso_run_close(run);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(serial, setup, teardown),
      cmocka_unit_test_setup_teardown(unknowns, setup, teardown),
      cmocka_unit_test_setup_teardown(children, setup, teardown),
      cmocka_unit_test_setup_teardown(side_by_side, setup, teardown),
      cmocka_unit_test_setup_teardown(counts_from_process_start, setup, teardown),
      cmocka_unit_test_setup_teardown(threads, setup, teardown),
      cmocka_unit_test_setup_teardown(cut_at_every_byte, setup, teardown),
      cmocka_unit_test_setup_teardown(clean_end_drops_open_holds, setup, teardown),
      cmocka_unit_test_setup_teardown(long_torn_tail, setup, teardown),
      cmocka_unit_test_setup_teardown(full_disk, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
