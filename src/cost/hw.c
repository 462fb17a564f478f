// Detecting this machine, its identity and power estimate, and keeping descriptors as JSON files.
#include "cost/hw.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"

// Thermal design power over cores of a common part of each family; TDPs from codecarbon's cpu_power.csv (mlco2/codecarbon, 2026-08),
// core counts from the makers' data sheets. An estimate: the part in the machine, its clock and its neighbours are not known.
typedef struct power_row {
  const char *vendor, *name;
  int64_t family, model_lo, model_hi;
  double tdp_w, cores;
} power_row;
static const power_row POWER[] = {
    {"GenuineIntel", "xeon-8592+", 6, 207, 207, 350, 64}, {"GenuineIntel", "xeon-8480+", 6, 143, 143, 350, 56},
    {"GenuineIntel", "xeon-8380", 6, 106, 106, 270, 40},  {"GenuineIntel", "xeon-8280", 6, 85, 85, 205, 28},
    {"AuthenticAMD", "epyc-9755", 26, 0, 31, 500, 128},   {"AuthenticAMD", "ryzen-9950x", 26, 64, 79, 170, 16},
    {"AuthenticAMD", "epyc-9654", 25, 16, 31, 360, 96},   {"AuthenticAMD", "epyc-7763", 25, 0, 15, 280, 64},
    {"AuthenticAMD", "epyc-7742", 23, 48, 63, 225, 64},
};
// A core where nothing is known: between the server rows above (3.5 to 7.3 W) and desktops.
static const power_row GENERIC = {"", "generic-6w-core", 0, 0, 0, 6, 1};
// Share of the design power drawn when idle; servers in SPECpower_ssj2008 listings idle at about a fifth to a third of full load.
static const double IDLE_SHARE = 0.25;

static const char *const ISA[] = {"sse4_2",   "avx",      "avx2",     "fma",         "f16c",        "bmi2",        "avx_vnni", "avx512f",
                                  "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8",
                                  "amx_bf16", "asimd",    "asimddp",  "bf16",        "i8mm",        "sve"};

