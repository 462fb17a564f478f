// safetensors files: strict reading out of a map (one file or shards), streaming atomic writing.
#ifndef ISO_MODEL_FMT_SAFETENSORS_H
#define ISO_MODEL_FMT_SAFETENSORS_H
#include "base/ctx.h"

// Format: https://huggingface.co/docs/safetensors (u64 LE header length, JSON header, data; little-endian, row-major).
// X(name, bytes). Types that only pass through (read, listed, not converted) are here too.
#define ISO_ST_DTYPES(X) \
  X(F64, 8)              \
  X(F32, 4) X(F16, 2) X(BF16, 2) X(I64, 8) X(I32, 4) X(I16, 2) X(I8, 1) X(U64, 8) X(U32, 4) X(U16, 2) X(U8, 1) X(BOOL, 1) X(F8_E4M3, 1) X(F8_E5M2, 1)
typedef enum iso_st_dtype {
#define X(name, bytes) ISO_ST_##name,
  ISO_ST_DTYPES(X)
#undef X
      ISO_ST_DTYPE_COUNT
} iso_st_dtype;
const char *iso_st_dtype_name(iso_st_dtype t);
int64_t iso_st_dtype_bytes(iso_st_dtype t);

enum { ISO_ST_RANK_MAX = 8 };

typedef struct iso_st_info {
  const char *name;  // lives as long as the iso_st
  iso_st_dtype dtype;
  int rank;  // 0: one element
  int64_t shape[ISO_ST_RANK_MAX];
  int64_t elems, bytes;
  const unsigned char *data;  // in the map; perhaps not aligned to the element
} iso_st_info;
// "F32 [512,320]". Returns buf.
char *iso_st_describe(const iso_st_info *t, char *buf, size_t n);

// ---- reading --------------------------------------------------------------------------------------------------------

typedef struct iso_st iso_st;
// Maps a file, or all the shards of an index when the path ends in ".index.json"; nothing is copied. Refuses with
// ISO_EFORMAT whatever the format forbids: bad lengths, holes, overlaps, duplicate names, wrong sizes, bytes left over.
iso_status iso_st_open(const char *path, iso_st **out, iso_err *err);
// The same over n bytes in memory that outlive the result; `what` names them in messages.
iso_status iso_st_parse(const void *bytes, size_t n, const char *what, iso_st **out, iso_err *err);
void iso_st_close(iso_st *st);
int64_t iso_st_count(const iso_st *st);
// Tensor i of iso_st_count, in order of names; the infos are one array.
const iso_st_info *iso_st_at(const iso_st *st, int64_t i);
const iso_st_info *iso_st_find(const iso_st *st, const char *name);  // NULL: none
// Value of a key of __metadata__ (of the first shard that has it), or NULL.
const char *iso_st_metadata(const iso_st *st, const char *key);
// Elements as f32: F32, F16 and BF16 exactly, anything else ISO_EUNSUP. `out` has room for t->elems, or n from `first` on.
iso_status iso_st_read_f32(const iso_st_info *t, float *out, iso_err *err);
iso_status iso_st_read_f32_part(const iso_st_info *t, int64_t first, int64_t n, float *out, iso_err *err);
// Copies a tensor that must be there with this type and number of elements, else ISO_EFORMAT with expected and actual.
iso_status iso_st_take(const iso_st *st, const char *name, iso_st_dtype dtype, int64_t elems, void *out, iso_err *err);

// ---- writing --------------------------------------------------------------------------------------------------------

typedef struct iso_st_writer iso_st_writer;
iso_status iso_st_writer_open(iso_st_writer **out, iso_err *err);
void iso_st_writer_close(iso_st_writer *w);
// Adds a tensor; data is borrowed until iso_st_commit. A name that is there already is ISO_EINVAL.
iso_status iso_st_add(iso_st_writer *w, const char *name, iso_st_dtype dtype, int rank, const int64_t *shape, const void *data, iso_err *err);
// Adds a tensor whose bytes are made while writing: fill writes elements [first, first + n), in order of first.
typedef iso_status (*iso_st_fill_fn)(void *arg, int64_t first, int64_t n, void *out, iso_err *err);
iso_status iso_st_add_fill(iso_st_writer *w, const char *name, iso_st_dtype dtype, int rank, const int64_t *shape, iso_st_fill_fn fill, void *arg,
                           iso_err *err);
// Sets a string of __metadata__.
iso_status iso_st_meta(iso_st_writer *w, const char *key, const char *value, iso_err *err);
// Bytes that iso_st_commit will write (exact), for reservations; -1 without memory.
int64_t iso_st_writer_bytes(const iso_st_writer *w);
// Writes everything to `path` atomically; bigger elements first, so that every tensor is aligned to its own. The same
// tensors and metadata give the same bytes. The writer may be committed again.
iso_status iso_st_commit(iso_ctx *c, const iso_st_writer *w, const char *path, iso_err *err);
#endif
