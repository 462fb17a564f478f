// Reads the clocks, counters and /proc files behind a meter.
#include "cost/meter.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PERF_MAX = 512 };

static double cpu_s(void) {
  struct timespec t;
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) != 0) return NAN;
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double iso_meter_rss_b(void) {
  char buf[4096];
  int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NAN;
  ssize_t n = read(fd, buf, sizeof buf - 1);
  close(fd);
  if (n <= 0) return NAN;
  buf[n] = 0;
  const char *p = strstr(buf, "\nRssAnon:");
  return p ? strtod(p + 9, NULL) * 1024 : NAN;
}

static int open_counter(pid_t tid) {
  struct perf_event_attr a;
  memset(&a, 0, sizeof a);
  a.size = sizeof a;
  a.type = PERF_TYPE_HARDWARE;
  a.config = PERF_COUNT_HW_INSTRUCTIONS;
  a.exclude_kernel = 1;  // user mode needs no privilege up to perf_event_paranoid 2
  a.exclude_hv = 1;
  a.inherit = 1;  // threads born later
  a.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
  return (int)syscall(SYS_perf_event_open, &a, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static void close_counters(iso_meter *m) {
  for (int i = 0; i < m->perf_n; i++) close(m->perf_fd[i]);
  free(m->perf_fd);
  m->perf_fd = NULL;
  m->perf_n = 0;
}

// One counter per thread; none at all when one is refused, so that a partial count is never shown.
static void open_counters(iso_meter *m) {
  m->perf_fd = NULL;
  m->perf_n = 0;
  DIR *d = opendir("/proc/self/task");
  int *fd = d ? malloc(PERF_MAX * sizeof *fd) : NULL;
  if (!fd) {
    if (d) closedir(d);
    return;
  }
  m->perf_fd = fd;
  bool ok = true;
  for (struct dirent *e; ok && (e = readdir(d));) {
    if (e->d_name[0] == '.') continue;
    int k = m->perf_n < PERF_MAX ? open_counter((pid_t)strtol(e->d_name, NULL, 10)) : -1;
    ok = k >= 0;
    if (ok) fd[m->perf_n++] = k;
  }
  closedir(d);
  if (!ok) close_counters(m);
}

static double read_counters(const iso_meter *m) {
  double sum = m->perf_n > 0 ? 0 : NAN;
  for (int i = 0; i < m->perf_n; i++) {
    uint64_t v[3];  // count, ns enabled, ns running: scaled when counters were shared
    if (read(m->perf_fd[i], v, sizeof v) != (ssize_t)sizeof v) return NAN;
    if (v[2] > 0)
      sum += (double)v[0] * ((double)v[1] / (double)v[2]);
    else if (v[1] > 0)
      return NAN;
  }
  return sum;
}

void iso_meter_start(const iso_ctx *c, const iso_hw *hw, iso_meter *m) {
  memset(m, 0, sizeof *m);
  m->c = c;
  m->hw = hw;
  m->counted = iso_cost_zero();
  m->peak_ram_b = iso_meter_rss_b();
  if (iso_rapl_start(NULL, &m->rapl))
    (void)snprintf(m->energy_source, sizeof m->energy_source, "rapl");
  else
    (void)snprintf(m->energy_source, sizeof m->energy_source, "%s", hw && hw->energy_source[0] ? hw->energy_source : "unknown");
  open_counters(m);
  m->start_cpu_s = cpu_s();
  m->start_s = iso_now_s(c);
}

void iso_meter_sample(iso_meter *m) {
  double now = iso_meter_rss_b();
  if (!(now <= m->peak_ram_b)) m->peak_ram_b = now;  // NaN shows
  if (m->rapl.n > 0) (void)iso_rapl_read_j(&m->rapl);
}

void iso_meter_count(iso_meter *m, iso_res r, double amount) {
  iso_est *e = iso_cost_at(&m->counted, r), add = iso_est_exact(amount);
  *e = iso_res_get(r)->kind == ISO_KIND_CAPACITY ? iso_est_max(*e, add) : iso_est_add(*e, add);
}

double iso_meter_wall_s(const iso_meter *m) { return iso_now_s(m->c) - m->start_s; }

void iso_meter_stop(iso_meter *m, iso_cost *out) {
  double wall = iso_meter_wall_s(m), cpu = cpu_s() - m->start_cpu_s;
  iso_meter_sample(m);
  *out = m->counted;
  out->wall = iso_est_exact(wall);
  out->cpu = iso_est_exact(cpu);
  out->instr = iso_est_exact(read_counters(m));
  out->peak_ram = iso_est_exact(m->peak_ram_b);
  out->energy = iso_est_exact(m->rapl.n > 0 ? m->rapl.sum_j : m->hw ? iso_hw_energy_j(m->hw, wall, cpu) : NAN);
  out->co2 = out->usd = iso_est_unknown();
  close_counters(m);
}