// Every number of the descriptor by its JSON key.
static const struct {
  const char *key;
  size_t at;
} NUMBERS[] = {
#define F(name) \
  { #name, offsetof(iso_hw, name) }
    F(peak_f32_flop_s),
    F(peak_bf16_flop_s),
    F(peak_int8_op_s),
    F(gemm_f32_flop_s),
    F(gemm_bf16_flop_s),
    F(gemm_int8_op_s),
    F(l1_b_s),
    F(l2_b_s),
    F(l3_b_s),
    F(dram_b_s),
    F(l1_b),
    F(l2_b),
    F(l3_b),
    F(ram_b),
    F(idle_w),
    F(core_w),
#undef F
};
static const struct {
  const char *key;
  size_t at, n;
} STRINGS[] = {
#define F(name) \
  { #name, offsetof(iso_hw, name), sizeof(((iso_hw *)0)->name) }
    F(id), F(name), F(source), F(date), F(vendor), F(model_name), F(isa), F(energy_source),
#undef F
};
static const struct {
  const char *key;
  size_t at;
} INTS[] = {{"family", offsetof(iso_hw, family)},
            {"model", offsetof(iso_hw, model)},
            {"stepping", offsetof(iso_hw, stepping)},
            {"threads", offsetof(iso_hw, threads)}};

static double *num_at(iso_hw *h, size_t i) { return (double *)(void *)((char *)h + NUMBERS[i].at); }

iso_hw iso_hw_blank(void) {
  iso_hw h;
  memset(&h, 0, sizeof h);
  for (size_t i = 0; i < ISO_COUNT(NUMBERS); i++) *num_at(&h, i) = NAN;
  return h;
}

// The value of the first line "key<spaces>: value"; false when there is none.
static bool field(const char *text, const char *key, char *buf, size_t n) {
  size_t k = strlen(key);
  for (const char *p = text; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
    if (strncmp(p, key, k) != 0) continue;
    const char *c = p + k + strspn(p + k, " \t");
    if (*c != ':') continue;
    c += 1 + strspn(c + 1, " \t");
    (void)snprintf(buf, n, "%.*s", (int)strcspn(c, "\n"), c);
    return true;
  }
  return false;
}

static int64_t field_int(const char *text, const char *key) {
  char buf[32];
  return field(text, key, buf, sizeof buf) ? strtoll(buf, NULL, 0) : 0;
}

static bool has_word(const char *words, const char *w) {
  size_t n = strlen(w);
  for (const char *p = strstr(words, w); p; p = strstr(p + 1, w))
    if ((p == words || p[-1] == ' ') && (p[n] == ' ' || p[n] == 0)) return true;
  return false;
}

static void set_power(iso_hw *h) {
  const power_row *row = &GENERIC;
  for (size_t i = 0; i < ISO_COUNT(POWER); i++)
    if (strcmp(POWER[i].vendor, h->vendor) == 0 && POWER[i].family == h->family && h->model >= POWER[i].model_lo && h->model <= POWER[i].model_hi)
      row = &POWER[i];
  double w = row->tdp_w / row->cores;  // a hardware thread is taken for a core: in virtual machines the difference does not show
  h->idle_w = IDLE_SHARE * w * (double)h->threads;
  h->core_w = (1 - IDLE_SHARE) * w;
  (void)snprintf(h->energy_source, sizeof h->energy_source, "model:%s", row->name);
}

static void set_id(iso_hw *h) {
  char nums[96];
  (void)snprintf(nums, sizeof nums, "%lld/%lld/%lld/%lld", (long long)h->family, (long long)h->model, (long long)h->stepping, (long long)h->threads);
  uint64_t v = iso_hash(ISO_HASH_SEED, h->vendor, strlen(h->vendor));
  v = iso_hash(v, nums, strlen(nums));
  v = iso_hash(v, h->model_name, strlen(h->model_name));
  v = iso_hash(v, h->isa, strlen(h->isa));
  (void)snprintf(h->id, sizeof h->id, "%016llx", (unsigned long long)v);
}

iso_status iso_hw_from_cpuinfo(const char *text, int threads, iso_hw *out, iso_err *err) {
  iso_hw h = iso_hw_blank();
  char *flags = malloc(1 << 14);
  if (!flags) return iso_fail(err, ISO_ENOMEM, "hardware: no memory");
  flags[0] = 0;
  h.threads = threads;
  if (field(text, "vendor_id", h.vendor, sizeof h.vendor)) {
    h.family = field_int(text, "cpu family");
    h.model = field_int(text, "model");
    h.stepping = field_int(text, "stepping");
    (void)field(text, "flags", flags, 1 << 14);
  } else if (field(text, "CPU implementer", h.vendor, sizeof h.vendor)) {  // arm64
    h.family = field_int(text, "CPU implementer");
    h.model = field_int(text, "CPU part");
    h.stepping = field_int(text, "CPU revision");
    (void)field(text, "Features", flags, 1 << 14);
  } else {
    (void)snprintf(h.vendor, sizeof h.vendor, "unknown");
  }
  if (!field(text, "model name", h.model_name, sizeof h.model_name))
    (void)snprintf(h.model_name, sizeof h.model_name, "%s %lld/%lld", h.vendor, (long long)h.family, (long long)h.model);
  size_t n = 0;
  for (size_t i = 0; i < ISO_COUNT(ISA); i++)
    if (has_word(flags, ISA[i]) && n + strlen(ISA[i]) + 2 < sizeof h.isa)
      n += (size_t)snprintf(h.isa + n, sizeof h.isa - n, "%s%s", n ? " " : "", ISA[i]);
  free(flags);
  (void)snprintf(h.name, sizeof h.name, "%.50s x%d", h.model_name, threads);
  (void)snprintf(h.source, sizeof h.source, "detected");
  set_power(&h);
  set_id(&h);
  *out = h;
  return ISO_OK;
}

// A small file's first number with an optional K or M; NaN when unreadable.
static double sys_number(const char *path) {
  FILE *f = fopen(path, "re");
  double v = NAN;
  char unit = 0;
  if (!f) return NAN;
  int k = fscanf(f, "%lf%c", &v, &unit);
  fclose(f);
  if (k < 1) return NAN;
  return v * (k == 2 && unit == 'K' ? 0x1p10 : k == 2 && unit == 'M' ? 0x1p20 : 1);
}

static void set_sizes(iso_hw *h) {
  for (int i = 0; i < 8; i++) {
    char path[96], type[16] = "";
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/type", i);
    FILE *f = fopen(path, "re");
    if (!f) break;
    if (fscanf(f, "%15s", type) != 1) type[0] = 0;
    fclose(f);
    if (strcmp(type, "Instruction") == 0) continue;
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/level", i);
    double level = sys_number(path);
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
    double *at = level == 1 ? &h->l1_b : level == 2 ? &h->l2_b : level == 3 ? &h->l3_b : NULL;
    if (at) *at = sys_number(path);
  }
  double cap = sys_number("/sys/fs/cgroup/memory.max");  // "max" reads as NaN
  h->ram_b = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
  if (cap < h->ram_b) h->ram_b = cap;
}

iso_status iso_hw_detect(int threads, iso_hw *out, iso_err *err) {
  char *text;
  size_t n;
  ISO_TRY(iso_file_get("/proc/cpuinfo", 64 << 20, &text, &n, err));
  iso_status st = iso_hw_from_cpuinfo(text, threads > 0 ? threads : iso_ctx_default_threads(), out, err);
  free(text);
  if (st != ISO_OK) return st;
  set_sizes(out);
  time_t now = time(NULL);
  struct tm tm;
  gmtime_r(&now, &tm);
  if (strftime(out->date, sizeof out->date, "%Y-%m-%d", &tm) == 0) out->date[0] = 0;
  return ISO_OK;
}

double iso_hw_energy_j(const iso_hw *hw, double wall_s, double cpu_s) { return hw->idle_w * wall_s + hw->core_w * cpu_s; }

json_t *iso_hw_json(const iso_hw *hw) {
  json_t *o = json_object();
  int bad = o ? 0 : 1;
  for (size_t i = 0; o && i < ISO_COUNT(STRINGS); i++) {
    const char *s = (const char *)hw + STRINGS[i].at;
    json_t *v = json_string(s);  // NULL when the operating system gave something that is not UTF-8
    bad |= json_object_set_new(o, STRINGS[i].key, v ? v : json_string("?")) != 0;
  }
  for (size_t i = 0; o && i < ISO_COUNT(INTS); i++) {
    int64_t v;
    memcpy(&v, (const char *)hw + INTS[i].at, sizeof v);
    bad |= json_object_set_new(o, INTS[i].key, json_integer(v)) != 0;
  }
  for (size_t i = 0; o && i < ISO_COUNT(NUMBERS); i++) {
    double v;
    memcpy(&v, (const char *)hw + NUMBERS[i].at, sizeof v);
    bad |= json_object_set_new(o, NUMBERS[i].key, iso_json_num(v)) != 0;
  }
  if (!bad) return o;
  json_decref(o);
  return NULL;
}

iso_status iso_hw_from_json(const json_t *j, const char *what, iso_hw *out, iso_err *err) {
  iso_hw h = iso_hw_blank();
  if (!json_is_object(j)) return iso_fail(err, ISO_EFORMAT, "%s: must be a JSON object", what);
  for (size_t i = 0; i < ISO_COUNT(STRINGS); i++) {
    const char *s;
    ISO_TRY(iso_json_get_str(j, STRINGS[i].key, what, &s, err));
    if (strlen(s) >= STRINGS[i].n)
      return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" has %zu characters, at most %zu fit", what, STRINGS[i].key, strlen(s), STRINGS[i].n - 1);
    memcpy((char *)&h + STRINGS[i].at, s, strlen(s) + 1);
  }
  for (size_t i = 0; i < ISO_COUNT(INTS); i++) {
    int64_t v = 0;
    ISO_TRY(iso_json_get_i64(j, INTS[i].key, what, 0, INT32_MAX, &v, err));
    memcpy((char *)&h + INTS[i].at, &v, sizeof v);
  }
  for (size_t i = 0; i < ISO_COUNT(NUMBERS); i++) {
    ISO_TRY(iso_json_opt_f64(j, NUMBERS[i].key, what, num_at(&h, i), err));
    if (*num_at(&h, i) < 0) return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" is negative", what, NUMBERS[i].key);
  }
  if (h.threads < 1) return iso_fail(err, ISO_EFORMAT, "%s: \"threads\" must be at least 1", what);
  *out = h;
  return ISO_OK;
}

