// Reads powercap's RAPL domains and adds up their wraps.
#include "cost/rapl.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_line(const char *dir, const char *file, char *buf, size_t n) {
  char path[160];
  (void)snprintf(path, sizeof path, "%s/%s", dir, file);
  FILE *f = fopen(path, "re");
  if (!f) return false;
  bool ok = fgets(buf, (int)n, f) != NULL;
  fclose(f);
  if (ok) buf[strcspn(buf, "\n")] = 0;
  return ok;
}

static double read_num(const char *dir, const char *file) {
  char buf[64], *end;
  if (!read_line(dir, file, buf, sizeof buf)) return NAN;
  double v = strtod(buf, &end);
  return end == buf ? NAN : v;
}

// Packages ("package-0") and the DRAM beside them; core and uncore are parts of a package, psys overlaps it.
static bool wanted(const char *domain) { return strncmp(domain, "package", 7) == 0 || strcmp(domain, "dram") == 0; }

bool iso_rapl_start(const char *root, iso_rapl *r) {
  *r = (iso_rapl){0};
  if (!root) root = "/sys/class/powercap";
  DIR *d = opendir(root);
  if (!d) return false;
  for (struct dirent *e; (e = readdir(d)) && r->n < ISO_RAPL_MAX;) {
    char name[64], *dir = r->dir[r->n];
    if (strncmp(e->d_name, "intel-rapl:", 11) != 0) continue;  // the name on AMD too; intel-rapl-mmio repeats the same counters
    int k = snprintf(dir, sizeof r->dir[0], "%s/%s", root, e->d_name);
    if (k < 0 || (size_t)k >= sizeof r->dir[0] || !read_line(dir, "name", name, sizeof name) || !wanted(name)) continue;
    double uj = read_num(dir, "energy_uj");
    if (isnan(uj)) continue;
    r->last_uj[r->n] = uj;
    r->range_uj[r->n] = read_num(dir, "max_energy_range_uj");
    r->n++;
  }
  closedir(d);
  return r->n > 0;
}

double iso_rapl_read_j(iso_rapl *r) {
  if (r->n == 0) return NAN;
  for (int i = 0; i < r->n; i++) {
    double uj = read_num(r->dir[i], "energy_uj"), step = uj - r->last_uj[i];
    if (step < 0) step += r->range_uj[i];
    r->sum_j += 1e-6 * step;  // NaN stays NaN
    r->last_uj[i] = uj;
  }
  return r->sum_j;
}
