// Numbers with units, as users write them: 1e18, 2.5PF, 90s, 1h30m, 400MiB, $3, 2kJ.
#ifndef ISO_BASE_UNIT_H
#define ISO_BASE_UNIT_H
#include "base/status.h"

typedef enum iso_unit {
  ISO_UNIT_FLOP,   // FLOP, flops, FL; F alone after an SI prefix: 2.5PF
  ISO_UNIT_S,      // s, ms, us, m or min, h, d; sums such as 1h30m
  ISO_UNIT_BYTE,   // B, kB, MB, GB (1000), KiB, MiB, GiB, TiB (1024)
  ISO_UNIT_JOULE,  // J, kJ, MJ, Wh, kWh
  ISO_UNIT_GRAM,   // g, kg, t: grams of CO2e (optional suffix CO2e)
  ISO_UNIT_USD,    // $3, 3usd
  ISO_UNIT_TOK,    // tok, with k, M, B, T before it: 300Mtok
  ISO_UNIT_COUNT   // a bare number
} iso_unit;

// Parses all of `s` as a non-negative finite quantity of kind `u`, in SI base units; a bare number is taken in base units.
iso_status iso_unit_parse(const char *s, iso_unit u, double *out, iso_err *err);
// Guesses the kind from the unit written; a bare number has no kind and is refused.
iso_status iso_unit_guess(const char *s, iso_unit *u, double *out, iso_err *err);
// "1.50 GiB", "1h30m", "2.50e17 FLOP", "$0.10"; NaN is "?" and +infinity "no limit". Returns buf.
char *iso_unit_print(double v, iso_unit u, char *buf, size_t n);
#endif
