// safetensors files: strict reading out of a map (one file or shards), streaming atomic writing.
#include "model/fmt_safetensors.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "tensor/dtype.h"

enum { HEADER_MAX = 100000000, SHARDS_MAX = 4096, CHUNK = 1 << 18 };  // HEADER_MAX is the reference implementation's

static const struct {
  const char *name;
  int64_t bytes;
} DTYPES[] = {
#define X(name, bytes) {#name, bytes},
    ISO_ST_DTYPES(X)
#undef X
};

const char *iso_st_dtype_name(iso_st_dtype t) { return DTYPES[t].name; }
int64_t iso_st_dtype_bytes(iso_st_dtype t) { return DTYPES[t].bytes; }

char *iso_st_describe(const iso_st_info *t, char *buf, size_t n) {
  iso_str s = {0};
  iso_str_fmt(&s, "%s [", iso_st_dtype_name(t->dtype));
  for (int i = 0; i < t->rank; i++) iso_str_fmt(&s, i ? ",%lld" : "%lld", (long long)t->shape[i]);
  iso_str_add(&s, "]");
  (void)snprintf(buf, n, "%s", s.failed ? "?" : s.p);
  iso_str_free(&s);
  return buf;
}

// Product of a shape and its bytes; false on overflow or a negative dimension.
static bool measure(iso_st_info *t) {
  t->elems = 1;
  for (int i = 0; i < t->rank; i++)
    if (t->shape[i] < 0 || __builtin_mul_overflow(t->elems, t->shape[i], &t->elems)) return false;
  return !__builtin_mul_overflow(t->elems, iso_st_dtype_bytes(t->dtype), &t->bytes);
}

// ---- reading --------------------------------------------------------------------------------------------------------

typedef struct shard {
  iso_map map;   // owned; empty when the bytes are the caller's
  json_t *meta;  // owned; NULL: no __metadata__
} shard;

struct iso_st {
  iso_arena *arena;   // owned; names
  iso_st_info *info;  // owned
  int64_t n, cap;
  shard *shard;  // owned
  int n_shards;
};

// One entry of the header: {"dtype", "shape", "data_offsets"}; *begin and *end are its bytes within the data.
static iso_status read_entry(const json_t *o, const char *what, iso_st_info *t, int64_t *begin, int64_t *end, iso_err *err) {
  static const char *const KEYS[] = {"dtype", "shape", "data_offsets", NULL};
  const char *dtype;
  ISO_TRY(iso_json_only_keys(o, what, KEYS, err));
  ISO_TRY(iso_json_get_str(o, "dtype", what, &dtype, err));
  int k = 0;
  while (k < ISO_ST_DTYPE_COUNT && strcmp(DTYPES[k].name, dtype) != 0) k++;
  if (k == ISO_ST_DTYPE_COUNT) return iso_fail(err, ISO_EFORMAT, "%s: unknown dtype \"%.30s\"", what, dtype);
  t->dtype = (iso_st_dtype)k;
  const json_t *shape = json_object_get(o, "shape"), *at = json_object_get(o, "data_offsets");
  if (!json_is_array(shape)) return iso_fail(err, ISO_EFORMAT, "%s: \"shape\" must be a list of sizes", what);
  if (json_array_size(shape) > ISO_ST_RANK_MAX)
    return iso_fail(err, ISO_EFORMAT, "%s: %zu dimensions, at most %d are read", what, json_array_size(shape), ISO_ST_RANK_MAX);
  t->rank = (int)json_array_size(shape);
  for (int i = 0; i < t->rank; i++) {
    const json_t *d = json_array_get(shape, (size_t)i);
    if (!json_is_integer(d) || json_integer_value(d) < 0) return iso_fail(err, ISO_EFORMAT, "%s: dimension %d is not a size", what, i);
    t->shape[i] = (int64_t)json_integer_value(d);
  }
  if (!json_is_array(at) || json_array_size(at) != 2 || !json_is_integer(json_array_get(at, 0)) || !json_is_integer(json_array_get(at, 1)))
    return iso_fail(err, ISO_EFORMAT, "%s: \"data_offsets\" must be two integers", what);
  *begin = (int64_t)json_integer_value(json_array_get(at, 0));
  *end = (int64_t)json_integer_value(json_array_get(at, 1));
  if (!measure(t)) return iso_fail(err, ISO_EFORMAT, "%s: its shape has too many elements", what);
  if (*begin < 0 || *end < *begin || *end - *begin != t->bytes) {
    char text[160];
    return iso_fail(err, ISO_EFORMAT, "%s: %s takes %lld bytes, data_offsets [%lld,%lld] say otherwise", what, iso_st_describe(t, text, sizeof text),
                    (long long)t->bytes, (long long)*begin, (long long)*end);
  }
  return ISO_OK;
}

