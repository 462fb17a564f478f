// Carbon intensities, electricity and core prices, and their JSON overrides.
#include "cost/price.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

// Life-cycle gCO2e per kWh of consumed mix, year 2023: mlco2/codecarbon global_energy_mix.json (from Our World in Data and Ember).
// The world and the EU of 27 are means of that file weighted by TWh; Ember's Global Electricity Review 2024 states 480 for the same year.
static const char CARBON_SOURCE[] = "codecarbon global_energy_mix.json, year 2023 (Ember, Our World in Data)";
static const struct {
  const char *code;
  double g;
} REGIONS[] = {
    {"world", 480.620}, {"US", 369.473}, {"FR", 56.039},  {"DE", 380.950}, {"GB", 237.589}, {"CN", 582.317}, {"IN", 713.441},
    {"JP", 485.392},    {"BR", 98.348},  {"NO", 30.080},  {"SE", 40.695},  {"PL", 661.926}, {"CA", 170.043}, {"AU", 548.692},
    {"ZA", 707.686},    {"ES", 174.050}, {"IT", 330.718}, {"IE", 290.805}, {"NL", 267.622}, {"FI", 79.158},  {"KR", 430.567},
    {"SG", 470.783},    {"CH", 34.843},  {"EU", 243.83},  {"AT", 110.812}, {"DK", 151.650}, {"MX", 507.245},
};

// Life-cycle gCO2e per kWh of one source of energy: mlco2/codecarbon carbon_intensity_per_source.json.
static const char SOURCE_SOURCE[] = "codecarbon carbon_intensity_per_source.json";
static const struct {
  const char *code;
  double g;
} SOURCES[] = {
    {"coal", 995}, {"petroleum", 816}, {"gas", 743}, {"geothermal", 38}, {"hydro", 26}, {"nuclear", 29}, {"solar", 48}, {"wind", 26},
};

iso_prices iso_prices_default(void) {
  iso_prices p = {.region = "world", .pue = 1, .rented = true, .date = "2023"};
  // AWS m7i and c7a on demand, us-east-1, are about 0.05 per vCPU; Lambda's cpu_4x is 0.20 for four (SkyPilot catalog v8).
  p.usd_per_core_h = 0.05;
  p.usd_per_kwh = 0.165;  // US residential mean of 2024, US EIA Electric Power Monthly, table 5.3 (rounded)
  (void)snprintf(p.price_source, sizeof p.price_source, "cloud vCPU on demand, about 0.05 USD/h (SkyPilot catalog v8)");
  (void)iso_prices_region(&p, "world", NULL);
  return p;
}

static void set_grid(iso_prices *p, const char *code, double g, const char *source) {
  p->g_per_kwh = g;
  (void)snprintf(p->region, sizeof p->region, "%s", code);
  (void)snprintf(p->carbon_source, sizeof p->carbon_source, "%s", source);
}

iso_status iso_prices_region(iso_prices *p, const char *code, iso_err *err) {
  for (size_t i = 0; i < ISO_COUNT(REGIONS); i++)
    if (strcasecmp(code, REGIONS[i].code) == 0) {
      set_grid(p, REGIONS[i].code, REGIONS[i].g, CARBON_SOURCE);
      return ISO_OK;
    }
  for (size_t i = 0; i < ISO_COUNT(SOURCES); i++)
    if (strcasecmp(code, SOURCES[i].code) == 0) {
      set_grid(p, SOURCES[i].code, SOURCES[i].g, SOURCE_SOURCE);
      return ISO_OK;
    }
  iso_str s = {0};
  for (size_t i = 0; i < ISO_COUNT(REGIONS); i++) iso_str_fmt(&s, "%s%s", i ? " " : "", REGIONS[i].code);
  for (size_t i = 0; i < ISO_COUNT(SOURCES); i++) iso_str_fmt(&s, " %s", SOURCES[i].code);
  iso_fail(err, ISO_EINVAL, "prices: unknown region \"%.30s\"", code);
  iso_hint(err, ISO_EINVAL, "known: %s; or give g_per_kwh in a prices file", s.p ? s.p : "");
  iso_str_free(&s);
  return ISO_EINVAL;
}

