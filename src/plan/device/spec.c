// The list of descriptors, finding one by name, and descriptors as JSON.
#include "plan/device/spec.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "base/str.h"

static const struct {
  const char *name;
  double bytes;
} NUMS[ISO_NUM_COUNT] = {
#define X(name, bytes, help) {#name, bytes},
#include "plan/device/nums.def"
#undef X
};

const char *iso_num_name(iso_num t) { return NUMS[t].name; }
double iso_num_bytes(iso_num t) { return NUMS[t].bytes; }

iso_status iso_num_find(const char *name, iso_num *out, iso_err *err) {
  const char *best = NUMS[0].name;
  iso_str s = {0};
  for (int i = 0; i < ISO_NUM_COUNT; i++) {
    if (strcmp(NUMS[i].name, name) == 0) {
      *out = (iso_num)i;
      iso_str_free(&s);
      return ISO_OK;
    }
    iso_str_fmt(&s, "%s%s", i ? ", " : "", NUMS[i].name);
    if (iso_str_distance(name, NUMS[i].name) < iso_str_distance(name, best)) best = NUMS[i].name;
  }
  iso_fail(err, ISO_EINVAL, "unknown number class \"%.20s\"; known: %s", name, s.p ? s.p : "");
  iso_str_free(&s);
  return iso_str_near(best, name) ? iso_hint(err, ISO_EINVAL, "did you mean \"%s\"?", best) : ISO_EINVAL;
}

// ---- the list -------------------------------------------------------------------------------------------------------

static const iso_device_spec DEVICES[] = {
#define DEVICE(...) {__VA_ARGS__},
#include "plan/device/devices.def"
#undef DEVICE
};

// Numbers and texts of a descriptor by their JSON keys; "required" ones have no sensible absence.
static const struct {
  const char *key;
  size_t at;
  bool required;
} NUMBERS[] = {{"mem_b", offsetof(iso_device_spec, mem_b), true},
               {"mem_b_s", offsetof(iso_device_spec, mem_b_s), true},
               {"cache_b", offsetof(iso_device_spec, cache_b), false},
               {"tdp_w", offsetof(iso_device_spec, tdp_w), false},
               {"usd_h", offsetof(iso_device_spec, usd_h), false},
               {"idle_w", offsetof(iso_device_spec, idle_w), false},
               {"prefill_w", offsetof(iso_device_spec, prefill_w), false},
               {"decode_w", offsetof(iso_device_spec, decode_w), false},
               {"host_mem_b", offsetof(iso_device_spec, host_mem_b), false},
               {"host_mem_b_s", offsetof(iso_device_spec, host_mem_b_s), false},
               {"host_w", offsetof(iso_device_spec, host_w), false}};
