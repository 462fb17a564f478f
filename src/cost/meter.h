// Measuring what a piece of work used: wall and CPU seconds, instructions, resident bytes, joules.
#ifndef ISO_COST_METER_H
#define ISO_COST_METER_H
#include "cost/budget.h"
#include "cost/hw.h"
#include "cost/rapl.h"

typedef struct iso_meter {
  const iso_ctx *c;  // borrowed
  const iso_hw *hw;  // borrowed; may be NULL
  double start_s, start_cpu_s;
  double peak_ram_b;  // highest sample so far
  iso_rapl rapl;
  int *perf_fd;  // owned; one counter per thread that existed at the start
  int perf_n;
  iso_cost counted;        // what callers added
  char energy_source[64];  // "rapl", "model:<hw name>" or "unknown"
} iso_meter;

// Starts measuring the whole process. Never fails: what cannot be read is unknown. `hw` feeds the energy model; NULL: energy is known
// from RAPL only. Every start is followed by one stop. Meters may overlap; one meter belongs to one thread.
void iso_meter_start(const iso_ctx *c, const iso_hw *hw, iso_meter *m);
// Tracks the peak of anonymous resident bytes (and RAPL wrap-around, some minutes at full load); some 50 us: call it every step or so.
void iso_meter_sample(iso_meter *m);
// Adds what only the caller knows: train_flop, infer_flop, moved, tok, disk (capacities: keeps the maximum).
void iso_meter_count(iso_meter *m, iso_res r, double amount);
// Seconds since the start on the context's clock.
double iso_meter_wall_s(const iso_meter *m);
// Stops and writes the cost. Resources that nobody counted or measured: FLOPs, moved, tok and disk are 0, instr and energy NaN;
// co2 and usd are NaN until iso_price_apply.
void iso_meter_stop(iso_meter *m, iso_cost *out);
// Anonymous resident bytes of this process now (RssAnon of /proc/self/status), NaN when unreadable.
double iso_meter_rss_b(void);
#endif
