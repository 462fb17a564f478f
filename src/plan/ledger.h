// The bill of a run in dollars, kilowatt-hours and grams of CO2e, part by part, and where one way becomes cheaper than another.
#ifndef ISO_PLAN_LEDGER_H
#define ISO_PLAN_LEDGER_H
#include "base/json.h"

// A run on devices. Powers are at the machine, before the PUE. What is not known is NaN and so is every sum that it is part of.
typedef struct iso_ledger_run {
  double device_h;     // device-hours in use
  double active_w;     // power of a device in use, with what of its share of the host is counted
  double idle_kwh;     // of machines and network that wait while the run holds them, before the PUE
  double pue;          // >= 1
  double g_per_kwh;    // of the grid
  double embodied_g;   // of making a device with its share of the server
  double life_h;       // hours a device lasts
  double used_share;   // of them in use, in (0, 1]
  double rent_usd_h;   // of a device-hour, electricity included
  double capex_usd;    // a device with its share of the server, when bought; of the network too unless network_share says its part
  double usd_per_kwh;  // at the meter
  double staff_usd;    // of the run
  // Amortisation by progress instead of over the life, when progress_oom > 0: prices of the same performance fall by 10^-progress_oom a year,
  // so a device bought age_y years before the run is worth capex 10^(-progress_oom age_y), and progress_oom ln 10 of that value is used up in
  // a year of 365.25 days.
  double progress_oom, age_y;
  double network_share;  // of the cost of a cluster's hardware that is its network, in [0, 1)
  double server_ratio;   // capex over the price of the device alone, to split the bill; NaN: not known
} iso_ledger_run;
// Nothing idle, PUE 1, no staff; embodied 462.5 kg (a server of 2,500 kg over eight devices and 150 kg a device), six years, 85% in use
// (Luccioni et al. 2022, arXiv:2211.02001, section 4.1); prices unknown; amortised over the life, network in the capex.
iso_ledger_run iso_ledger_run_default(void);
// Cottier et al. 2024: prices of performance fall by 0.14 powers of ten a year, 19% of a cluster's hardware is network.
#define ISO_LEDGER_PROGRESS_OOM 0.14
#define ISO_LEDGER_NETWORK_SHARE 0.19

// Cottier et al. 2024 (arXiv:2405.21015): hardware amortised over its life and energy; rent; either with staff.
typedef struct iso_ledger {
  double active_kwh, idle_kwh, overhead_kwh, kwh;          // overhead: what the PUE adds; the parts add up to kwh
  double active_g, idle_g, overhead_g, embodied_g, co2_g;  // in the same order, and of making the devices; they add up to co2_g
  double hardware_usd, energy_usd, own_usd;                // own_usd = hardware + energy
  double device_usd, server_usd, network_usd;              // of hardware_usd; the first two NaN without a server_ratio
  double rent_usd;
  double staff_usd;  // of either way
  double own_total_usd, rent_total_usd;
} iso_ledger;
// ISO_EINVAL names the number that makes no sense.
iso_status iso_ledger_of(const iso_ledger_run *r, iso_ledger *out, iso_err *err);
// {"energy_kwh": {...}, "co2_g": {...}, "usd": {...}}.
json_t *iso_ledger_json(const iso_ledger *l);

// Two ways with a fixed cost and one a unit: the units from which the one that is cheaper at 0 is no longer; NaN when that never comes.
double iso_ledger_crossover(double fixed_a, double per_unit_a, double fixed_b, double per_unit_b);
// Hours of use of one device from which owning it is cheaper than renting: capex / (rent - energy). NaN when it never is or is not known.
double iso_ledger_own_after_h(const iso_ledger_run *r);
#endif
