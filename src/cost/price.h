// Carbon and dollars: intensities and prices with their source and date, overridable.
#ifndef ISO_COST_PRICE_H
#define ISO_COST_PRICE_H
#include "cost/budget.h"

typedef struct iso_prices {
  char region[32];   // "world", a two-letter country, or a source of energy ("coal")
  double g_per_kwh;  // gCO2e of a kWh on that grid
  double pue;        // power usage effectiveness: energy at the meter / energy of the machine
  bool rented;       // true: pay core-hours, electricity included; false: own machine, pay kWh
  double usd_per_core_h, usd_per_kwh;
  char carbon_source[96], price_source[96];
  char date[24];  // of the newest figure
} iso_prices;

// World average carbon intensity, a rented cloud core, PUE 1.
iso_prices iso_prices_default(void);
// Fills p->g_per_kwh and its source for a country code ("DE"), "world", or one source of energy ("coal", "wind"); ISO_EINVAL lists what is
// known.
iso_status iso_prices_region(iso_prices *p, const char *code, iso_err *err);
// JSON object with any of: region, g_per_kwh, pue, rented, usd_per_core_h, usd_per_kwh, carbon_source, price_source, date.
// A region is applied first; numbers without a source are marked with the file's name.
iso_status iso_prices_load(const char *path, iso_prices *p, iso_err *err);
// Default, then $ISOFLOP_PRICES when set, then `path` when not NULL (the flag --prices).
iso_status iso_prices_get(const char *path, iso_prices *p, iso_err *err);
json_t *iso_prices_json(const iso_prices *p);
// Fills co2 (from energy) and usd (from wall x threads, or from energy) of `cost`; unknown stays unknown.
void iso_price_apply(const iso_prices *p, int64_t threads, iso_cost *cost);
#endif
