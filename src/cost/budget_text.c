// Budgets and costs as text and JSON.
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cost/budget.h"

enum { ITEM_MAX = 120 };

// The resource that a bare unit means: the first row of budget.def with it.
static bool alias(iso_unit u, iso_res *out) {
  for (int r = 0; r < ISO_RES_COUNT && u != ISO_UNIT_COUNT; r++)
    if (iso_res_get((iso_res)r)->unit == u) {
      *out = (iso_res)r;
      return true;
    }
  return false;
}

static char *trim(char *s) {
  while (isspace((unsigned char)*s)) s++;
  size_t n = strlen(s);
  while (n > 0 && isspace((unsigned char)s[n - 1])) s[--n] = 0;
  return s;
}

// Checks the number and puts it into an absent limit.
static iso_status put_limit(iso_budget *b, iso_res r, double v, const char *item, iso_err *err) {
  const char *name = iso_res_get(r)->name;
  if (!(v > 0) || !isfinite(v)) return iso_fail(err, ISO_EINVAL, "budget: \"%s\": the limit on %s must be more than zero and finite", item, name);
  double *at = iso_budget_at(b, r);
  if (*at < INFINITY) return iso_fail(err, ISO_EINVAL, "budget: \"%s\": %s is limited twice", item, name);
  *at = v;
  return ISO_OK;
}

static iso_status parse_item(char *item, iso_budget *b, iso_err *err) {
  char *eq = strchr(item, '=');
  iso_res r;
  iso_status st;
  double v;
  const char *num = item;
  if (eq) {
    char key[ITEM_MAX + 1];
    (void)snprintf(key, sizeof key, "%.*s", (int)(eq - item), item);
    st = iso_res_find(trim(key), &r, err);
    if (st != ISO_OK) return iso_err_prefix(err, st, "budget");
    num = trim(eq + 1);
  }
  if (*num == '-') return iso_fail(err, ISO_EINVAL, "budget: \"%s\": a limit cannot be negative", item);
  if (eq) {
    st = iso_unit_parse(num, iso_res_get(r)->unit, &v, err);
  } else {
    iso_unit u;
    st = iso_unit_guess(num, &u, &v, err);
    if (st == ISO_OK && !alias(u, &r)) return iso_fail(err, ISO_EINVAL, "budget: \"%s\": write key=value, no resource has this bare unit", item);
  }
  if (st != ISO_OK) return iso_err_prefix(err, st, "budget");
  return put_limit(b, r, v, item, err);
}

iso_status iso_budget_parse(const char *text, iso_budget *out, iso_err *err) {
  iso_budget b = iso_budget_none();
  for (const char *p = text;; p++) {
    size_t n = strcspn(p, ",");
    char buf[ITEM_MAX + 1];
    if (n > ITEM_MAX) return iso_fail(err, ISO_EINVAL, "budget: an item of %zu characters, at most %d make sense", n, ITEM_MAX);
    memcpy(buf, p, n);
    buf[n] = 0;
    char *item = trim(buf);
    if (!*item) {
      iso_fail(err, ISO_EINVAL, "budget: \"%.60s\": an empty item", text);
      return iso_hint(err, ISO_EINVAL, "write for example 5m,600MiB or wall=5m,energy=2kJ");
    }
    ISO_TRY(parse_item(item, &b, err));
    p += n;
    if (!*p) break;
  }
  *out = b;
  return ISO_OK;
}

// The shortest decimal that reads back as v.
static void print_exact(iso_str *s, double v) {
  char buf[40];
  for (int digits = 1; digits <= 17; digits++) {
    (void)snprintf(buf, sizeof buf, "%.*g", digits, v);
    if (strtod(buf, NULL) == v) break;
  }
  if (v == floor(v) && v < 1e7) (void)snprintf(buf, sizeof buf, "%.0f", v);
  char *plus = strstr(buf, "e+");  // 5e+17 reads better as 5e17, 2e+09 as 2e9
  if (plus) memmove(plus + 1, plus + (plus[2] == '0' ? 3 : 2), strlen(plus + (plus[2] == '0' ? 3 : 2)) + 1);
  iso_str_add(s, buf);
}

static void print_limit(iso_str *s, double v, iso_unit u) {
  static const struct {
    const char *name;
    double scale;
  } BYTES[] = {{"TiB", 0x1p40}, {"GiB", 0x1p30}, {"MiB", 0x1p20}, {"KiB", 0x1p10}, {"B", 1}};
  static const char *const SUFFIX[] = {[ISO_UNIT_FLOP] = "flop", [ISO_UNIT_S] = "s",     [ISO_UNIT_BYTE] = "B",  [ISO_UNIT_JOULE] = "J",
                                       [ISO_UNIT_GRAM] = "g",    [ISO_UNIT_USD] = "usd", [ISO_UNIT_TOK] = "tok", [ISO_UNIT_COUNT] = ""};
  if (u != ISO_UNIT_BYTE) {
    print_exact(s, v);
    iso_str_add(s, SUFFIX[u]);
    return;
  }
  size_t i = 0;
  while (i < ISO_COUNT(BYTES) - 1 && fmod(v, BYTES[i].scale) != 0) i++;
  print_exact(s, v / BYTES[i].scale);
  iso_str_add(s, BYTES[i].name);
}

