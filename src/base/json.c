// Typed access to JSON documents.
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"

enum { JSON_LIMIT = 256 << 20 };

iso_status iso_json_parse(const char *text, size_t n, const char *what, json_t **out, iso_err *err) {
  json_error_t e;
  *out = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
  if (*out) return ISO_OK;
  return iso_fail(err, ISO_EFORMAT, "%s: not valid JSON at line %d, column %d: %s", what, e.line, e.column, e.text);
}

iso_status iso_json_load(const char *path, json_t **out, iso_err *err) {
  char *text;
  size_t n;
  *out = NULL;
  ISO_TRY(iso_file_get(path, JSON_LIMIT, &text, &n, err));
  iso_status st = iso_json_parse(text, n, path, out, err);
  free(text);
  return st;
}

iso_status iso_json_save(iso_ctx *c, const char *path, const json_t *j, iso_err *err) {
  char *s = json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
  if (!s) return iso_fail(err, ISO_ENOMEM, "%s: could not write JSON", path);
  iso_status st = iso_file_put(c, path, s, strlen(s), err);
  free(s);
  return st;
}

json_t *iso_json_num(double v) { return isfinite(v) ? json_real(v) : json_null(); }

json_t *iso_json_range(double value, double lo, double hi, const char *why) {
  json_t *o = json_pack("{s:o, s:o, s:o}", "value", iso_json_num(value), "lo", iso_json_num(lo), "hi", iso_json_num(hi));
  if (isfinite(value) && !(isfinite(lo) && isfinite(hi))) (void)json_object_set_new(o, "interval", json_sprintf("none: %s", why));
  return o;
}

double iso_json_value(const json_t *v) {
  const json_t *n = json_is_object(v) ? json_object_get(v, "value") : v;
  return json_is_number(n) ? json_number_value(n) : NAN;
}

static bool among(const char *key, const char *const *keys) {
  for (; *keys; keys++)
    if (strcmp(*keys, key) == 0) return true;
  return false;
}

// What the ends of an interval are made of: factors, or two documents beside the one walked.
typedef struct ends {
  const char *const *keys, *why;
  bool scale;
  double lo, hi;
} ends;

static void walk(json_t *o, const json_t *low, const json_t *high, const ends *e) {
  const char *key;
  json_t *v;
  void *next;
  for (size_t i = 0; i < json_array_size(o); i++) walk(json_array_get(o, i), json_array_get(low, i), json_array_get(high, i), e);
  json_object_foreach_safe(o, next, key, v) {
    const json_t *a = json_object_get(low, key), *b = json_object_get(high, key);
    if (!json_is_number(v) || !among(key, e->keys)) {
      walk(v, a, b, e);
      continue;
    }
    double x = json_number_value(v), y = e->scale ? x * e->lo : iso_json_value(a), z = e->scale ? x * e->hi : iso_json_value(b);
    bool known = isfinite(y) && isfinite(z);
    (void)json_object_set_new(o, key, iso_json_range(x, known ? fmin(x, fmin(y, z)) : y, known ? fmax(x, fmax(y, z)) : z, e->why));
  }
}

void iso_json_scale(json_t *o, const char *const *keys, double lo, double hi, const char *why) {
  walk(o, NULL, NULL, &(ends){.keys = keys, .why = why, .scale = true, .lo = lo, .hi = hi});
}

void iso_json_join(json_t *o, const json_t *low, const json_t *high, const char *const *keys, const char *why) {
  walk(o, low, high, &(ends){.keys = keys, .why = why});
}

static iso_status missing(const char *key, const char *what, iso_err *err) { return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" is missing", what, key); }

iso_status iso_json_opt_i64(const json_t *o, const char *key, const char *what, int64_t min, int64_t max, int64_t *out, iso_err *err) {
  const json_t *v = json_object_get(o, key);
  if (!v || json_is_null(v)) return ISO_OK;
  if (!json_is_integer(v)) return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" must be an integer", what, key);
  int64_t x = (int64_t)json_integer_value(v);
  if (x < min || x > max)
    return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" is %lld, must be between %lld and %lld", what, key, (long long)x, (long long)min, (long long)max);
  *out = x;
  return ISO_OK;
}

iso_status iso_json_opt_f64(const json_t *o, const char *key, const char *what, double *out, iso_err *err) {
  const json_t *v = json_object_get(o, key);
  if (!v || json_is_null(v)) return ISO_OK;
  if (!json_is_number(v)) return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" must be a number", what, key);
  *out = json_number_value(v);
  return ISO_OK;
}

iso_status iso_json_opt_bool(const json_t *o, const char *key, const char *what, bool *out, iso_err *err) {
  const json_t *v = json_object_get(o, key);
  if (!v || json_is_null(v)) return ISO_OK;
  if (!json_is_boolean(v)) return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" must be true or false", what, key);
  *out = json_is_true(v);
  return ISO_OK;
}

iso_status iso_json_get_i64(const json_t *o, const char *key, const char *what, int64_t min, int64_t max, int64_t *out, iso_err *err) {
  if (!json_object_get(o, key)) return missing(key, what, err);
  return iso_json_opt_i64(o, key, what, min, max, out, err);
}

iso_status iso_json_get_f64(const json_t *o, const char *key, const char *what, double *out, iso_err *err) {
  if (!json_object_get(o, key)) return missing(key, what, err);
  return iso_json_opt_f64(o, key, what, out, err);
}

iso_status iso_json_get_str(const json_t *o, const char *key, const char *what, const char **out, iso_err *err) {
  const json_t *v = json_object_get(o, key);
  if (!v) return missing(key, what, err);
  if (!json_is_string(v)) return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" must be a string", what, key);
  *out = json_string_value(v);
  return ISO_OK;
}

iso_status iso_json_only_keys(const json_t *o, const char *what, const char *const *keys, iso_err *err) {
  const char *key;
  json_t *v;
  if (!json_is_object(o)) return iso_fail(err, ISO_EFORMAT, "%s: must be a JSON object", what);
  json_object_foreach((json_t *)(uintptr_t)o, key, v) {
    const char *best = NULL;
    bool found = false;
    for (const char *const *k = keys; *k && !found; k++) {
      found = strcmp(*k, key) == 0;
      if (!best || iso_str_distance(*k, key) < iso_str_distance(best, key)) best = *k;
    }
    if (found) continue;
    iso_fail(err, ISO_EFORMAT, "%s: unknown key \"%.60s\"", what, key);
    return best && iso_str_near(best, key) ? iso_hint(err, ISO_EFORMAT, "did you mean \"%s\"?", best) : ISO_EFORMAT;
  }
  return ISO_OK;
}