static const struct {
  const char *key;
  size_t at, n;
  bool required;
} TEXTS[] = {
#define T(name, required) \
  { #name, offsetof(iso_device_spec, name), sizeof(((iso_device_spec *)0)->name), required }
    T(name, true),  T(aliases, false),      T(vendor, false),     T(kind, false),         T(source, true),       T(date, true),
    T(note, false), T(price_source, false), T(price_date, false), T(power_source, false), T(host_source, false),
#undef T
};
static const struct {
  const char *key;
  size_t at;
} LINKS[] = {{"intra", offsetof(iso_device_spec, intra)}, {"inter", offsetof(iso_device_spec, inter)}, {"host", offsetof(iso_device_spec, host)}};

static double *number_at(iso_device_spec *s, size_t i) { return (double *)(void *)((char *)s + NUMBERS[i].at); }
static iso_device_link *link_at(iso_device_spec *s, size_t i) { return (iso_device_link *)(void *)((char *)s + LINKS[i].at); }

iso_device_spec iso_device_spec_blank(void) {
  iso_device_spec s;
  memset(&s, 0, sizeof s);
  for (size_t i = 0; i < ISO_COUNT(NUMBERS); i++) *number_at(&s, i) = NAN;
  for (int i = 0; i < ISO_NUM_COUNT; i++) s.peak_flop_s[i] = NAN;
  for (size_t i = 0; i < ISO_COUNT(LINKS); i++) link_at(&s, i)->b_s = link_at(&s, i)->latency_s = NAN;
  return s;
}

int64_t iso_device_spec_count(void) { return (int64_t)ISO_COUNT(DEVICES); }

// In the table an absent number is 0; everywhere else it is NaN.
static void absent(double *v) {
  if (*v == 0) *v = NAN;
}

iso_device_spec iso_device_spec_at(int64_t i) {
  iso_device_spec s = DEVICES[i];
  for (size_t k = 0; k < ISO_COUNT(NUMBERS); k++) absent(number_at(&s, k));
  for (int k = 0; k < ISO_NUM_COUNT; k++) absent(&s.peak_flop_s[k]);
  for (size_t k = 0; k < ISO_COUNT(LINKS); k++) {
    absent(&link_at(&s, k)->b_s);
    absent(&link_at(&s, k)->latency_s);
  }
  return s;
}

// Lower case, blanks and underscores as hyphens, cut to n - 1 characters.
static void plain(const char *from, size_t len, char *to, size_t n) {
  size_t i = 0;
  for (; i < len && i + 1 < n; i++) to[i] = from[i] == ' ' || from[i] == '_' ? '-' : (char)tolower((unsigned char)from[i]);
  to[i] = 0;
}

// The distance of `name` to the nearest of a device's names; 0: it is one.
static int distance(const iso_device_spec *s, const char *name) {
  char want[40], word[40];
  plain(name, strlen(name), want, sizeof want);
  plain(s->name, strlen(s->name), word, sizeof word);
  int best = iso_str_distance(want, word);
  for (const char *p = s->aliases; *p;) {
    size_t n = strcspn(p, " ");
    plain(p, n, word, sizeof word);
    int d = iso_str_distance(want, word);
    if (d < best) best = d;
    p += n;
    p += strspn(p, " ");
  }
  return best;
}

bool iso_device_spec_is(const iso_device_spec *s, const char *name) { return distance(s, name) == 0; }

iso_status iso_device_spec_find(const char *name, iso_device_spec *out, iso_err *err) {
  size_t best = 0;
  iso_str names = {0};
  for (size_t i = 0; i < ISO_COUNT(DEVICES); i++) {
    if (distance(&DEVICES[i], name) < distance(&DEVICES[best], name)) best = i;
    iso_str_fmt(&names, "%s%s", i ? ", " : "", DEVICES[i].name);
  }
  int d = distance(&DEVICES[best], name);
  if (d == 0)
    *out = iso_device_spec_at((int64_t)best);
  else {
    iso_fail(err, ISO_EINVAL, "unknown device \"%.40s\"; known: %s", name, names.p ? names.p : "");
    if (3 * d <= (int)strlen(name) + 1 || d == 1)
      iso_hint(err, ISO_EINVAL, "did you mean \"%s\"?", DEVICES[best].name);
    else
      iso_hint(err, ISO_EINVAL, "isoflop hw list shows them; hw add describes another");
  }
  iso_str_free(&names);
  return d == 0 ? ISO_OK : ISO_EINVAL;
}

static bool good_name(const char *s) { return *s && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-+.") == strlen(s) && *s != '.' && *s != '-'; }

iso_status iso_device_spec_from_hw(const iso_hw *hw, const char *name, iso_device_spec *out, iso_err *err) {
  iso_device_spec s = iso_device_spec_blank();
  plain(name, strlen(name), s.name, sizeof s.name);
  if (!good_name(s.name) || strlen(name) >= sizeof s.name)
    return iso_fail(err, ISO_EINVAL, "device name \"%.40s\": 1 to %zu of a-z, 0-9, -, + and .", name, sizeof s.name - 1);
  (void)snprintf(s.vendor, sizeof s.vendor, "%s", hw->vendor);
  (void)snprintf(s.kind, sizeof s.kind, "cpu");
  (void)snprintf(s.source, sizeof s.source, "isoflop calibrate on %s (%s), id %s", hw->name, hw->model_name, hw->id);
  (void)snprintf(s.date, sizeof s.date, "%.15s", hw->date);
  (void)snprintf(s.note, sizeof s.note, "%lld threads; peaks are the best matrix products seen, power is a model", (long long)hw->threads);
  s.units = hw->threads;
  s.peak_flop_s[ISO_NUM_f32] = hw->gemm_f32_flop_s;
  s.peak_flop_s[ISO_NUM_bf16] = hw->gemm_bf16_flop_s;
  s.peak_flop_s[ISO_NUM_int8] = hw->gemm_int8_op_s;
  s.mem_b = hw->ram_b;
  s.mem_b_s = hw->dram_b_s;
  s.cache_b = hw->l3_b;
  s.tdp_w = hw->idle_w + hw->core_w * (double)hw->threads;
  if (!(s.peak_flop_s[ISO_NUM_f32] > 0 && s.mem_b_s > 0 && s.mem_b > 0)) {
    iso_fail(err, ISO_EINVAL, "the calibration of %s (%s) lacks products, memory or its bandwidth", hw->name, hw->id);
    return iso_hint(err, ISO_EINVAL, "run: isoflop calibrate");
  }
  *out = s;
  return ISO_OK;
}

// ---- estimates ------------------------------------------------------------------------------------------------------

double iso_device_spec_peak16(const iso_device_spec *s, iso_num *t) {
  static const iso_num ORDER[] = {ISO_NUM_bf16, ISO_NUM_f16, ISO_NUM_tf32, ISO_NUM_f32, ISO_NUM_f64};
  for (size_t i = 0; i < ISO_COUNT(ORDER); i++) {
    if (!(s->peak_flop_s[ORDER[i]] > 0)) continue;
    if (t) *t = ORDER[i];
    return s->peak_flop_s[ORDER[i]];
  }
  return NAN;
}

static void estimate(iso_device_estimates *e, double *to, double value, const char *key, const char *rule) {
  if (isfinite(*to) || isnan(value)) return;
  *to = value;
  if (e && e->n < ISO_DEVICE_ESTIMATES_MAX) e->at[e->n++] = (iso_device_estimate){key, value, rule};
}

static void estimate_links(iso_device_spec *s, iso_device_estimates *e) {
  estimate(e, &s->inter.b_s, 1.25e9, "inter.b_s", "a 10 Gb/s network");
  estimate(e, &s->inter.latency_s, 5e-6, "inter.latency_s", "5 us a step between hosts");
  // Without a link of its own a device is alone in its host.
  if (!isfinite(s->intra.b_s)) s->intra.devices = 1;
  estimate(e, &s->intra.b_s, s->inter.b_s, "intra.b_s", "as between hosts, one device a host");
  estimate(e, &s->intra.latency_s, fmin(1e-6, s->inter.latency_s), "intra.latency_s", "1 us a step inside a host");
  if (strcmp(s->kind, "cpu") == 0)
    estimate(e, &s->host.b_s, s->mem_b_s, "host.b_s", "its memory is the host's");
  else
    estimate(e, &s->host.b_s, 15.75e9, "host.b_s", "PCIe 3.0 x16");
}

iso_device_spec iso_device_spec_complete(const iso_device_spec *spec, iso_device_estimates *e) {
  iso_device_spec s = *spec;
  bool cpu = strcmp(s.kind, "cpu") == 0;
  if (e) e->n = 0;
  estimate_links(&s, e);
  estimate(e, &s.idle_w, 0.15 * s.tdp_w, "idle_w", "0.15 of the design power");
  estimate(e, &s.prefill_w, s.tdp_w, "prefill_w", "the design power");
  estimate(e, &s.decode_w, 0.6 * s.tdp_w, "decode_w", "0.6 of the design power");
  // DGX A100, H100 and B200: 1.03, 0.82 and 0.79 of the design power of the devices.
  estimate(e, &s.host_w, (cpu ? 0.3 : 0.8) * s.tdp_w, "host_w", cpu ? "0.3 of the design power" : "0.8 of the design power");
  estimate(e, &s.host_mem_b, cpu ? s.mem_b : 2 * s.mem_b, "host_mem_b", cpu ? "its own memory" : "twice its own memory");
  estimate(e, &s.host_mem_b_s, cpu ? s.mem_b_s : 50e9, "host_mem_b_s", cpu ? "its own memory" : "two server CPUs for eight devices");
  return s;
}

json_t *iso_device_estimates_json(const iso_device_estimates *e) {
  json_t *a = json_array();
  for (int i = 0; i < e->n; i++)
    (void)json_array_append_new(
        a, json_pack("{s:s, s:f, s:s, s:s}", "key", e->at[i].key, "value", e->at[i].value, "rule", e->at[i].rule, "source", "model"));
  return a;
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

static json_t *link_json(const iso_device_link *l) {
  if (!l->name[0]) return json_null();
  return json_pack("{s:s, s:o, s:o, s:I}", "name", l->name, "b_s", iso_json_num(l->b_s), "latency_s", iso_json_num(l->latency_s), "devices",
                   (json_int_t)l->devices);
}

json_t *iso_device_spec_json(const iso_device_spec *s) {
  iso_device_spec copy = *s;
  json_t *o = json_object(), *peaks = json_object();
  int bad = !o || !peaks;
  for (size_t i = 0; i < ISO_COUNT(TEXTS); i++) bad |= json_object_set_new(o, TEXTS[i].key, json_string((const char *)s + TEXTS[i].at)) != 0;
  bad |= json_object_set_new(o, "units", json_integer(s->units)) != 0;
  for (int i = 0; i < ISO_NUM_COUNT; i++)
    if (isfinite(s->peak_flop_s[i])) bad |= json_object_set_new(peaks, iso_num_name((iso_num)i), json_real(s->peak_flop_s[i])) != 0;
  bad |= json_object_set_new(o, "peak_flop_s", peaks) != 0;
  for (size_t i = 0; i < ISO_COUNT(NUMBERS); i++) bad |= json_object_set_new(o, NUMBERS[i].key, iso_json_num(*number_at(&copy, i))) != 0;
  for (size_t i = 0; i < ISO_COUNT(LINKS); i++) bad |= json_object_set_new(o, LINKS[i].key, link_json(link_at(&copy, i))) != 0;
  if (!bad) return o;
  json_decref(o);
  return NULL;
}

static iso_status read_text(const json_t *j, size_t i, const char *what, iso_device_spec *s, iso_err *err) {
  const char *t;
  if (!json_object_get(j, TEXTS[i].key) && !TEXTS[i].required) return ISO_OK;
  ISO_TRY(iso_json_get_str(j, TEXTS[i].key, what, &t, err));
  if (strlen(t) >= TEXTS[i].n)
    return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" has %zu characters, at most %zu fit", what, TEXTS[i].key, strlen(t), TEXTS[i].n - 1);
  if (TEXTS[i].required && !*t) return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" is empty", what, TEXTS[i].key);
  memcpy((char *)s + TEXTS[i].at, t, strlen(t) + 1);
  return ISO_OK;
}

static iso_status read_number(const json_t *j, const char *key, const char *what, bool required, double *out, iso_err *err) {
  double v = NAN;
  if (required)
    ISO_TRY(iso_json_get_f64(j, key, what, &v, err));
  else
    ISO_TRY(iso_json_opt_f64(j, key, what, &v, err));
  if (isnan(v) && !required) return ISO_OK;
  if (!(v > 0 && v < INFINITY)) return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" is %g, must be a positive finite number", what, key, v);
  *out = v;
  return ISO_OK;
}

