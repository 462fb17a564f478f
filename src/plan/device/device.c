// Devices: opening, saving, and the operators that planners ask for.
#include "plan/device/device.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static const char ENDING[] = ".device.json";

iso_status iso_device_new(const iso_device_spec *spec, iso_device **out, iso_err *err) {
  *out = calloc(1, sizeof **out);
  if (!*out) return iso_fail(err, ISO_ENOMEM, "device %s: no memory", spec->name);
  (*out)->spec = *spec;
  return ISO_OK;
}

const char *iso_device_cal_key(iso_device_cal c) { return c == ISO_DEVICE_CAL_layout ? "layout_calibration" : "serving_calibration"; }

void iso_device_set_cal(iso_device *d, iso_device_cal c, json_t *j) {
  json_decref(d->cal[c]);
  d->cal[c] = j;
}

static void drop_table(iso_device *d, iso_table_kind k) {
  if (!d->table[k]) return;
  iso_device_table_close(d->table[k]);
  free(d->table[k]);
  d->table[k] = NULL;
}

void iso_device_close(iso_device *d) {
  if (!d) return;
  for (int k = 0; k < ISO_TABLE_COUNT; k++) drop_table(d, (iso_table_kind)k);
  for (int k = 0; k < ISO_DEVICE_CAL_COUNT; k++) json_decref(d->cal[k]);
  free(d);
}

// Moves *t into the device, or closes it.
static iso_status put_table(iso_device *d, iso_device_table *t, iso_err *err) {
  iso_table_kind k = t->rows.kind;
  iso_device_table *own = malloc(sizeof *own);
  if (!own) {
    iso_device_table_close(t);
    return iso_fail(err, ISO_ENOMEM, "device %s: no memory for a table", d->spec.name);
  }
  *own = *t;
  drop_table(d, k);
  d->table[k] = own;
  return ISO_OK;
}

iso_status iso_device_fit(iso_pool *pool, iso_device *d, const iso_rows *rows, iso_num t, const char *what, iso_err *err) {
  iso_device_table tab;
  ISO_TRY(iso_device_table_fit(pool, &d->spec, rows, t, what, &tab, err));
  return put_table(d, &tab, err);
}

// ---- files ----------------------------------------------------------------------------------------------------------

json_t *iso_device_json(const iso_device *d) {
  json_t *o = iso_device_spec_json(&d->spec), *tables = json_array();
  bool bad = !o || !tables;
  for (int k = 0; k < ISO_TABLE_COUNT; k++)
    if (d->table[k]) bad |= json_array_append_new(tables, iso_device_table_json(d->table[k])) != 0;
  bad |= json_object_set_new(o, "tables", tables) != 0;
  for (int k = 0; k < ISO_DEVICE_CAL_COUNT; k++)
    if (d->cal[k]) bad |= json_object_set(o, iso_device_cal_key((iso_device_cal)k), d->cal[k]) != 0;
  if (!bad) return o;
  json_decref(o);
  return NULL;
}

static iso_status read_tables(const json_t *tables, const char *what, iso_device *d, iso_err *err) {
  for (size_t i = 0; i < json_array_size(tables); i++) {
    char where[200];
    iso_device_table t;
    (void)snprintf(where, sizeof where, "%.150s: table %zu", what, i);
    ISO_TRY(iso_device_table_from_json(&d->spec, json_array_get(tables, i), where, &t, err));
    if (d->table[t.rows.kind]) {
      iso_status st = iso_fail(err, ISO_EFORMAT, "%s: a second table of %s", where, iso_table_name(t.rows.kind));
      iso_device_table_close(&t);
      return st;
    }
    ISO_TRY(put_table(d, &t, err));
  }
  return ISO_OK;
}

static iso_status read_cals(const json_t *j, const char *what, iso_device *d, iso_err *err) {
  for (int k = 0; k < ISO_DEVICE_CAL_COUNT; k++) {
    const char *key = iso_device_cal_key((iso_device_cal)k);
    json_t *c = json_object_get(j, key);
    if (c && !json_is_object(c)) return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" must be an object", what, key);
    if (c) iso_device_set_cal(d, (iso_device_cal)k, json_incref(c));
  }
  return ISO_OK;
}

