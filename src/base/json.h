// JSON over jansson: strict typed reads with errors that name the key, and NaN shown as null.
#ifndef ISO_BASE_JSON_H
#define ISO_BASE_JSON_H
#include <jansson.h>

#include "base/ctx.h"

// Parses text (n bytes, duplicate keys refused, depth limited by jansson); *out is owned by the caller (json_decref).
iso_status iso_json_parse(const char *text, size_t n, const char *what, json_t **out, iso_err *err);
iso_status iso_json_load(const char *path, json_t **out, iso_err *err);
iso_status iso_json_save(iso_ctx *c, const char *path, const json_t *j, iso_err *err);
// A real, or null for NaN and infinities.
json_t *iso_json_num(double v);
// A predicted number with its interval, the same keys everywhere: {"value", "lo", "hi"}. Where an end is not known it is null and
// "interval" says "none: why".
json_t *iso_json_range(double value, double lo, double hi, const char *why);
// Turns every number called one of the NULL-terminated `keys`, anywhere in o, into such an interval: from lo to hi times the number; and by
// where it lies at the same place of `low` and `high`, documents like o that were made with other inputs.
void iso_json_scale(json_t *o, const char *const *keys, double lo, double hi, const char *why);
void iso_json_join(json_t *o, const json_t *low, const json_t *high, const char *const *keys, const char *why);
// A number, or the value of an interval; NaN for anything else.
double iso_json_value(const json_t *v);
// Required and optional members of object `o`; `what` names the object in messages. Optional reads leave *out alone when absent or null.
iso_status iso_json_get_i64(const json_t *o, const char *key, const char *what, int64_t min, int64_t max, int64_t *out, iso_err *err);
iso_status iso_json_get_f64(const json_t *o, const char *key, const char *what, double *out, iso_err *err);
iso_status iso_json_get_str(const json_t *o, const char *key, const char *what, const char **out, iso_err *err);
iso_status iso_json_opt_i64(const json_t *o, const char *key, const char *what, int64_t min, int64_t max, int64_t *out, iso_err *err);
iso_status iso_json_opt_f64(const json_t *o, const char *key, const char *what, double *out, iso_err *err);
iso_status iso_json_opt_bool(const json_t *o, const char *key, const char *what, bool *out, iso_err *err);
// Fails on the first key that is not in the NULL-terminated list.
iso_status iso_json_only_keys(const json_t *o, const char *what, const char *const *keys, iso_err *err);
#endif