static iso_status read_link(const json_t *j, const char *key, const char *what, iso_device_link *l, iso_err *err) {
  static const char *const KEYS[] = {"name", "b_s", "latency_s", "devices", NULL};
  const json_t *o = json_object_get(j, key);
  char where[120];
  const char *name;
  if (!o || json_is_null(o)) return ISO_OK;
  (void)snprintf(where, sizeof where, "%.90s: \"%s\"", what, key);
  ISO_TRY(iso_json_only_keys(o, where, KEYS, err));
  ISO_TRY(iso_json_get_str(o, "name", where, &name, err));
  if (!*name || strlen(name) >= sizeof l->name)
    return iso_fail(err, ISO_EFORMAT, "%s: \"name\" must have 1 to %zu characters", where, sizeof l->name - 1);
  memcpy(l->name, name, strlen(name) + 1);
  ISO_TRY(read_number(o, "b_s", where, true, &l->b_s, err));
  ISO_TRY(read_number(o, "latency_s", where, false, &l->latency_s, err));
  return iso_json_opt_i64(o, "devices", where, 0, INT32_MAX, &l->devices, err);
}

static iso_status read_peaks(const json_t *j, const char *what, iso_device_spec *s, iso_err *err) {
  json_t *o = json_object_get(j, "peak_flop_s");
  const char *key;
  json_t *v;
  if (!json_is_object(o) || json_object_size(o) == 0)
    return iso_fail(err, ISO_EFORMAT, "%s: \"peak_flop_s\" must be an object with at least one number class, as in {\"bf16\": 312e12}", what);
  json_object_foreach(o, key, v) {
    iso_num t;
    iso_status st = iso_num_find(key, &t, err);
    if (st != ISO_OK) {
      if (err) err->status = ISO_EFORMAT;
      return iso_err_prefix(err, ISO_EFORMAT, "%s: \"peak_flop_s\"", what);
    }
    ISO_TRY(read_number(o, key, what, true, &s->peak_flop_s[t], err));
  }
  return ISO_OK;
}