iso_status iso_device_from_json(const json_t *j, const char *what, iso_device **out, iso_err *err) {
  *out = NULL;
  if (!json_is_object(j)) return iso_fail(err, ISO_EFORMAT, "%s: must be a JSON object", what);
  const json_t *tables = json_object_get(j, "tables");
  if (tables && !json_is_array(tables)) return iso_fail(err, ISO_EFORMAT, "%s: \"tables\" must be an array", what);
  json_t *rest = json_copy((json_t *)(uintptr_t)j);  // shallow
  iso_device_spec s;
  iso_device *d = NULL;
  if (!rest) return iso_fail(err, ISO_ENOMEM, "%s: no memory", what);
  (void)json_object_del(rest, "tables");
  (void)json_object_del(rest, "estimates");
  for (int k = 0; k < ISO_DEVICE_CAL_COUNT; k++) (void)json_object_del(rest, iso_device_cal_key((iso_device_cal)k));
  iso_status st = iso_device_spec_from_json(rest, what, &s, err);
  json_decref(rest);
  if (st == ISO_OK) st = iso_device_new(&s, &d, err);
  if (st == ISO_OK) st = read_tables(tables, what, d, err);
  if (st == ISO_OK) st = read_cals(j, what, d, err);
  if (st == ISO_OK)
    *out = d;
  else
    iso_device_close(d);
  return st;
}

static iso_status folder(char *buf, size_t n, iso_err *err) {
  ISO_TRY(iso_home_path("hw", buf, n, err));
  return iso_mkdirs(buf, err);
}

