// Meters against a scripted clock, getrusage, known allocations, a made-up powercap tree and a loop of known length.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>  // needs the ones above
// clang-format on
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cost/meter.h"

static double scripted_now(void *self) { return *(double *)self; }

static iso_ctx *scripted(double *now) {
  iso_ctx *c;
  iso_err e;
  assert_int_equal(iso_ctx_open(1, &c, &e), ISO_OK);
  c->clock = (iso_clock){scripted_now, now};
  return c;
}

static double rusage_s(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static volatile double sink;
static void spin(int64_t n) {
  double x = 1;
  for (int64_t i = 0; i < n; i++) x = x * 0.999999 + 1e-9;
  sink = x;
}

static void wall_and_counts(void **state) {
  (void)state;
  double now = 50;
  iso_ctx *c = scripted(&now);
  iso_meter m;
  iso_cost got;
  iso_meter_start(c, NULL, &m);
  now = 62.5;
  assert_true(iso_meter_wall_s(&m) == 12.5);
  iso_meter_count(&m, ISO_RES_train_flop, 1e9);
  iso_meter_count(&m, ISO_RES_train_flop, 2e9);
  iso_meter_count(&m, ISO_RES_tok, 64);
  iso_meter_count(&m, ISO_RES_disk, 100);
  iso_meter_count(&m, ISO_RES_disk, 70);
  iso_meter_stop(&m, &got);
  assert_true(got.wall.lo == 12.5 && got.wall.hi == 12.5 && got.train_flop.mean == 3e9 && got.tok.mean == 64 && got.disk.mean == 100);
  assert_true(got.infer_flop.mean == 0 && got.moved.mean == 0 && isnan(got.co2.mean) && isnan(got.usd.mean));
  if (m.rapl.n == 0) {
    assert_true(isnan(got.energy.mean));
    assert_string_equal(m.energy_source, "unknown");
  }
  iso_ctx_close(c);
}

static void cpu_and_instructions(void **state) {
  (void)state;
  enum { LOOPS = 20000000 };
  double now = 0;
  iso_ctx *c = scripted(&now);
  iso_meter m;
  iso_cost got;
  double before = rusage_s();
  iso_meter_start(c, NULL, &m);
  double inside = rusage_s();
  spin(LOOPS);
  double inner = rusage_s() - inside;
  iso_meter_stop(&m, &got);
  double outer = rusage_s() - before;
  assert_true(got.cpu.mean >= inner - 0.02 && got.cpu.mean <= outer + 0.02);  // getrusage rounds to its tick
  if (!isnan(got.instr.mean)) assert_true(got.instr.mean > 2.0 * LOOPS && got.instr.mean < 100.0 * LOOPS);
  iso_ctx_close(c);
}

static void peak_memory(void **state) {
  (void)state;
  enum { BYTES = 96 << 20 };
  double now = 0, base = iso_meter_rss_b();
  iso_ctx *c = scripted(&now);
  iso_meter m;
  iso_cost got;
  if (isnan(base)) skip();
  iso_meter_start(c, NULL, &m);
  char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(p != MAP_FAILED);
  iso_meter_sample(&m);
  assert_true(m.peak_ram_b < base + BYTES / 2);  // reserved, not yet resident
  memset(p, 1, BYTES);
  iso_meter_sample(&m);
  munmap(p, BYTES);
  assert_true(iso_meter_rss_b() < base + BYTES / 2);
  iso_meter_stop(&m, &got);
  assert_true(got.peak_ram.mean >= BYTES && got.peak_ram.mean < base + BYTES + (8 << 20));
  iso_ctx_close(c);
}

static void modelled_energy(void **state) {
  (void)state;
  double now = 0;
  iso_ctx *c = scripted(&now);
  iso_hw hw = iso_hw_blank();
  iso_meter m;
  iso_cost got;
  hw.idle_w = 3;
  hw.core_w = 5;
  snprintf(hw.energy_source, sizeof hw.energy_source, "model:test");
  iso_meter_start(c, &hw, &m);
  if (m.rapl.n > 0) skip();
  now = 100;
  iso_meter_stop(&m, &got);
  assert_true(fabs(got.energy.mean - (300 + 5 * got.cpu.mean)) < 1e-9);
  assert_string_equal(m.energy_source, "model:test");
  assert_true(isnan(iso_hw_energy_j(&(iso_hw){.idle_w = NAN, .core_w = 1}, 1, 1)));
  iso_ctx_close(c);
}

static void put(const char *dir, const char *domain, const char *file, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", dir, domain);
  (void)mkdir(path, 0777);
  snprintf(path, sizeof path, "%s/%s/%s", dir, domain, file);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void rapl_counters(void **state) {
  (void)state;
  static const struct {
    const char *domain, *name, *uj;
  } TREE[] = {{"intel-rapl:0", "package-0\n", "900000000\n"}, {"intel-rapl:0:0", "core\n", "1\n"}, {"intel-rapl:0:1", "dram\n", "5000000\n"},
              {"intel-rapl:1", "package-1\n", "100\n"},       {"intel-rapl:2", "psys\n", "7\n"},   {"dtpm", "package-0\n", "7\n"}};
  char dir[] = "/tmp/iso_test_rapl.XXXXXX", cmd[128];
  iso_rapl r;
  assert_non_null(mkdtemp(dir));
  assert_false(iso_rapl_start(dir, &r));
  assert_true(isnan(iso_rapl_read_j(&r)));
  for (size_t i = 0; i < ISO_COUNT(TREE); i++) {
    put(dir, TREE[i].domain, "name", TREE[i].name);
    put(dir, TREE[i].domain, "energy_uj", TREE[i].uj);
    put(dir, TREE[i].domain, "max_energy_range_uj", "1000000000\n");
  }
  assert_true(iso_rapl_start(dir, &r));
  assert_int_equal(r.n, 3);  // two packages and the DRAM
  assert_true(iso_rapl_read_j(&r) == 0);
  put(dir, "intel-rapl:0", "energy_uj", "50000000\n");   // wrapped: 150 J
  put(dir, "intel-rapl:0:1", "energy_uj", "7000000\n");  // 2 J
  put(dir, "intel-rapl:1", "energy_uj", "3000100\n");    // 3 J
  put(dir, "intel-rapl:2", "energy_uj", "999999\n");
  assert_true(fabs(iso_rapl_read_j(&r) - 155) < 1e-9);
  put(dir, "intel-rapl:0", "energy_uj", "60000000\n");
  assert_true(fabs(iso_rapl_read_j(&r) - 165) < 1e-9);
  snprintf(cmd, sizeof cmd, "%s/intel-rapl:0/energy_uj", dir);
  unlink(cmd);
  assert_true(isnan(iso_rapl_read_j(&r)));
  snprintf(cmd, sizeof cmd, "rm -r %s", dir);
  assert_int_equal(system(cmd), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(wall_and_counts), cmocka_unit_test(cpu_and_instructions), cmocka_unit_test(peak_memory),
                                     cmocka_unit_test(modelled_energy), cmocka_unit_test(rapl_counters)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
