// Work, rooflines and features of GEMM, attention and collectives.
#include "plan/device/model.h"

#include <math.h>
#include <string.h>

// ---- work -----------------------------------------------------------------------------------------------------------

static iso_status peak_of(const iso_device_spec *s, iso_num t, double *out, iso_err *err) {
  *out = s->peak_flop_s[t];
  if (*out > 0) return ISO_OK;
  iso_fail(err, ISO_EUNSUP, "%s has no peak for %s", s->name, iso_num_name(t));
  return iso_hint(err, ISO_EUNSUP, "isoflop hw show %s lists its number classes", s->name);
}

// Outputs are as wide as the operands down to 16 bits: products of narrower operands are written in 16 bits.
static double out_bytes(iso_num t) { return fmax(iso_num_bytes(t), 2); }

static void roofline(const iso_device_spec *s, double flop, double bytes, double peak, iso_work *w) {
  double cache = s->cache_b > 0 ? s->cache_b : 0;
  w->compute_s = flop / peak;
  w->memory_s = bytes / s->mem_b_s;
  w->floor_s = fmax(w->compute_s, fmax(bytes - cache, 0) / s->mem_b_s);
}

static void gemm_work(const iso_device_spec *s, const double *x, iso_num t, double peak, iso_work *w) {
  double m = x[0], n = x[1], k = x[2];
  roofline(s, 2 * m * n * k, iso_num_bytes(t) * (m * k + k * n) + out_bytes(t) * m * n, peak, w);
}

// Scores and values: 4 Hd FLOPs for every pair of a query and a key that it may see.
static void prefill_work(const iso_device_spec *s, const double *x, iso_num t, double peak, iso_work *w) {
  double b = x[0], tok = x[1], h = x[2], k = x[3], hd = x[4];
  roofline(s, 4 * b * h * hd * tok * (tok + 1) / 2, iso_num_bytes(t) * b * tok * hd * (h + 2 * k) + out_bytes(t) * b * tok * hd * h, peak, w);
}

static void decode_work(const iso_device_spec *s, const double *x, iso_num t, double peak, iso_work *w) {
  double b = x[0], seen = x[1] + 1, h = x[2], k = x[3], hd = x[4];
  roofline(s, 4 * b * h * hd * seen, iso_num_bytes(t) * b * hd * (h + 2 * k * seen) + out_bytes(t) * b * hd * h, peak, w);
}

// Steps of a collective, one after another: a ring's g - 1 up to eight devices, beyond them two more for every doubling (the double binary
// trees of NCCL since 2.4).
static double steps(double g) { return g <= 8 ? g - 1 : 7 + 2 * log2(g / 8); }

// Every device sends (g - 1) / g of the buffer, twice for all_reduce (bandwidth-optimal algorithms, Patarasuk and Yuan 2009,
// doi 10.1016/j.jpdc.2008.09.002); switches that reduce (NVLink SHARP) need it once.
static iso_status collective_work(const iso_device_spec *s, const double *x, iso_work *w, iso_err *err) {
  double g = x[1], part = (g - 1) / g;
  const iso_device_link *l = s->intra.devices == 0 || g <= (double)s->intra.devices ? &s->intra : &s->inter;
  if (!(l->b_s > 0)) return iso_fail(err, ISO_EUNSUP, "%s has no link that joins %g devices", s->name, g);
  double wire = x[2] * part / l->b_s, step = l->latency_s > 0 ? l->latency_s : 1e-6;
  *w = (iso_work){.compute_s = step * steps(g), .memory_s = x[0] == ISO_COLL_all_reduce ? 2 * wire : wire, .floor_s = wire};
  return ISO_OK;
}

iso_status iso_model_work(const iso_device_spec *s, iso_table_kind k, const double *shape, iso_num t, iso_work *out, iso_err *err) {
  double peak;
  for (int i = k == ISO_TABLE_collective; i < iso_table_cols(k); i++)
    if (!(shape[i] > 0 && shape[i] < INFINITY) && !(k == ISO_TABLE_decode && i == 1 && shape[i] == 0))
      return iso_fail(err, ISO_EINVAL, "%s on %s: %s is %g, expected a positive number", iso_table_name(k), s->name, iso_table_col(k, i), shape[i]);
  if (k == ISO_TABLE_collective) {
    if (shape[1] < 2) return iso_fail(err, ISO_EINVAL, "collective on %s: %g devices, expected at least 2", s->name, shape[1]);
    return collective_work(s, shape, out, err);
  }
  ISO_TRY(peak_of(s, t, &peak, err));
  if (k == ISO_TABLE_gemm)
    gemm_work(s, shape, t, peak, out);
  else if (k == ISO_TABLE_prefill)
    prefill_work(s, shape, t, peak, out);
  else
    decode_work(s, shape, t, peak, out);
  return ISO_OK;
}

// ---- features -------------------------------------------------------------------------------------------------------

static double octaves(double v) { return log2(v); }
// Tiles in waves over the units: 0 when the last wave is full, -1 when half of all slots are empty.
static double fill(double tiles, int64_t units) {
  if (units < 1) return 0;
  double u = (double)units;
  return octaves(tiles / (u * ceil(tiles / u)));
}
// Rounding of v up to whole tiles, 0 for none.
static double padding(double v, double tile) { return octaves(ceil(v / tile) * tile / v); }