iso_status iso_device_spec_from_json(const json_t *j, const char *what, iso_device_spec *out, iso_err *err) {
  iso_device_spec s = iso_device_spec_blank();
  const char *keys[ISO_COUNT(NUMBERS) + ISO_COUNT(TEXTS) + ISO_COUNT(LINKS) + 3] = {0};
  size_t n = 0;
  for (size_t i = 0; i < ISO_COUNT(NUMBERS); i++) keys[n++] = NUMBERS[i].key;
  for (size_t i = 0; i < ISO_COUNT(TEXTS); i++) keys[n++] = TEXTS[i].key;
  for (size_t i = 0; i < ISO_COUNT(LINKS); i++) keys[n++] = LINKS[i].key;
  keys[n++] = "units";
  keys[n++] = "peak_flop_s";
  ISO_TRY(iso_json_only_keys(j, what, keys, err));
  for (size_t i = 0; i < ISO_COUNT(TEXTS); i++) ISO_TRY(read_text(j, i, what, &s, err));
  if (!good_name(s.name))
    return iso_fail(err, ISO_EFORMAT, "%s: \"name\" is \"%s\", expected a-z, 0-9, -, + and . that starts with a letter or digit", what, s.name);
  ISO_TRY(iso_json_opt_i64(j, "units", what, 0, INT32_MAX, &s.units, err));
  ISO_TRY(read_peaks(j, what, &s, err));
  for (size_t i = 0; i < ISO_COUNT(NUMBERS); i++) ISO_TRY(read_number(j, NUMBERS[i].key, what, NUMBERS[i].required, number_at(&s, i), err));
  for (size_t i = 0; i < ISO_COUNT(LINKS); i++) ISO_TRY(read_link(j, LINKS[i].key, what, link_at(&s, i), err));
  *out = s;
  return ISO_OK;
}
