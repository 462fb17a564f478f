// Parsing and printing quantities.
#include "base/unit.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct unit_row {
  const char *name;
  iso_unit unit;
  double scale;
  bool exact;  // case matters: m is minutes, M is mega
} unit_row;

static const unit_row UNITS[] = {
    {"flops", ISO_UNIT_FLOP, 1, false},    {"flop", ISO_UNIT_FLOP, 1, false},     {"s", ISO_UNIT_S, 1, false},
    {"sec", ISO_UNIT_S, 1, false},         {"ms", ISO_UNIT_S, 1e-3, true},        {"us", ISO_UNIT_S, 1e-6, true},
    {"m", ISO_UNIT_S, 60, true},           {"min", ISO_UNIT_S, 60, false},        {"h", ISO_UNIT_S, 3600, false},
    {"d", ISO_UNIT_S, 86400, false},       {"B", ISO_UNIT_BYTE, 1, true},         {"bytes", ISO_UNIT_BYTE, 1, false},
    {"kB", ISO_UNIT_BYTE, 1e3, false},     {"MB", ISO_UNIT_BYTE, 1e6, false},     {"GB", ISO_UNIT_BYTE, 1e9, false},
    {"TB", ISO_UNIT_BYTE, 1e12, false},    {"KiB", ISO_UNIT_BYTE, 0x1p10, false}, {"MiB", ISO_UNIT_BYTE, 0x1p20, false},
    {"GiB", ISO_UNIT_BYTE, 0x1p30, false}, {"TiB", ISO_UNIT_BYTE, 0x1p40, false}, {"J", ISO_UNIT_JOULE, 1, false},
    {"Wh", ISO_UNIT_JOULE, 3600, false},   {"kWh", ISO_UNIT_JOULE, 3.6e6, false}, {"MWh", ISO_UNIT_JOULE, 3.6e9, true},
    {"kJ", ISO_UNIT_JOULE, 1e3, false},    {"MJ", ISO_UNIT_JOULE, 1e6, true},     {"GJ", ISO_UNIT_JOULE, 1e9, false},
    {"g", ISO_UNIT_GRAM, 1, true},         {"kg", ISO_UNIT_GRAM, 1e3, false},     {"t", ISO_UNIT_GRAM, 1e6, true},
    {"gCO2e", ISO_UNIT_GRAM, 1, false},    {"kgCO2e", ISO_UNIT_GRAM, 1e3, false}, {"tCO2e", ISO_UNIT_GRAM, 1e6, false},
    {"usd", ISO_UNIT_USD, 1, false},       {"$", ISO_UNIT_USD, 1, false},         {"tok", ISO_UNIT_TOK, 1, false},
    {"tokens", ISO_UNIT_TOK, 1, false},
};

// kMGTPE before flop and tok; B is 1e9 tokens, as the field writes it.
static double prefix_scale(char c, iso_unit u) {
  switch (c) {
    case 'k':
    case 'K': return 1e3;
    case 'M': return 1e6;
    case 'G': return 1e9;
    case 'B': return u == ISO_UNIT_TOK ? 1e9 : NAN;
    case 'T': return 1e12;
    case 'P': return u == ISO_UNIT_FLOP ? 1e15 : NAN;
    case 'E': return u == ISO_UNIT_FLOP ? 1e18 : NAN;
    case 'Z': return u == ISO_UNIT_FLOP ? 1e21 : NAN;
    case 'Y': return u == ISO_UNIT_FLOP ? 1e24 : NAN;
    default: return NAN;
  }
}

static bool name_is(const unit_row *r, const char *s, size_t n) {
  return strlen(r->name) == n && (r->exact ? strncmp(r->name, s, n) : strncasecmp(r->name, s, n)) == 0;
}

