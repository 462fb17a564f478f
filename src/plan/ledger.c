// Bills of energy, carbon and money.
#include "plan/ledger.h"

#include <math.h>

#define HOURS_OF_YEAR (24 * 365.25)

iso_ledger_run iso_ledger_run_default(void) {
  return (iso_ledger_run){.device_h = NAN,
                          .active_w = NAN,
                          .pue = 1,
                          .g_per_kwh = NAN,
                          .embodied_g = 150e3 + 2500e3 / 8,
                          .life_h = 6 * 8760,
                          .used_share = 0.85,
                          .rent_usd_h = NAN,
                          .capex_usd = NAN,
                          .usd_per_kwh = NAN,
                          .server_ratio = NAN};
}

iso_status iso_ledger_of(const iso_ledger_run *r, iso_ledger *o, iso_err *err) {
  const struct {
    const char *name;
    double v;
  } amount[] = {{"device-hours", r->device_h},
                {"active power", r->active_w},
                {"idle energy", r->idle_kwh},
                {"grid intensity", r->g_per_kwh},
                {"embodied carbon", r->embodied_g},
                {"rent", r->rent_usd_h},
                {"purchase price", r->capex_usd},
                {"price of a kWh", r->usd_per_kwh},
                {"staff", r->staff_usd},
                {"progress", r->progress_oom},
                {"age", r->age_y}};
  for (size_t i = 0; i < ISO_COUNT(amount); i++)
    if (amount[i].v < 0 || isinf(amount[i].v)) return iso_fail(err, ISO_EINVAL, "ledger: %s is %g, expected 0 or more", amount[i].name, amount[i].v);
  if (!(r->pue >= 1 && r->pue < INFINITY)) return iso_fail(err, ISO_EINVAL, "ledger: a PUE of %g, expected 1 or more", r->pue);
  if (!(r->life_h > 0 && r->used_share > 0 && r->used_share <= 1))
    return iso_fail(err, ISO_EINVAL, "ledger: a device lasts %g hours, %g of them in use", r->life_h, r->used_share);
  if (!(r->network_share >= 0 && r->network_share < 1))
    return iso_fail(err, ISO_EINVAL, "ledger: a network share of %g, expected 0 or more and below 1", r->network_share);
  if (r->server_ratio < 1) return iso_fail(err, ISO_EINVAL, "ledger: a server costs %g of its devices, expected 1 or more", r->server_ratio);
  double hours_of_life = r->life_h * r->used_share;
  o->active_kwh = r->device_h * r->active_w / 1e3;
  o->idle_kwh = r->idle_kwh;
  o->overhead_kwh = (o->active_kwh + o->idle_kwh) * (r->pue - 1);
  o->kwh = o->active_kwh + o->idle_kwh + o->overhead_kwh;
  o->active_g = o->active_kwh * r->g_per_kwh;
  o->idle_g = o->idle_kwh * r->g_per_kwh;
  o->overhead_g = o->overhead_kwh * r->g_per_kwh;
  o->embodied_g = r->embodied_g * r->device_h / hours_of_life;
  o->co2_g = o->active_g + o->idle_g + o->overhead_g + o->embodied_g;
  // Replacing hardware at the rate at which its price falls is what makes progress cheapest; the paper's own derivation.
  double used_up = r->progress_oom > 0 ? pow(10, -r->progress_oom * r->age_y) * r->progress_oom * log(10) * r->device_h / HOURS_OF_YEAR
                                       : r->device_h / hours_of_life;
  double servers = r->capex_usd * used_up;
  o->network_usd = servers * r->network_share / (1 - r->network_share);
  o->device_usd = servers / r->server_ratio;
  o->server_usd = servers - o->device_usd;
  o->hardware_usd = servers + o->network_usd;
  o->energy_usd = o->kwh * r->usd_per_kwh;
  o->own_usd = o->hardware_usd + o->energy_usd;
  o->rent_usd = r->rent_usd_h * r->device_h;
  o->staff_usd = r->staff_usd;
  o->own_total_usd = o->own_usd + o->staff_usd;
  o->rent_total_usd = o->rent_usd + o->staff_usd;
  return ISO_OK;
}

json_t *iso_ledger_json(const iso_ledger *l) {
  return json_pack("{s:{s:o, s:o, s:o, s:o}, s:{s:o, s:o, s:o, s:o, s:o}, s:{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}}", "energy_kwh",
                   "active", iso_json_num(l->active_kwh), "idle", iso_json_num(l->idle_kwh), "overhead", iso_json_num(l->overhead_kwh), "total",
                   iso_json_num(l->kwh), "co2_g", "active", iso_json_num(l->active_g), "idle", iso_json_num(l->idle_g), "overhead",
                   iso_json_num(l->overhead_g), "embodied", iso_json_num(l->embodied_g), "total", iso_json_num(l->co2_g), "usd", "hardware",
                   iso_json_num(l->hardware_usd), "device", iso_json_num(l->device_usd), "server", iso_json_num(l->server_usd), "network",
                   iso_json_num(l->network_usd), "energy", iso_json_num(l->energy_usd), "own", iso_json_num(l->own_usd), "rent",
                   iso_json_num(l->rent_usd), "staff", iso_json_num(l->staff_usd), "own_total", iso_json_num(l->own_total_usd), "rent_total",
                   iso_json_num(l->rent_total_usd));
}

double iso_ledger_crossover(double fixed_a, double per_unit_a, double fixed_b, double per_unit_b) {
  double units = (fixed_b - fixed_a) / (per_unit_a - per_unit_b);
  return units > 0 && units < INFINITY ? units : NAN;
}

double iso_ledger_own_after_h(const iso_ledger_run *r) {
  return iso_ledger_crossover(0, r->rent_usd_h, r->capex_usd / (1 - r->network_share), r->active_w / 1e3 * r->pue * r->usd_per_kwh);
}