iso_status iso_device_path(const char *name, char *buf, size_t n, iso_err *err) {
  char dir[4096];
  if (!*name || *name == '.' || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-+.") != strlen(name))
    return iso_fail(err, ISO_EINVAL, "device name \"%.40s\": a-z, 0-9, -, + and . only", name);
  ISO_TRY(folder(dir, sizeof dir, err));
  int k = snprintf(buf, n, "%s/%s%s", dir, name, ENDING);
  if (k < 0 || (size_t)k >= n) return iso_fail(err, ISO_EINVAL, "the path of device %.40s is too long", name);
  return ISO_OK;
}

iso_status iso_device_save(iso_ctx *c, const iso_device *d, iso_err *err) {
  char path[4200];
  ISO_TRY(iso_device_path(d->spec.name, path, sizeof path, err));
  json_t *j = iso_device_json(d);
  if (!j) return iso_fail(err, ISO_ENOMEM, "%s: no memory", path);
  iso_status st = iso_json_save(c, path, j, err);
  json_decref(j);
  return st;
}

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

iso_status iso_device_saved(iso_arena *a, const char *const **names, int64_t *n, iso_err *err) {
  enum { MAX = 1000 };
  char dir[4096];
  const char **list = iso_arena_get(a, MAX * sizeof *list);
  *n = 0;
  *names = list;
  if (!list) return iso_fail(err, ISO_ENOMEM, "listing devices: no memory");
  ISO_TRY(folder(dir, sizeof dir, err));
  DIR *h = opendir(dir);
  if (!h) return iso_fail(err, ISO_EIO, "%s: cannot list", dir);
  for (struct dirent *e; (e = readdir(h)) != NULL && *n < MAX;) {
    size_t len = strlen(e->d_name), end = sizeof ENDING - 1;
    if (len <= end || strcmp(e->d_name + len - end, ENDING) != 0) continue;
    char *s = iso_arena_str(a, e->d_name);
    if (!s) break;
    s[len - end] = 0;
    list[(*n)++] = s;
  }
  closedir(h);
  qsort(list, (size_t)*n, sizeof *list, by_name);
  return ISO_OK;
}

static iso_status open_file(const char *path, iso_device **out, iso_err *err) {
  json_t *j;
  ISO_TRY(iso_json_load(path, &j, err));
  iso_status st = iso_device_from_json(j, path, out, err);
  json_decref(j);
  return st;
}

static bool is_path(const char *s) {
  size_t n = strlen(s);
  return strchr(s, '/') || (n > 5 && strcmp(s + n - 5, ".json") == 0);
}

iso_status iso_device_open(const char *name, iso_device **out, iso_err *err) {
  char path[4200];
  iso_device_spec s;
  iso_err none = {0};
  *out = NULL;
  if (is_path(name)) return open_file(name, out, err);
  bool known = iso_device_spec_find(name, &s, &none) == ISO_OK;
  // A saved device shadows the compiled-in one, whichever of its names is given; a saved name that no list knows stands for itself.
  for (int pass = 0; pass < 2; pass++) {
    const char *file = pass == 0 ? name : known ? s.name : NULL;
    if (!file || iso_device_path(file, path, sizeof path, &none) != ISO_OK || !iso_file_exists(path)) continue;
    iso_status st = open_file(path, out, err);
    return st == ISO_EFORMAT ? iso_hint(err, st, "remove the file, or fit the device again") : st;
  }
  ISO_TRY(iso_device_spec_find(name, &s, err));
  return iso_device_new(&s, out, err);
}

// ---- operators ------------------------------------------------------------------------------------------------------

bool iso_device_has_collective(const iso_device *d, iso_coll op) {
  const iso_device_table *t = d->table[ISO_TABLE_collective];
  return t && !isnan(iso_prior_s(&t->prior, ISO_TABLE_collective, (double[]){(double)op, 2, 1}, &(iso_work){0}));
}

static iso_status time_of(const iso_device *d, iso_table_kind k, const double *shape, iso_num t, iso_time *out, iso_err *err) {
  const iso_device_table *tab = d->table[k];
  bool covered = k == ISO_TABLE_collective ? iso_device_has_collective(d, (iso_coll)shape[0]) : tab != NULL;
  return covered ? iso_device_table_time(tab, &d->spec, shape, t, out, err) : iso_device_model_time(&d->spec, k, shape, t, out, err);
}

iso_status iso_device_gemm_s(const iso_device *d, int64_t m, int64_t n, int64_t k, iso_num t, iso_time *out, iso_err *err) {
  return time_of(d, ISO_TABLE_gemm, (double[]){(double)m, (double)n, (double)k}, t, out, err);
}

iso_status iso_device_grouped_gemm_s(const iso_device *d, double groups, int64_t m, int64_t n, int64_t k, iso_num t, iso_time *out, iso_err *err) {
  if (!(groups > 0 && groups < INFINITY)) return iso_fail(err, ISO_EINVAL, "%g products in a group, expected a positive number", groups);
  ISO_TRY(iso_device_gemm_s(d, m, n, k, t, out, err));
  const iso_device_table *tab = d->table[ISO_TABLE_gemm];
  double fixed = fmin(tab ? tab->prior.p[0] : iso_prior_usual(ISO_TABLE_gemm).p[0], out->s.lo - out->floor_s);
  fixed = fmax(0, fixed) * (1 - groups);
  out->floor_s *= groups;
  out->s = (iso_est){groups * out->s.lo + fixed, groups * out->s.mean + fixed, groups * out->s.hi + fixed};
  return ISO_OK;
}

iso_status iso_device_prefill_s(const iso_device *d, int64_t batch, int64_t tokens, int64_t heads, int64_t kv_heads, int64_t head_dim, iso_num t,
                                iso_time *out, iso_err *err) {
  return time_of(d, ISO_TABLE_prefill, (double[]){(double)batch, (double)tokens, (double)heads, (double)kv_heads, (double)head_dim}, t, out, err);
}

iso_status iso_device_decode_s(const iso_device *d, int64_t batch, int64_t cached, int64_t heads, int64_t kv_heads, int64_t head_dim, iso_num t,
                               iso_time *out, iso_err *err) {
  return time_of(d, ISO_TABLE_decode, (double[]){(double)batch, (double)cached, (double)heads, (double)kv_heads, (double)head_dim}, t, out, err);
}

iso_status iso_device_collective_s(const iso_device *d, iso_coll op, int64_t gpus, double bytes, iso_time *out, iso_err *err) {
  if (gpus == 1) {
    *out = (iso_time){.s = iso_est_exact(0), .floor_s = 0, .basis = ISO_BASIS_model};
    return ISO_OK;
  }
  return time_of(d, ISO_TABLE_collective, (double[]){(double)op, (double)gpus, bytes}, ISO_NUM_bf16, out, err);
}