static bool lookup(const char *s, size_t n, iso_unit *u, double *scale) {
  for (size_t i = 0; i < ISO_COUNT(UNITS); i++)
    if (name_is(&UNITS[i], s, n)) {
      *u = UNITS[i].unit;
      *scale = UNITS[i].scale;
      return true;
    }
  if (n == 2 && (s[1] == 'F') && isfinite(prefix_scale(s[0], ISO_UNIT_FLOP))) {  // 2.5PF
    *u = ISO_UNIT_FLOP;
    *scale = prefix_scale(s[0], ISO_UNIT_FLOP);
    return true;
  }
  for (size_t i = 0; n > 1 && i < ISO_COUNT(UNITS); i++) {
    iso_unit k = UNITS[i].unit;
    if ((k == ISO_UNIT_FLOP || k == ISO_UNIT_TOK) && name_is(&UNITS[i], s + 1, n - 1)) {
      double p = prefix_scale(s[0], k);
      if (!isfinite(p)) return false;
      *u = k;
      *scale = p;
      return true;
    }
  }
  return false;
}

// Parses "number unit" pieces and adds them; more than one piece is for times only.
static iso_status parse(const char *s, bool want_known, iso_unit want, iso_unit *got, double *out, iso_err *err) {
  double sum = 0;
  int pieces = 0;
  const char *p = s;
  iso_unit u = want;
  while (isspace((unsigned char)*p)) p++;
  bool dollar = *p == '$';
  if (dollar) {
    p++;
    u = ISO_UNIT_USD;
  }
  if (!*p) return iso_fail(err, ISO_EINVAL, "\"%.60s\": no number", s);
  for (; *p; pieces++) {
    char *end;
    if (*p == '-') return iso_fail(err, ISO_EINVAL, "\"%.60s\": cannot be negative", s);
    if (!isdigit((unsigned char)*p) && *p != '.') return iso_fail(err, ISO_EINVAL, "\"%.60s\": expected a number at \"%.20s\"", s, p);
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) return iso_fail(err, ISO_EINVAL, "\"%.60s\": hexadecimal is not understood", s);
    double v = strtod(p, &end);
    if (end == p) return iso_fail(err, ISO_EINVAL, "\"%.60s\": expected a number at \"%.20s\"", s, p);
    while (*end == ' ') end++;
    const char *w = end;
    while (isalpha((unsigned char)*end) || *end == '$' || (end > w && *end == '2')) end++;
    size_t n = (size_t)(end - w);
    double scale = 1;
    if (n > 0 && !dollar) {
      iso_unit k = ISO_UNIT_COUNT;
      if (want_known && want == ISO_UNIT_TOK && n == 1 && isfinite(prefix_scale(*w, want))) {
        k = want;
        scale = prefix_scale(*w, want);
      } else if (want_known && want == ISO_UNIT_COUNT && n == 1 && isfinite(prefix_scale(*w, ISO_UNIT_TOK))) {
        k = want;
        scale = prefix_scale(*w, ISO_UNIT_TOK);
      } else if (!lookup(w, n, &k, &scale)) {
        iso_fail(err, ISO_EINVAL, "\"%.60s\": unknown unit \"%.*s\"", s, (int)(n > 30 ? 30 : n), w);
        return iso_hint(err, ISO_EINVAL, "known: flop PF, s m h, MiB GiB MB, J kJ kWh, gCO2e kg, $ usd, tok Mtok Btok");
      }
      if (want_known && k != want) return iso_fail(err, ISO_EINVAL, "\"%.60s\": the unit \"%.*s\" does not fit here", s, (int)n, w);
      if (pieces > 0 && (k != ISO_UNIT_S || u != ISO_UNIT_S)) return iso_fail(err, ISO_EINVAL, "\"%.60s\": only times may have several parts", s);
      u = k;
    } else if (n == 1 && pieces == 0 && isfinite(prefix_scale(*w, ISO_UNIT_TOK))) {
      scale = prefix_scale(*w, ISO_UNIT_TOK);  // $3k, $2.5M
    } else if (n > 0) {
      return iso_fail(err, ISO_EINVAL, "\"%.60s\": only k, M, B or T may follow a dollar amount", s);
    } else if (pieces > 0 || (!want_known && !dollar)) {
      iso_fail(err, ISO_EINVAL, "\"%.60s\": a number without a unit", s);
      return iso_hint(err, ISO_EINVAL, "write for example 5m, 2e14flop, 600MiB");
    }
    while (isspace((unsigned char)*end)) end++;
    p = end;
    sum += v * scale;
  }
  if (!isfinite(sum)) return iso_fail(err, ISO_EINVAL, "\"%.60s\": not a finite number", s);
  if (want_known && u != want) return iso_fail(err, ISO_EINVAL, "\"%.60s\": this unit does not fit here", s);
  *got = u;
  *out = sum;
  return ISO_OK;
}