// Compute time with tiles and waves over the time without: the best of a library's usual tiles (share of the peak that each reaches)
// and splits of k, which add a second pass over the partial results.
static double quantised(const iso_device_spec *s, const double *x, const iso_work *w) {
  static const struct {
    double m, n, share;
  } TILES[] = {{256, 128, 1}, {128, 256, 1}, {128, 128, 0.9}, {128, 64, 0.75}, {64, 128, 0.75}, {64, 64, 0.55}, {64, 32, 0.4}, {32, 64, 0.4}};
  if (s->units < 1) return 0;
  double u = (double)s->units, best = INFINITY, per_flop = w->compute_s / (2 * x[0] * x[1] * x[2]);
  for (size_t i = 0; i < ISO_COUNT(TILES); i++)
    for (int split = 1; split <= 16; split *= 2) {
      double tiles = ceil(x[0] / TILES[i].m) * ceil(x[1] / TILES[i].n) * split;
      double tile_s = 2 * TILES[i].m * TILES[i].n * ceil(x[2] / split / 64) * 64 * per_flop * u / TILES[i].share;
      double second = split > 1 ? 2e-6 + 4 * x[0] * x[1] * split / s->mem_b_s : 0;  // f32 partial results written and read, half of them cached
      best = fmin(best, ceil(tiles / u) * tile_s + second);
    }
  return octaves(best / w->compute_s);
}

static void gemm_features(const iso_device_spec *s, const double *x, const iso_work *w, double *f) {
  double m = x[0], n = x[1], k = x[2];
  double v[] = {octaves(m),
                octaves(n),
                octaves(k),
                fill(ceil(m / 128) * ceil(n / 128), s->units),
                fill(ceil(m / 256) * ceil(n / 128), s->units),
                fill(ceil(m / 128) * ceil(n / 256), s->units),
                fill(ceil(m / 64) * ceil(n / 64), s->units),
                octaves(m * n),
                padding(m, 64),
                padding(m, 128),
                octaves(w->compute_s / w->memory_s),
                quantised(s, x, w)};
  memcpy(f, v, sizeof v);
}

static void attention_features(const iso_device_spec *s, const double *x, const iso_work *w, double block, double *f) {
  double b = x[0], t = fmax(x[1], 1), h = x[2], k = x[3], hd = x[4];
  double v[] = {octaves(b),
                octaves(t),
                octaves(h),
                octaves(k),
                octaves(hd),
                h == k,  // libraries have kernels of their own for plain multi-head attention
                octaves(b * k),
                fill(block > 0 ? b * h * ceil(t / block) : b * k * ceil(t / 64), s->units),
                fill(b * k, s->units),
                fill(b * h, s->units),
                octaves(w->memory_s),
                octaves(w->compute_s / w->memory_s)};
  memcpy(f, v, sizeof v);
}

static void collective_features(const double *x, double *f) {
  double v[] = {octaves(x[2]), octaves(x[1]), x[0] == ISO_COLL_all_reduce, x[0] == ISO_COLL_alltoall, x[0] == ISO_COLL_reduce_scatter};
  memcpy(f, v, sizeof v);
}

typedef struct feature {
  const char *name;
  double scale;
} feature;
static const feature GEMM[] = {{"m", 20},          {"n", 30},  {"k", 3.3},    {"waves_128x128", 5}, {"waves_256x128", 7}, {"waves_128x256", 2.5},
                               {"waves_64x64", 3}, {"m_n", 5}, {"pad_64", 6}, {"pad_128", 5},       {"intensity", 5},     {"quantisation", 3.5}};
static const feature ATTENTION[] = {{"batch", 12},     {"tokens", 5},      {"heads", 12},         {"kv_heads", 4},
                                    {"head_dim", 1.2}, {"multi_head", 4},  {"batch_kv_heads", 5}, {"waves_blocks", 5},
                                    {"waves_kv", 8},   {"waves_heads", 8}, {"bytes", 4},          {"intensity", 10}};
static const feature COLLECTIVE[] = {{"bytes", 4}, {"gpus", 2}, {"all_reduce", 1}, {"alltoall", 1}, {"reduce_scatter", 2}};
_Static_assert(ISO_COUNT(GEMM) <= ISO_KRIG_F_MAX && ISO_COUNT(ATTENTION) <= ISO_KRIG_F_MAX, "as many features as kriging takes");

static const feature *features(iso_table_kind k, int *n) {
  *n = k == ISO_TABLE_gemm ? (int)ISO_COUNT(GEMM) : k == ISO_TABLE_collective ? (int)ISO_COUNT(COLLECTIVE) : (int)ISO_COUNT(ATTENTION);
  return k == ISO_TABLE_gemm ? GEMM : k == ISO_TABLE_collective ? COLLECTIVE : ATTENTION;
}

int iso_model_features(iso_table_kind k) {
  int n;
  (void)features(k, &n);
  return n;
}
const char *iso_model_feature(iso_table_kind k, int i) {
  int n;
  return features(k, &n)[i].name;
}
double iso_model_scale(iso_table_kind k, int i) {
  int n;
  return features(k, &n)[i].scale;
}

void iso_model_feature_values(const iso_device_spec *s, iso_table_kind k, const double *shape, const iso_work *w, double *f) {
  switch (k) {
    case ISO_TABLE_gemm: gemm_features(s, shape, w, f); return;
    case ISO_TABLE_prefill: attention_features(s, shape, w, 128, f); return;
    case ISO_TABLE_decode: attention_features(s, shape, w, 0, f); return;
    case ISO_TABLE_collective:
    case ISO_TABLE_COUNT: collective_features(shape, f); return;
  }
}