iso_status iso_hw_path(const char *id, char *buf, size_t n, iso_err *err) {
  char dir[4096];
  if (!*id || strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != strlen(id))
    return iso_fail(err, ISO_EINVAL, "hardware id \"%.40s\": letters, digits, - and _ only", id);
  ISO_TRY(iso_home_path("hw", dir, sizeof dir, err));
  ISO_TRY(iso_mkdirs(dir, err));
  int k = snprintf(buf, n, "%s/%s.json", dir, id);
  if (k < 0 || (size_t)k >= n) return iso_fail(err, ISO_EINVAL, "the path of hardware %.40s is too long", id);
  return ISO_OK;
}

iso_status iso_hw_save(iso_ctx *c, const iso_hw *hw, iso_err *err) {
  char path[4200];
  ISO_TRY(iso_hw_path(hw->id, path, sizeof path, err));
  json_t *j = iso_hw_json(hw);
  if (!j) return iso_fail(err, ISO_ENOMEM, "%s: no memory", path);
  iso_status st = iso_json_save(c, path, j, err);
  json_decref(j);
  return st;
}

iso_status iso_hw_load(const char *id, iso_hw *out, iso_err *err) {
  char path[4200];
  json_t *j;
  ISO_TRY(iso_hw_path(id, path, sizeof path, err));
  iso_status st = iso_json_load(path, &j, err);
  if (st == ISO_EIO) return iso_hint(err, st, "run: isoflop calibrate");
  if (st == ISO_OK) {
    st = iso_hw_from_json(j, path, out, err);
    json_decref(j);
  }
  if (st == ISO_OK && strcmp(out->id, id) != 0) st = iso_fail(err, ISO_EFORMAT, "%s: describes %s, not %s", path, out->id, id);
  if (st == ISO_EFORMAT) iso_hint(err, st, "run isoflop calibrate again to replace it");
  return st;
}