iso_status iso_unit_parse(const char *s, iso_unit u, double *out, iso_err *err) {
  iso_unit got;
  return parse(s, true, u, &got, out, err);
}

iso_status iso_unit_guess(const char *s, iso_unit *u, double *out, iso_err *err) { return parse(s, false, ISO_UNIT_COUNT, u, out, err); }

static char *scaled(double v, const char *const *names, int count, double base, char *buf, size_t n) {
  int i = 0;
  while (v >= base && i < count - 1) {
    v /= base;
    i++;
  }
  (void)snprintf(buf, n, v >= 100 || (v == floor(v) && v < 100) ? "%.0f %s" : v >= 10 ? "%.1f %s" : "%.2f %s", v, names[i]);
  return buf;
}

char *iso_unit_print(double v, iso_unit u, char *buf, size_t n) {
  static const char *const BYTES[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  static const char *const JOULES[] = {"J", "kJ", "MJ", "GJ", "TJ"};
  static const char *const GRAMS[] = {"gCO2e", "kgCO2e", "tCO2e", "ktCO2e"};
  static const char *const TOKS[] = {"tok", "ktok", "Mtok", "Btok", "Ttok"};
  if (isnan(v))
    (void)snprintf(buf, n, "?");
  else if (isinf(v))
    (void)snprintf(buf, n, v > 0 ? "no limit" : "-inf");
  else
    switch (u) {
      case ISO_UNIT_FLOP: (void)snprintf(buf, n, "%.3g FLOP", v); break;
      case ISO_UNIT_S:
        if (v < 1e-3)
          (void)snprintf(buf, n, "%.1f us", v * 1e6);
        else if (v < 1)
          (void)snprintf(buf, n, "%.1f ms", v * 1e3);
        else if (v < 120)
          (void)snprintf(buf, n, v < 10 ? "%.2f s" : "%.1f s", v);
        else if (v < 7200)
          (void)snprintf(buf, n, "%.0fm%02.0fs", floor(v / 60), floor(fmod(v, 60)));
        else if (v < 172800)
          (void)snprintf(buf, n, "%.0fh%02.0fm", floor(v / 3600), floor(fmod(v, 3600) / 60));
        else if (v < 8.64e8)
          (void)snprintf(buf, n, "%.0fd%02.0fh", floor(v / 86400), floor(fmod(v, 86400) / 3600));
        else
          (void)snprintf(buf, n, "%.3gd", v / 86400);
        break;
      case ISO_UNIT_BYTE: return scaled(v, BYTES, 6, 1024, buf, n);
      case ISO_UNIT_JOULE: return scaled(v, JOULES, 5, 1000, buf, n);
      case ISO_UNIT_GRAM:
        if (v < 0.01 && v > 0)
          (void)snprintf(buf, n, "%.2g gCO2e", v);
        else
          return scaled(v, GRAMS, 4, 1000, buf, n);
        break;
      case ISO_UNIT_USD:
        (void)snprintf(buf, n, v > 0 && v < 0.01 ? "$%.2g" : v >= 1e6 ? "$%.4gM" : v >= 1e4 ? "$%.0f" : "$%.2f", v >= 1e6 ? v / 1e6 : v);
        break;
      case ISO_UNIT_TOK: return scaled(v, TOKS, 5, 1000, buf, n);
      case ISO_UNIT_COUNT: (void)snprintf(buf, n, "%.6g", v); break;
    }
  return buf;
}