static iso_status opt_text(const json_t *j, const char *key, const char *what, char *buf, size_t n, bool *given, iso_err *err) {
  const char *s;
  *given = false;
  if (!json_object_get(j, key)) return ISO_OK;
  ISO_TRY(iso_json_get_str(j, key, what, &s, err));
  (void)snprintf(buf, n, "%s", s);
  *given = true;
  return ISO_OK;
}

static iso_status opt_price(const json_t *j, const char *key, const char *what, double least, double *v, bool *given, iso_err *err) {
  ISO_TRY(iso_json_opt_f64(j, key, what, v, err));
  if (!(*v >= least) || !isfinite(*v)) return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" is %g, must be at least %g", what, key, *v, least);
  *given |= json_object_get(j, key) != NULL;
  return ISO_OK;
}

static iso_status from_json(const json_t *j, const char *what, iso_prices *p, iso_err *err) {
  static const char *const KEYS[] = {"region",      "g_per_kwh",     "pue",          "rented", "usd_per_core_h",
                                     "usd_per_kwh", "carbon_source", "price_source", "date",   NULL};
  bool carbon = false, price = false, given, unused;
  char region[32];
  ISO_TRY(iso_json_only_keys(j, what, KEYS, err));
  ISO_TRY(opt_text(j, "region", what, region, sizeof region, &given, err));
  if (given && json_object_get(j, "g_per_kwh"))
    (void)snprintf(p->region, sizeof p->region, "%s", region);  // a region of the user's own
  else if (given) {
    iso_status st = iso_prices_region(p, region, err);
    if (st != ISO_OK) return iso_err_prefix(err, st, "%s", what);
  }
  ISO_TRY(opt_price(j, "g_per_kwh", what, 0, &p->g_per_kwh, &carbon, err));
  ISO_TRY(opt_price(j, "pue", what, 1, &p->pue, &carbon, err));
  ISO_TRY(opt_price(j, "usd_per_core_h", what, 0, &p->usd_per_core_h, &price, err));
  ISO_TRY(opt_price(j, "usd_per_kwh", what, 0, &p->usd_per_kwh, &price, err));
  ISO_TRY(iso_json_opt_bool(j, "rented", what, &p->rented, err));
  ISO_TRY(opt_text(j, "date", what, p->date, sizeof p->date, &unused, err));
  ISO_TRY(opt_text(j, "carbon_source", what, p->carbon_source, sizeof p->carbon_source, &given, err));
  if (carbon && !given) (void)snprintf(p->carbon_source, sizeof p->carbon_source, "%.90s", what);
  ISO_TRY(opt_text(j, "price_source", what, p->price_source, sizeof p->price_source, &given, err));
  if (price && !given) (void)snprintf(p->price_source, sizeof p->price_source, "%.90s", what);
  return ISO_OK;
}

iso_status iso_prices_load(const char *path, iso_prices *p, iso_err *err) {
  json_t *j;
  iso_prices q = *p;
  iso_status st = iso_json_load(path, &j, err);
  if (st != ISO_OK) return iso_err_prefix(err, st, "prices");
  st = from_json(j, path, &q, err);
  json_decref(j);
  if (st == ISO_OK) *p = q;
  return st;
}

iso_status iso_prices_get(const char *path, iso_prices *p, iso_err *err) {
  const char *env = getenv("ISOFLOP_PRICES");
  *p = iso_prices_default();
  if (env && *env) ISO_TRY(iso_prices_load(env, p, err));
  if (path) ISO_TRY(iso_prices_load(path, p, err));
  return ISO_OK;
}

json_t *iso_prices_json(const iso_prices *p) {
  return json_pack("{s:s,s:f,s:f,s:b,s:f,s:f,s:s,s:s,s:s}", "region", p->region, "g_per_kwh", p->g_per_kwh, "pue", p->pue, "rented", (int)p->rented,
                   "usd_per_core_h", p->usd_per_core_h, "usd_per_kwh", p->usd_per_kwh, "carbon_source", p->carbon_source, "price_source",
                   p->price_source, "date", p->date);
}

void iso_price_apply(const iso_prices *p, int64_t threads, iso_cost *cost) {
  double kwh = p->pue / 3.6e6;  // per joule
  cost->co2 = iso_est_scale(cost->energy, p->g_per_kwh * kwh);
  cost->usd = p->rented ? iso_est_scale(cost->wall, (double)threads * p->usd_per_core_h / 3600) : iso_est_scale(cost->energy, p->usd_per_kwh * kwh);
}
