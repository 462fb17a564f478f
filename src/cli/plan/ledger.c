// isoflop plan ledger: the bill of device-hours in kilowatt-hours, CO2e and dollars, part by part.
#include <math.h>
#include <string.h>

#include "cli/plan/args.h"
#include "cli/why.h"
#include "plan/fabric.h"
#include "plan/ledger.h"

static const char *const EXAMPLES[] = {"isoflop plan ledger --device-hours 1022362 --watts 400 --pue 1.1 --carbon 385",
                                       "isoflop plan ledger --device 512xtpu-v3 --days 20 --watts 310 --pue 1.12 --carbon 545 --embodied 0",
                                       "isoflop plan ledger --device 8xh100 --days 30 --region FR --capex 35000 --json", NULL};
static const cli_opt OPTS[] = {
    {"device-hours", CLI_REAL, "H", NULL, "of all devices together"},
    {"device", CLI_TEXT, "NxDEVICE", NULL, "or so many devices for --days; a known device also lends its power and its price"},
    {"days", CLI_REAL, "D", NULL, "with --device"},
    {"watts", CLI_REAL, "W", NULL, "power of a device in use, before the PUE (default: the device's in training)"},
    {"host-watts", CLI_REAL, "W", "0", "power of its share of the host, before the PUE"},
    {"pue", CLI_REAL, "RATIO", NULL, "energy at the meter over energy of the machines (default: the prices file's, else 1)"},
    {"carbon", CLI_REAL, "G", NULL, "grams of CO2e of a kWh (default: the region's)"},
    {"idle", CLI_REAL, "KWH", "0", "of machines and network that wait while the run holds them, before the PUE"},
    {"embodied", CLI_REAL, "KG", "0", "CO2e of making a device with its share of the server (BLOOM: 462.5), spread over --life at --used"},
    {"life", CLI_REAL, "YEARS", "6", "that a device lasts"},
    {"used", CLI_REAL, "SHARE", "0.85", "of its life that a device is in use"},
    {"usd-h", CLI_REAL, "USD", NULL, "rent of a device-hour (default: the device's)"},
    {"capex", CLI_REAL, "USD", NULL, "purchase price of a device with its share of server and network: also the bill of owning"},
    {"endpoints", CLI_INT, "N", NULL, "also price the network of a cluster with so many ports, a fat tree; --capex is then without it"},
    {"radix", CLI_INT, "PORTS", "64", "of a switch"},
    {"planes", CLI_INT, "N", "1", "networks side by side that share the endpoints"},
    {"switch-usd", CLI_REAL, "USD", "81920", "of a switch; with --link-usd what 4.39 and 7.5 k$ an endpoint come to (arXiv:2505.09343)"},
    {"link-usd", CLI_REAL, "USD", "550", "of a cable between two switches"},
    {"usd-kwh", CLI_REAL, "USD", NULL, "price of a kWh at the meter (default: the prices file's)"},
    {"staff", CLI_REAL, "USD", "0", "staff of the run"},
    CLI_PLAN_OPTS,
};

// ---- the table ------------------------------------------------------------------------------------------------------

static void part(const json_t *r, const char *name, const char *path, double scale, iso_unit u) {
  char b[40];
  double v = cli_at(r, path);
  if (!isnan(v)) cli_row(name, "%s", iso_unit_print(v * scale, u, b, sizeof b));
}

