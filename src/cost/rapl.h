// Energy counters of the CPU package through Linux powercap, where readable.
#ifndef ISO_COST_RAPL_H
#define ISO_COST_RAPL_H
#include "base/status.h"

enum { ISO_RAPL_MAX = 16 };
// Domains of all packages and their DRAM, each with its last reading; plain storage.
typedef struct iso_rapl {
  int n;
  char dir[ISO_RAPL_MAX][96];
  double last_uj[ISO_RAPL_MAX], range_uj[ISO_RAPL_MAX];
  double sum_j;  // since iso_rapl_start, wraps added
} iso_rapl;

// Finds domains under `root` (NULL: /sys/class/powercap) and takes the first reading; false (and n = 0) when none can be read.
// The counters cover the whole package, other processes included.
bool iso_rapl_start(const char *root, iso_rapl *r);
// Joules since the start, NaN when a counter became unreadable. Must be called more often than a counter wraps.
double iso_rapl_read_j(iso_rapl *r);
#endif
