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