void iso_budget_print(const iso_budget *b, iso_str *s) {
  size_t start = s->n;
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    double v = iso_budget_get(b, (iso_res)r);
    if (!(v < INFINITY)) continue;
    iso_str_fmt(s, "%s%s=", s->n > start ? "," : "", iso_res_get((iso_res)r)->name);
    print_limit(s, v, iso_res_get((iso_res)r)->unit);
  }
  if (s->n == start) iso_str_add(s, "none");
}

json_t *iso_budget_json(const iso_budget *b) {
  json_t *o = json_object();
  for (int r = 0; o && r < ISO_RES_COUNT; r++) {
    double v = iso_budget_get(b, (iso_res)r);
    if (v < INFINITY && json_object_set_new(o, iso_res_get((iso_res)r)->name, json_real(v)) != 0) {
      json_decref(o);
      return NULL;
    }
  }
  return o;
}

static iso_status each_key(const json_t *j, const char *what, iso_err *err) {
  const char *keys[ISO_RES_COUNT + 1] = {NULL};
  for (int r = 0; r < ISO_RES_COUNT; r++) keys[r] = iso_res_get((iso_res)r)->name;
  return iso_json_only_keys(j, what, keys, err);
}

iso_status iso_budget_from_json(const json_t *j, const char *what, iso_budget *out, iso_err *err) {
  iso_budget b = iso_budget_none();
  ISO_TRY(each_key(j, what, err));
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    const iso_res_info *info = iso_res_get((iso_res)r);
    const json_t *v = json_object_get(j, info->name);
    double x;
    if (!v || json_is_null(v)) continue;
    if (json_is_string(v)) {
      iso_status st = iso_unit_parse(json_string_value(v), info->unit, &x, err);
      if (st != ISO_OK) return iso_err_prefix(err, st, "%s: \"%s\"", what, info->name);
    } else if (json_is_number(v)) {
      x = json_number_value(v);
    } else {
      return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" must be a number, or a string such as \"5m\"", what, info->name);
    }
    if (!(x > 0) || !isfinite(x)) return iso_fail(err, ISO_EINVAL, "%s: \"%s\": a limit must be more than zero and finite", what, info->name);
    *iso_budget_at(&b, (iso_res)r) = x;
  }
  *out = b;
  return ISO_OK;
}

static json_t *est_json(iso_est e) {
  if (e.lo == e.hi && isfinite(e.mean)) return json_real(e.mean);
  if (isnan(e.mean)) return json_null();
  json_t *a = json_array();
  if (a && (json_array_append_new(a, iso_json_num(e.lo)) != 0 || json_array_append_new(a, iso_json_num(e.mean)) != 0 ||
            json_array_append_new(a, iso_json_num(e.hi)) != 0)) {
    json_decref(a);
    return NULL;
  }
  return a;
}

json_t *iso_cost_json(const iso_cost *c) {
  json_t *o = json_object();
  for (int r = 0; o && r < ISO_RES_COUNT; r++)
    if (json_object_set_new(o, iso_res_get((iso_res)r)->name, est_json(iso_cost_get(c, (iso_res)r))) != 0) {
      json_decref(o);
      return NULL;
    }
  return o;
}

// A number, or NaN for null; false for anything else.
static bool number_or_null(const json_t *v, double *out) {
  *out = json_is_number(v) ? json_number_value(v) : NAN;
  return json_is_number(v) || json_is_null(v);
}

iso_status iso_cost_from_json(const json_t *j, const char *what, iso_cost *out, iso_err *err) {
  iso_cost c = iso_cost_unknown();
  ISO_TRY(each_key(j, what, err));
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    const char *name = iso_res_get((iso_res)r)->name;
    const json_t *v = json_object_get(j, name);
    iso_est *e = iso_cost_at(&c, (iso_res)r);
    double x;
    if (!v) continue;
    if (number_or_null(v, &x)) {
      *e = iso_est_exact(x);
    } else if (!json_is_array(v) || json_array_size(v) != 3 || !number_or_null(json_array_get(v, 0), &e->lo) ||
               !number_or_null(json_array_get(v, 1), &e->mean) || !number_or_null(json_array_get(v, 2), &e->hi)) {
      return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" must be a number, null or [low, mean, high]", what, name);
    }
    if (e->lo > e->mean || e->mean > e->hi || e->lo > e->hi)
      return iso_fail(err, ISO_EFORMAT, "%s: \"%s\": low, mean and high are out of order", what, name);
  }
  *out = c;
  return ISO_OK;
}