static int by_place(const void *a, const void *b) {
  const iso_st_info *x = a, *y = b;
  if (x->data != y->data) return x->data < y->data ? -1 : 1;
  return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int by_name(const void *a, const void *b) { return strcmp(((const iso_st_info *)a)->name, ((const iso_st_info *)b)->name); }

// The data must be covered once and whole, which rules out overlaps, holes and ranges outside the file at once.
static iso_status check_cover(iso_st_info *t, int64_t n, const unsigned char *data, const unsigned char *end, const char *what, iso_err *err) {
  if (n) qsort(t, (size_t)n, sizeof *t, by_place);
  const unsigned char *at = data;
  for (int64_t i = 0; i < n; i++) {
    if (t[i].data != at)
      return iso_fail(err, ISO_EFORMAT, "%s: tensor \"%.80s\" starts at byte %lld of the data, byte %lld was expected: %s", what, t[i].name,
                      (long long)(t[i].data - data), (long long)(at - data), t[i].data > at ? "a hole" : "an overlap");
    at += t[i].bytes;
  }
  if (at != end)
    return iso_fail(err, ISO_EFORMAT, "%s: the tensors take %lld bytes, the file has %lld", what, (long long)(at - data), (long long)(end - data));
  return ISO_OK;
}

static iso_status grow(iso_st *s, int64_t more, iso_err *err) {
  if (s->n + more <= s->cap) return ISO_OK;
  int64_t cap = s->n + more;
  iso_st_info *p = realloc(s->info, (size_t)cap * sizeof *p);
  if (!p) return iso_fail(err, ISO_ENOMEM, "no memory for a list of %lld tensors", (long long)cap);
  s->info = p;
  s->cap = cap;
  return ISO_OK;
}

static iso_status read_meta(json_t *meta, const char *what, json_t **out, iso_err *err) {
  const char *key;
  json_t *v;
  if (!json_is_object(meta)) return iso_fail(err, ISO_EFORMAT, "%s: __metadata__ is not an object", what);
  json_object_foreach(meta, key, v) if (!json_is_string(v)) return iso_fail(err, ISO_EFORMAT, "%s: __metadata__ \"%.60s\" is not a string", what,
                                                                            key);
  *out = json_incref(meta);
  return ISO_OK;
}

static iso_status read_tensors(iso_st *s, json_t *head, json_t **meta, const unsigned char *data, size_t n, const char *what, iso_err *err) {
  const char *key;
  json_t *v;
  if (!json_is_object(head)) return iso_fail(err, ISO_EFORMAT, "%s: the header is not a JSON object", what);
  ISO_TRY(grow(s, (int64_t)json_object_size(head), err));
  iso_st_info *t = s->info + s->n;
  int64_t count = 0;
  json_object_foreach(head, key, v) {
    char where[200];
    int64_t begin = 0, end = 0;
    if (strcmp(key, "__metadata__") == 0) {
      ISO_TRY(read_meta(v, what, meta, err));
      continue;
    }
    (void)snprintf(where, sizeof where, "%.90s: tensor \"%.80s\"", what, key);
    t[count] = (iso_st_info){.name = iso_arena_str(s->arena, key)};
    if (!t[count].name) return iso_fail(err, ISO_ENOMEM, "%s: no memory for names", what);
    ISO_TRY(read_entry(v, where, &t[count], &begin, &end, err));
    if ((uint64_t)end > n)
      return iso_fail(err, ISO_EFORMAT, "%s: ends at byte %lld of the data, which has %zu: the file is cut short or damaged", where, (long long)end,
                      n);
    t[count++].data = data + begin;
  }
  ISO_TRY(check_cover(t, count, data, data + n, what, err));
  s->n += count;
  return ISO_OK;
}

// Adds the tensors of one file's bytes to s.
static iso_status read_file(iso_st *s, const unsigned char *p, size_t n, json_t **meta, const char *what, iso_err *err) {
  if (n < 8) return iso_fail(err, ISO_EFORMAT, "%s: %zu bytes, a safetensors file has at least 8", what, n);
  uint64_t len = 0;
  for (int i = 7; i >= 0; i--) len = len << 8 | p[i];
  if (len > HEADER_MAX) return iso_fail(err, ISO_EFORMAT, "%s: a header of %llu bytes: not a safetensors file", what, (unsigned long long)len);
  if (len > n - 8)
    return iso_fail(err, ISO_EFORMAT, "%s: a header of %llu bytes in a file of %zu: the file is cut short or damaged", what, (unsigned long long)len,
                    n);
  if (len < 2 || p[8] != '{') return iso_fail(err, ISO_EFORMAT, "%s: the header does not start with '{': not a safetensors file", what);
  json_t *head;
  ISO_TRY(iso_json_parse((const char *)p + 8, (size_t)len, what, &head, err));
  iso_status st = read_tensors(s, head, meta, p + 8 + len, n - 8 - (size_t)len, what, err);
  json_decref(head);
  return st;
}

static iso_status open_empty(int shards, iso_st **out, iso_err *err) {
  iso_st *s = calloc(1, sizeof *s);
  *out = s;
  if (!s || !(s->shard = calloc((size_t)shards, sizeof *s->shard))) {
    iso_st_close(s);
    *out = NULL;
    return iso_fail(err, ISO_ENOMEM, "no memory for a safetensors file");
  }
  iso_status st = iso_arena_open(&s->arena, err);
  if (st == ISO_OK) return ISO_OK;
  iso_st_close(s);
  *out = NULL;
  return st;
}

// Order for iso_st_find; a name that two shards have is refused (within a file the JSON parser has refused it).
static iso_status sort_names(iso_st *s, const char *what, iso_err *err) {
  if (s->n) qsort(s->info, (size_t)s->n, sizeof *s->info, by_name);
  for (int64_t i = 1; i < s->n; i++)
    if (strcmp(s->info[i - 1].name, s->info[i].name) == 0)
      return iso_fail(err, ISO_EFORMAT, "%s: two shards have tensor \"%.80s\"", what, s->info[i].name);
  return ISO_OK;
}

iso_status iso_st_parse(const void *bytes, size_t n, const char *what, iso_st **out, iso_err *err) {
  iso_st *s;
  *out = NULL;
  ISO_TRY(open_empty(1, &s, err));
  s->n_shards = 1;
  iso_status st = read_file(s, bytes, n, &s->shard[0].meta, what, err);
  if (st == ISO_OK) st = sort_names(s, what, err);
  if (st == ISO_OK)
    *out = s;
  else
    iso_st_close(s);
  return st;
}

static iso_status open_shard(iso_st *s, const char *path, iso_err *err) {
  shard *h = &s->shard[s->n_shards++];
  ISO_TRY(iso_map_open(path, &h->map, err));
  return read_file(s, h->map.data, h->map.size, &h->meta, path, err);
}

// Opens each file that the map names, once; `seen` collects file names.
static iso_status open_shards(iso_st *s, const char *path, json_t *map, json_t *seen, iso_err *err) {
  const char *key, *slash = strrchr(path, '/');
  json_t *v;
  char file[PATH_MAX];
  json_object_foreach(map, key, v) {
    const char *name = json_string_value(v);
    if (!name) return iso_fail(err, ISO_EFORMAT, "%s: weight_map \"%.80s\" is not a file name", path, key);
    if (json_object_get(seen, name)) continue;
    // An index from elsewhere must not reach files outside its folder.
    if (!*name || strchr(name, '/') || name[0] == '.') return iso_fail(err, ISO_EFORMAT, "%s: shard \"%.80s\" is not a plain file name", path, name);
    if (s->n_shards == SHARDS_MAX) return iso_fail(err, ISO_EFORMAT, "%s: more than %d shards", path, SHARDS_MAX);
    if (json_object_set_new(seen, name, json_integer(s->n_shards)) != 0) return iso_fail(err, ISO_ENOMEM, "%s: no memory", path);
    int k = snprintf(file, sizeof file, "%.*s%s", slash ? (int)(slash + 1 - path) : 0, path, name);
    if (k < 0 || (size_t)k >= sizeof file) return iso_fail(err, ISO_EINVAL, "%s: the path of a shard is too long", path);
    ISO_TRY(open_shard(s, file, err));
  }
  ISO_TRY(sort_names(s, path, err));
  json_object_foreach(map, key, v) {
    const iso_st_info *t = iso_st_find(s, key);
    const iso_map *m = &s->shard[json_integer_value(json_object_get(seen, json_string_value(v)))].map;
    if (!t || t->data < m->data || t->data > m->data + m->size)
      return iso_fail(err, ISO_EFORMAT, "%s: tensor \"%.80s\" is not in \"%.80s\", where the index puts it", path, key, json_string_value(v));
  }
  for (int64_t i = 0; i < s->n; i++)
    if (!json_object_get(map, s->info[i].name))
      return iso_fail(err, ISO_EFORMAT, "%s: a shard has tensor \"%.80s\", the index does not", path, s->info[i].name);
  return ISO_OK;
}

static iso_status open_index(const char *path, iso_st **out, iso_err *err) {
  json_t *j = NULL, *seen = json_object();
  iso_st *s = NULL;
  iso_status st = ISO_OK;
  ISO_TRYG(seen ? ISO_OK : iso_fail(err, ISO_ENOMEM, "%s: no memory", path));
  ISO_TRYG(iso_json_load(path, &j, err));
  json_t *map = json_object_get(j, "weight_map");
  if (!json_is_object(map)) {
    st = iso_fail(err, ISO_EFORMAT, "%s: \"weight_map\" is missing", path);
    goto done;
  }
  ISO_TRYG(open_empty(SHARDS_MAX, &s, err));
  ISO_TRYG(open_shards(s, path, map, seen, err));
  *out = s;
  s = NULL;
done:
  iso_st_close(s);
  json_decref(seen);
  json_decref(j);
  return st;
}

iso_status iso_st_open(const char *path, iso_st **out, iso_err *err) {
  static const char SUFFIX[] = ".index.json";
  size_t n = strlen(path), k = sizeof SUFFIX - 1;
  iso_st *s;
  *out = NULL;
  if (n > k && strcmp(path + n - k, SUFFIX) == 0) return open_index(path, out, err);
  ISO_TRY(open_empty(1, &s, err));
  iso_status st = open_shard(s, path, err);
  if (st == ISO_OK) st = sort_names(s, path, err);
  if (st == ISO_OK)
    *out = s;
  else
    iso_st_close(s);
  return st;
}

void iso_st_close(iso_st *s) {
  if (!s) return;
  for (int i = 0; i < s->n_shards; i++) {
    iso_map_close(&s->shard[i].map);
    json_decref(s->shard[i].meta);
  }
  iso_arena_close(s->arena);
  free(s->shard);
  free(s->info);
  free(s);
}

int64_t iso_st_count(const iso_st *s) { return s->n; }
const iso_st_info *iso_st_at(const iso_st *s, int64_t i) { return &s->info[i]; }

const iso_st_info *iso_st_find(const iso_st *s, const char *name) {
  iso_st_info key = {.name = name};
  return s->n ? bsearch(&key, s->info, (size_t)s->n, sizeof *s->info, by_name) : NULL;
}

const char *iso_st_metadata(const iso_st *s, const char *key) {
  const char *v = NULL;
  for (int i = 0; i < s->n_shards && !v; i++) v = json_string_value(json_object_get(s->shard[i].meta, key));
  return v;
}

// IEEE binary16, exactly; subnormals are n * 2^-24.
static float f32_from_f16(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = (h >> 10) & 31u, m = h & 1023u, u;
  float x;
  if (e == 0) {
    x = (float)m * 0x1p-24f;
    return sign ? -x : x;
  }
  u = sign | (e == 31 ? 0x7F800000u : (e + 112) << 23) | m << 13;
  memcpy(&x, &u, 4);
  return x;
}

iso_status iso_st_read_f32_part(const iso_st_info *t, int64_t first, int64_t n, float *out, iso_err *err) {
  if (first < 0 || n < 0 || n > t->elems - first)
    return iso_fail(err, ISO_EBUG, "%s: elements %lld to %lld of %lld", t->name, (long long)first, (long long)(first + n), (long long)t->elems);
  const unsigned char *p = t->data + first * iso_st_dtype_bytes(t->dtype);
  uint16_t h;
  switch (t->dtype) {
    case ISO_ST_F32:
      if (n) memcpy(out, p, (size_t)n * 4);
      return ISO_OK;
    case ISO_ST_BF16:
      for (int64_t i = 0; i < n; i++) {
        memcpy(&h, p + 2 * i, 2);
        out[i] = iso_f32_from_bf16(h);
      }
      return ISO_OK;
    case ISO_ST_F16:
      for (int64_t i = 0; i < n; i++) {
        memcpy(&h, p + 2 * i, 2);
        out[i] = f32_from_f16(h);
      }
      return ISO_OK;
    default: return iso_fail(err, ISO_EUNSUP, "tensor \"%.80s\" is %s; F32, F16 and BF16 are read as numbers", t->name, iso_st_dtype_name(t->dtype));
  }
}

iso_status iso_st_read_f32(const iso_st_info *t, float *out, iso_err *err) { return iso_st_read_f32_part(t, 0, t->elems, out, err); }

iso_status iso_st_take(const iso_st *s, const char *name, iso_st_dtype dtype, int64_t elems, void *out, iso_err *err) {
  const iso_st_info *t = iso_st_find(s, name);
  char text[160];
  if (!t) return iso_fail(err, ISO_EFORMAT, "tensor \"%.80s\" is missing", name);
  if (t->dtype != dtype || t->elems != elems)
    return iso_fail(err, ISO_EFORMAT, "tensor \"%.80s\" is %s, %s of %lld elements was expected", name, iso_st_describe(t, text, sizeof text),
                    iso_st_dtype_name(dtype), (long long)elems);
  if (t->bytes) memcpy(out, t->data, (size_t)t->bytes);
  return ISO_OK;
}

// ---- writing --------------------------------------------------------------------------------------------------------

typedef struct entry {
  iso_st_info t;        // name in the arena; data borrowed or NULL
  iso_st_fill_fn fill;  // when data is made on the way
  void *arg;
  int64_t at;  // order of iso_st_add
} entry;

struct iso_st_writer {
  iso_arena *arena;      // owned
  json_t *names, *meta;  // owned
  entry *e;              // owned
  int64_t n, cap;
};

iso_status iso_st_writer_open(iso_st_writer **out, iso_err *err) {
  iso_st_writer *w = calloc(1, sizeof *w);
  *out = NULL;
  if (!w) return iso_fail(err, ISO_ENOMEM, "no memory for a safetensors file");
  w->names = json_object();
  w->meta = json_object();
  iso_status st = w->names && w->meta ? iso_arena_open(&w->arena, err) : iso_fail(err, ISO_ENOMEM, "no memory for a safetensors file");
  if (st == ISO_OK)
    *out = w;
  else
    iso_st_writer_close(w);
  return st;
}

void iso_st_writer_close(iso_st_writer *w) {
  if (!w) return;
  iso_arena_close(w->arena);
  json_decref(w->names);
  json_decref(w->meta);
  free(w->e);
  free(w);
}

static iso_status add(iso_st_writer *w, const char *name, iso_st_dtype dtype, int rank, const int64_t *shape, entry e, iso_err *err) {
  if (rank < 0 || rank > ISO_ST_RANK_MAX)
    return iso_fail(err, ISO_EINVAL, "tensor \"%.80s\": %d dimensions, at most %d are written", name, rank, ISO_ST_RANK_MAX);
  if (json_object_get(w->names, name) || strcmp(name, "__metadata__") == 0)
    return iso_fail(err, ISO_EINVAL, "tensor \"%.80s\": the name is taken", name);
  e.t = (iso_st_info){.name = iso_arena_str(w->arena, name), .dtype = dtype, .rank = rank, .data = e.t.data};
  for (int i = 0; i < rank; i++) e.t.shape[i] = shape[i];
  if (!measure(&e.t)) return iso_fail(err, ISO_EINVAL, "tensor \"%.80s\": a shape with a negative or far too large size", name);
  if (w->n == w->cap) {
    int64_t cap = w->cap ? 2 * w->cap : 64;
    entry *p = realloc(w->e, (size_t)cap * sizeof *p);
    if (!p) return iso_fail(err, ISO_ENOMEM, "no memory for a list of %lld tensors", (long long)cap);
    w->e = p;
    w->cap = cap;
  }
  // jansson refuses what is not UTF-8, as the format does.
  if (!e.t.name || json_object_set_new(w->names, name, json_true()) != 0)
    return iso_fail(err, ISO_EINVAL, "tensor \"%.80s\": the name is not UTF-8", name);
  e.at = w->n;
  w->e[w->n++] = e;
  return ISO_OK;
}

iso_status iso_st_add(iso_st_writer *w, const char *name, iso_st_dtype dtype, int rank, const int64_t *shape, const void *data, iso_err *err) {
  return add(w, name, dtype, rank, shape, (entry){.t.data = data}, err);
}

iso_status iso_st_add_fill(iso_st_writer *w, const char *name, iso_st_dtype dtype, int rank, const int64_t *shape, iso_st_fill_fn fill, void *arg,
                           iso_err *err) {
  return add(w, name, dtype, rank, shape, (entry){.fill = fill, .arg = arg}, err);
}

iso_status iso_st_meta(iso_st_writer *w, const char *key, const char *value, iso_err *err) {
  if (json_object_set_new(w->meta, key, json_string(value)) == 0) return ISO_OK;
  return iso_fail(err, ISO_EINVAL, "metadata \"%.60s\": not UTF-8, or no memory", key);
}

static int by_alignment(const void *a, const void *b) {
  const entry *x = a, *y = b;
  int64_t p = iso_st_dtype_bytes(x->t.dtype), q = iso_st_dtype_bytes(y->t.dtype);
  if (p != q) return p < q ? 1 : -1;
  return (x->at > y->at) - (x->at < y->at);
}

// The header with its padding, and the entries in the order of the file; both malloc'ed.
static iso_status make_header(const iso_st_writer *w, iso_str *out, entry **order, iso_err *err) {
  json_t *head = json_object();
  bool good = head && (json_object_size(w->meta) == 0 || json_object_set(head, "__metadata__", w->meta) == 0);
  int64_t at = 0;
  *order = malloc((size_t)(w->n + 1) * sizeof **order);
  good = good && *order;
  if (good && w->n) {
    memcpy(*order, w->e, (size_t)w->n * sizeof **order);
    qsort(*order, (size_t)w->n, sizeof **order, by_alignment);
  }
  for (int64_t i = 0; good && i < w->n; i++) {
    const iso_st_info *t = &(*order)[i].t;
    json_t *shape = json_array();
    for (int k = 0; k < t->rank; k++) good = json_array_append_new(shape, json_integer(t->shape[k])) == 0 && good;
    int64_t end;
    good = !__builtin_add_overflow(at, t->bytes, &end) && good;
    json_t *j =
        json_pack("{s:s, s:o, s:[I,I]}", "dtype", iso_st_dtype_name(t->dtype), "shape", shape, "data_offsets", (json_int_t)at, (json_int_t)end);
    good = json_object_set_new(head, t->name, j) == 0 && good;
    at = end;
  }
  char *text = good ? json_dumps(head, JSON_COMPACT) : NULL;
  json_decref(head);
  if (text) {
    iso_str_add(out, text);
    while (out->n % 8 && !out->failed) iso_str_add(out, " ");
  }
  free(text);
  if (text && !out->failed) return ISO_OK;
  return iso_fail(err, ISO_ENOMEM, "no memory for the header of a safetensors file");
}

int64_t iso_st_writer_bytes(const iso_st_writer *w) {
  iso_str head = {0};
  entry *order;
  int64_t n = make_header(w, &head, &order, NULL) == ISO_OK ? 8 + (int64_t)head.n : -1;
  for (int64_t i = 0; i < w->n && n >= 0; i++) n += w->e[i].t.bytes;
  iso_str_free(&head);
  free(order);
  return n;
}

static iso_status write_filled(iso_out *o, const entry *e, unsigned char *buf, iso_err *err) {
  int64_t size = iso_st_dtype_bytes(e->t.dtype), step = CHUNK / size;
  for (int64_t i = 0; i < e->t.elems; i += step) {
    int64_t n = e->t.elems - i < step ? e->t.elems - i : step;
    ISO_TRY(e->fill(e->arg, i, n, buf, err));
    ISO_TRY(iso_out_write(o, buf, (size_t)(n * size), err));
  }
  return ISO_OK;
}

iso_status iso_st_commit(iso_ctx *c, const iso_st_writer *w, const char *path, iso_err *err) {
  iso_str head = {0};
  entry *order = NULL;
  iso_out *o = NULL;
  unsigned char *buf = malloc(CHUNK), len[8];
  iso_status st = ISO_OK;
  ISO_TRYG(buf ? ISO_OK : iso_fail(err, ISO_ENOMEM, "%s: no memory for a write buffer", path));
  ISO_TRYG(make_header(w, &head, &order, err));
  if (head.n > HEADER_MAX) {
    st = iso_fail(err, ISO_EINVAL, "%s: a header of %zu bytes, readers accept %d", path, head.n, HEADER_MAX);
    goto done;
  }
  for (int i = 0; i < 8; i++) len[i] = (unsigned char)(head.n >> 8 * i);
  ISO_TRYG(iso_out_open(c, path, &o, err));
  ISO_TRYG(iso_out_write(o, len, 8, err));
  ISO_TRYG(iso_out_write(o, head.p, head.n, err));
  for (int64_t i = 0; i < w->n; i++)
    ISO_TRYG(order[i].fill ? write_filled(o, &order[i], buf, err) : iso_out_write(o, order[i].t.data, (size_t)order[i].t.bytes, err));
  st = iso_out_commit(o, err);
  o = NULL;
done:
  iso_out_abort(o);
  iso_str_free(&head);
  free(order);
  free(buf);
  return st;
}