static void print_plan(const json_t *r) {
  cli_row("run", "%.10g device-hours at %.4g W, PUE %.4g, %.4g g of CO2e a kWh", cli_at(r, "device_h"), cli_at(r, "active_w"), cli_at(r, "pue"),
          cli_at(r, "g_per_kwh"));
  cli_row("", "power: %s; carbon: %s", cli_text_at(r, "power_source"), cli_text_at(r, "carbon_source"));
  cli_row("interval", "%s", cli_text_at(r, "interval"));
  cli_row("energy", "%.6g MWh", cli_at(r, "energy_kwh.total") / 1e3);
  cli_row("  devices", "%.6g MWh", cli_at(r, "energy_kwh.active") / 1e3);
  if (cli_at(r, "energy_kwh.idle") > 0) cli_row("  idle", "%.6g MWh", cli_at(r, "energy_kwh.idle") / 1e3);
  cli_row("  overhead (PUE)", "%.6g MWh", cli_at(r, "energy_kwh.overhead") / 1e3);
  part(r, "carbon", "co2_g.total", 1, ISO_UNIT_GRAM);
  part(r, "  devices", "co2_g.active", 1, ISO_UNIT_GRAM);
  if (cli_at(r, "co2_g.idle") > 0) part(r, "  idle", "co2_g.idle", 1, ISO_UNIT_GRAM);
  part(r, "  overhead (PUE)", "co2_g.overhead", 1, ISO_UNIT_GRAM);
  if (cli_at(r, "co2_g.embodied") > 0) part(r, "  making devices", "co2_g.embodied", 1, ISO_UNIT_GRAM);
  part(r, "renting", "usd.rent_total", 1, ISO_UNIT_USD);
  part(r, "owning", "usd.own_total", 1, ISO_UNIT_USD);
  part(r, "  hardware", "usd.hardware", 1, ISO_UNIT_USD);
  if (!isnan(cli_at(r, "network.usd_per_endpoint")))
    cli_row("network", "%.4g layers, %.4g switches and %.4g cables an endpoint, $%.0f", cli_at(r, "network.layers"), cli_at(r, "network.switches"),
            cli_at(r, "network.links"), cli_at(r, "network.usd_per_endpoint"));
  part(r, "  electricity", "usd.energy", 1, ISO_UNIT_USD);
  if (cli_at(r, "usd.staff") > 0) part(r, "  staff (of either)", "usd.staff", 1, ISO_UNIT_USD);
  if (!isnan(cli_at(r, "own_after_h"))) cli_row("owning pays", "after %.0f hours of use of a device", cli_at(r, "own_after_h"));
}

// ---- the request ----------------------------------------------------------------------------------------------------

// Device-hours, and what a known device lends.
static iso_status read_hours(const cli_args *a, iso_ledger_run *l, char *power, size_t n, iso_err *err) {
  const char *device = cli_text(a, "device");
  double hours = cli_real(a, "device-hours"), days = cli_real(a, "days"), watts = cli_real(a, "watts");
  (void)snprintf(power, n, "--watts");
  if (device && !isnan(watts) && isnan(hours)) {
    // A count alone is enough when the power is given: the device need not be one that isoflop knows.
    long long count = 0;
    if (sscanf(device, "%lldx", &count) == 1 && count > 0 && !isnan(days)) hours = (double)count * days * 24;
  }
  if (device) {
    iso_device *d;
    int64_t count;
    iso_err unknown = {0};
    iso_status st = cli_devices(device, "--device", &count, &d, isnan(watts) ? err : &unknown);
    if (st != ISO_OK && isnan(watts)) return st;
    if (st == ISO_OK) {
      if (isnan(hours) && !isnan(days)) hours = (double)(count ? count : 1) * days * 24;
      l->rent_usd_h = d->spec.usd_h;
      if (isnan(watts)) {
        iso_device_spec s = iso_device_spec_complete(&d->spec, NULL);
        watts = s.prefill_w;
        (void)snprintf(power, n, "%s", d->spec.power_source[0] ? d->spec.power_source : "its design power");
      }
      iso_device_close(d);
    }
  }
  if (isnan(hours)) return iso_fail(err, ISO_EINVAL, "--device-hours is missing, or --device NxDEVICE with --days");
  if (isnan(watts)) return iso_fail(err, ISO_EINVAL, "--watts is missing: the power of %s is not known", device ? device : "the devices");
  l->device_h = hours;
  l->active_w = watts + cli_real(a, "host-watts");
  return ISO_OK;
}

// The network as a share of the hardware, one port a device.
static iso_status read_network(const cli_args *a, iso_ledger_run *l, json_t **out, iso_err *err) {
  static const char *const WITH[] = {"radix", "planes", "switch-usd", "link-usd"};
  iso_fabric_plan p = iso_fabric_plan_default();
  iso_fabric f;
  *out = NULL;
  if (!cli_given(a, "endpoints")) {
    for (size_t i = 0; i < ISO_COUNT(WITH); i++)
      if (cli_given(a, WITH[i])) return iso_fail(err, ISO_EINVAL, "--%s needs --endpoints, the ports of the cluster's network", WITH[i]);
    return ISO_OK;
  }
  p.endpoints = cli_int(a, "endpoints");
  p.radix = cli_int(a, "radix");
  p.planes = cli_int(a, "planes");
  p.switch_usd = cli_real(a, "switch-usd");
  p.link_usd = cli_real(a, "link-usd");
  ISO_TRY(iso_fabric_of(&p, &f, err));
  if (!isnan(l->capex_usd) && f.usd > 0) l->network_share = f.usd / (l->capex_usd + f.usd);
  *out = json_pack("{s:I, s:I, s:f, s:f, s:f}", "layers", (json_int_t)f.layers, "most_endpoints", (json_int_t)f.most, "switches", f.switches, "links",
                   f.links, "usd_per_endpoint", f.usd);
  return ISO_OK;
}

static iso_status plan(const cli_args *a, const iso_prices *prices, json_t **out, iso_err *err) {
  iso_ledger_run l = iso_ledger_run_default();
  iso_ledger bill;
  char power[96];
  *out = NULL;
  if (cli_given(a, "device-hours") && cli_given(a, "days")) return iso_fail(err, ISO_EINVAL, "--device-hours and --days exclude each other");
  ISO_TRY(read_hours(a, &l, power, sizeof power, err));
  double pue = cli_real(a, "pue"), g = cli_real(a, "carbon"), rent = cli_real(a, "usd-h"), kwh = cli_real(a, "usd-kwh");
  l.pue = isnan(pue) ? prices->pue : pue;
  l.g_per_kwh = isnan(g) ? prices->g_per_kwh : g;
  l.idle_kwh = cli_real(a, "idle");
  l.embodied_g = cli_real(a, "embodied") * 1e3;
  l.life_h = cli_real(a, "life") * 8760;
  l.used_share = cli_real(a, "used");
  if (!isnan(rent)) l.rent_usd_h = rent;
  l.capex_usd = cli_real(a, "capex");
  l.usd_per_kwh = isnan(kwh) ? prices->usd_per_kwh : kwh;
  l.staff_usd = cli_real(a, "staff");
  json_t *network;
  ISO_TRY(read_network(a, &l, &network, err));
  iso_status st = iso_ledger_of(&l, &bill, err);
  if (st != ISO_OK) {
    json_decref(network);
    return st;
  }
  json_t *o = iso_ledger_json(&bill);
  json_object_set_new(o, "network", network ? network : json_null());
  json_object_set_new(o, "kind", json_string("ledger"));
  json_object_set_new(o, "interval", json_string("none: sums over the hours, watts and prices that were given"));
  json_object_set_new(o, "device_h", iso_json_num(l.device_h));
  json_object_set_new(o, "active_w", iso_json_num(l.active_w));
  json_object_set_new(o, "pue", iso_json_num(l.pue));
  json_object_set_new(o, "g_per_kwh", iso_json_num(l.g_per_kwh));
  json_object_set_new(o, "power_source", json_string(power));
  json_object_set_new(o, "carbon_source", json_string(isnan(g) ? prices->carbon_source : "--carbon"));
  json_object_set_new(o, "own_after_h", iso_json_num(iso_ledger_own_after_h(&l)));
  *out = o;
  return ISO_OK;
}

static int run(cli_args *a) { return cli_plan_run(a, plan, print_plan); }

// ---- isoflop why ----------------------------------------------------------------------------------------------------

void cli_why_ledger(const json_t *p, cli_why *w) {
  static const char *const PART[] = {"active", "idle", "overhead", "embodied"};
  double total = cli_at(p, "co2_g.total");
  char path[40];
  for (size_t i = 0; i < ISO_COUNT(PART); i++) {
    (void)snprintf(path, sizeof path, "co2_g.%s", PART[i]);
    if (cli_at(p, path) > 0.01 * total) cli_why_say(w->bound, "carbon: %s is %.1f%% of the whole", PART[i], 100 * cli_at(p, path) / total);
  }
  cli_why_say(w->change, "a grid of half the grams: %.4g kg less", (total - cli_at(p, "co2_g.embodied")) / 2e3);
  if (!isnan(cli_at(p, "own_after_h"))) cli_why_say(w->change, "owning pays after %.0f hours of use of a device", cli_at(p, "own_after_h"));
  cli_why_say(w->sources, "power: %s; carbon: %s", cli_text_at(p, "power_source"), cli_text_at(p, "carbon_source"));
}

const cli_verb cli_verb_plan_ledger = {
    .name = "plan ledger",
    .summary = "The bill of device-hours: energy, carbon and dollars, part by part.",
    .examples = EXAMPLES,
    .usage = "--device-hours H | --device NxDEVICE --days D [--watts W] [--pue RATIO] [--carbon G | --region CODE] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "Energy is device-hours x watts, and idle energy, times the PUE; carbon is that times the grid's grams, and a share of what making the\n"
        "devices emitted; every part is listed and they add up to the total. MWh and tonnes are powers of ten.",
    .stops_at_once = true,
    .run = run};
