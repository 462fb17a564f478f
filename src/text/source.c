// Documents out of files, and the hold-out split.
#include "text/source.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "text/source_read.h"

enum { READ_BUF = 1 << 18 };
static const size_t line_max = (size_t)1 << 30;
static const size_t index_max = (size_t)256 << 20;

// What the documents point into: one map or spool a file.
typedef struct buffer {
  iso_map map;
  src_spool spool;
} buffer;

struct iso_docs_mem {
  buffer *b;  // owned
  int n;
  int64_t doc_cap;
};

// Ends of documents in a spool, before the spool is sealed.
typedef struct ends {
  size_t *v;  // owned
  int64_t n, cap;
} ends;

static iso_status docs_new(int n_src, iso_docs **out, iso_err *err) {
  iso_docs *d = calloc(1, sizeof *d);
  if (d) {
    d->src = calloc((size_t)n_src + 1, sizeof *d->src);
    d->mem = calloc(1, sizeof *d->mem);
    if (d->mem) d->mem->b = calloc((size_t)n_src + 1, sizeof *d->mem->b);
  }
  if (!d || !d->src || !d->mem || !d->mem->b) {
    iso_docs_close(d);
    return iso_fail(err, ISO_ENOMEM, "no memory for a list of %d sources", n_src);
  }
  *out = d;
  return ISO_OK;
}

void iso_docs_close(iso_docs *d) {
  if (!d) return;
  for (int i = 0; d->mem && i < d->mem->n; i++) {
    iso_map_close(&d->mem->b[i].map);
    src_spool_free(&d->mem->b[i].spool);
  }
  for (int i = 0; d->src && i < d->n_src; i++) free(d->src[i].name);
  if (d->mem) free(d->mem->b);
  free(d->mem);
  free(d->src);
  free(d->doc);
  free(d);
}

static iso_status source_new(iso_docs *d, const char *name, iso_source **out, buffer **b, iso_err *err) {
  iso_source *s = &d->src[d->n_src];
  *s = (iso_source){.name = strdup(name), .hash = ISO_HASH_SEED};
  if (!s->name) return iso_fail(err, ISO_ENOMEM, "%s: no memory", name);
  d->n_src++;
  *b = &d->mem->b[d->mem->n++];
  src_spool_init(&(*b)->spool);
  *out = s;
  return ISO_OK;
}

static iso_status doc_add(iso_docs *d, iso_source *s, const uint8_t *p, size_t n, iso_err *err) {
  if (n == 0) return ISO_OK;
  if (d->n == d->mem->doc_cap) {
    int64_t cap = d->mem->doc_cap ? d->mem->doc_cap * 2 : 1024;
    iso_bytes *v = realloc(d->doc, (size_t)cap * sizeof *v);
    if (!v) return iso_fail(err, ISO_ENOMEM, "no memory for a list of %lld documents", (long long)cap);
    d->doc = v;
    d->mem->doc_cap = cap;
  }
  d->doc[d->n++] = (iso_bytes){p, n};
  d->bytes += n;
  s->bytes += n;
  s->n_docs++;
  s->hash = iso_hash(s->hash, p, n);
  return ISO_OK;
}

static iso_status end_add(ends *e, size_t at, iso_err *err) {
  if (e->n == e->cap) {
    int64_t cap = e->cap ? e->cap * 2 : 1024;
    size_t *v = realloc(e->v, (size_t)cap * sizeof *v);
    if (!v) return iso_fail(err, ISO_ENOMEM, "no memory for a list of %lld documents", (long long)cap);
    e->v = v;
    e->cap = cap;
  }
  e->v[e->n++] = at;
  return ISO_OK;
}

// One line of JSON lines: its "text" goes to the spool, at most `room` bytes of it.
static iso_status take_line(iso_ctx *c, const char *name, int64_t line, const char *p, size_t n, size_t room, src_spool *sp, ends *e, iso_err *err) {
  while (n && (p[n - 1] == '\r' || p[n - 1] == ' ' || p[n - 1] == '\t')) n--;
  if (n == 0) return ISO_OK;
  json_error_t je;
  json_t *o = json_loadb(p, n, JSON_ALLOW_NUL, &je);
  if (!o) return iso_fail(err, ISO_EFORMAT, "%s, line %lld: not JSON: %s", name, (long long)line, je.text);
  json_t *t = json_object_get(o, "text");
  iso_status st = ISO_OK;
  if (!json_is_string(t)) {
    st = iso_fail(err, ISO_EFORMAT, "%s, line %lld: no string \"text\" in this object", name, (long long)line);
  } else {
    size_t k = json_string_length(t);
    st = src_spool_put(c, sp, json_string_value(t), k < room ? k : room, err);
    if (st == ISO_OK && k) st = end_add(e, sp->n, err);
  }
  json_decref(o);
  return st;
}

static iso_status read_jsonl(iso_ctx *c, src_in *in, const char *name, size_t limit, src_spool *sp, ends *e, iso_err *err) {
  char *buf = malloc(READ_BUF);
  iso_str line = {0};
  iso_status st = buf ? ISO_OK : iso_fail(err, ISO_ENOMEM, "%s: no memory for a read buffer", name);
  int64_t number = 0;
  for (size_t n = 1; st == ISO_OK && n > 0 && sp->n < limit;) {
    ISO_TRYG(src_in_read(in, buf, READ_BUF, &n, err));
    for (size_t at = 0; at < n && sp->n < limit;) {
      char *nl = memchr(buf + at, '\n', n - at);
      size_t stop = nl ? (size_t)(nl - buf) : n;
      iso_str_put(&line, buf + at, stop - at);
      at = stop + 1;
      if (line.failed || line.n > line_max) {
        st = iso_fail(err, ISO_EFORMAT, "%s, line %lld: longer than %zu bytes", name, (long long)number + 1, line_max);
        goto done;
      }
      if (!nl) break;
      ISO_TRYG(take_line(c, name, ++number, line.p ? line.p : "", line.n, limit - sp->n, sp, e, err));
      line.n = 0;
    }
    if (iso_cancelled(c)) st = iso_fail(err, ISO_ECANCEL, "%s: cancelled while reading", name);
  }
  if (st == ISO_OK && line.n && sp->n < limit) st = take_line(c, name, ++number, line.p, line.n, limit - sp->n, sp, e, err);
done:
  free(buf);
  iso_str_free(&line);
  return st;
}

static iso_status read_plain(iso_ctx *c, src_in *in, const char *name, size_t limit, src_spool *sp, iso_err *err) {
  char *buf = malloc(READ_BUF);
  if (!buf) return iso_fail(err, ISO_ENOMEM, "%s: no memory for a read buffer", name);
  iso_status st = ISO_OK;
  for (size_t n = 1; n > 0 && sp->n < limit;) {
    size_t room = limit - sp->n;
    ISO_TRYG(src_in_read(in, buf, room < READ_BUF ? room : READ_BUF, &n, err));
    ISO_TRYG(src_spool_put(c, sp, buf, n, err));
    if (iso_cancelled(c)) {
      st = iso_fail(err, ISO_ECANCEL, "%s: cancelled while reading", name);
      goto done;
    }
  }
done:
  free(buf);
  return st;
}

static bool ends_with(const char *s, size_t n, const char *tail) {
  size_t k = strlen(tail);
  return n >= k && memcmp(s + n - k, tail, k) == 0;
}

static bool name_says_jsonl(const char *name) {
  size_t n = strlen(name);
  if (ends_with(name, n, ".gz")) n -= 3;
  if (ends_with(name, n, ".zst")) n -= 4;
  return ends_with(name, n, ".jsonl") || ends_with(name, n, ".ndjson");
}

// Uncompressed regular files of plain text are mapped.
static bool can_map(const char *path) {
  struct stat sb;
  if (strcmp(path, "-") == 0 || stat(path, &sb) != 0 || !S_ISREG(sb.st_mode)) return false;
  unsigned char m[4] = {0};
  FILE *f = fopen(path, "rbe");
  if (!f) return false;
  size_t k = fread(m, 1, 4, f);
  (void)fclose(f);
  return !(k >= 2 && m[0] == 0x1F && m[1] == 0x8B) && !(k == 4 && memcmp(m, "\x28\xB5\x2F\xFD", 4) == 0);
}

static iso_status open_one(iso_ctx *c, iso_docs *d, const char *path, const iso_source_opts *o, size_t limit, iso_err *err) {
  bool jsonl = o->format == ISO_SOURCE_JSONL || (o->format == ISO_SOURCE_AUTO && name_says_jsonl(path));
  iso_source *s = NULL;
  buffer *b = NULL;
  ISO_TRY(source_new(d, path, &s, &b, err));
  s->plain = !jsonl;
  if (!jsonl && can_map(path)) {
    ISO_TRY(iso_map_open(path, &b->map, err));
    return doc_add(d, s, b->map.data, b->map.size < limit ? b->map.size : limit, err);
  }
  src_in *in;
  ends e = {0};
  ISO_TRY(src_in_open(path, &in, err));
  iso_status st = jsonl ? read_jsonl(c, in, path, limit, &b->spool, &e, err) : read_plain(c, in, path, limit, &b->spool, err);
  src_in_close(in);
  if (st == ISO_OK && b->spool.n) st = src_spool_seal(&b->spool, err);
  if (st == ISO_OK && !jsonl) st = doc_add(d, s, b->spool.p, b->spool.n, err);
  size_t from = 0;
  for (int64_t i = 0; st == ISO_OK && i < e.n; from = e.v[i++]) st = doc_add(d, s, b->spool.p + from, e.v[i] - from, err);
  free(e.v);
  return st;
}

iso_status iso_docs_open(iso_ctx *c, const char *const *paths, int n, const iso_source_opts *o, iso_docs **out, iso_err *err) {
  *out = NULL;
  iso_docs *d;
  if (n < 1) return iso_fail(err, ISO_EINVAL, "no text file given");
  ISO_TRY(docs_new(n, &d, err));
  iso_status st = ISO_OK;
  size_t limit = o && o->max_bytes ? o->max_bytes : SIZE_MAX;
  const iso_source_opts any = {0};
  for (int i = 0; st == ISO_OK && i < n && d->bytes < limit; i++) st = open_one(c, d, paths[i], o ? o : &any, limit - d->bytes, err);
  if (st == ISO_OK && d->n == 0) {
    st = iso_fail(err, ISO_EINVAL, "%s%s: no text in %s", paths[0], n > 1 ? ", .." : "", n > 1 ? "these files" : "this file");
    iso_hint(err, st, "give a file that is not empty");
  }
  if (st != ISO_OK) {
    iso_docs_close(d);
    return st;
  }
  *out = d;
  return ISO_OK;
}

iso_status iso_docs_wrap(const iso_bytes *doc, int64_t n, const char *name, iso_docs **out, iso_err *err) {
  *out = NULL;
  iso_docs *d;
  iso_source *s = NULL;
  buffer *b = NULL;
  ISO_TRY(docs_new(1, &d, err));
  iso_status st = source_new(d, name, &s, &b, err);
  for (int64_t i = 0; st == ISO_OK && i < n; i++) st = doc_add(d, s, doc[i].p, doc[i].n, err);
  if (st == ISO_OK && d->n == 0) st = iso_fail(err, ISO_EINVAL, "%s: no text", name);
  if (st != ISO_OK) {
    iso_docs_close(d);
    return st;
  }
  s->plain = n == 1;
  *out = d;
  return ISO_OK;
}

// dictd writes numbers in base 64 digits, the most significant first.
static bool base64_number(const char *p, size_t n, uint64_t *out) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  *out = 0;
  if (n == 0 || n > 10) return false;
  for (size_t i = 0; i < n; i++) {
    const char *q = p[i] ? strchr(digits, p[i]) : NULL;
    if (!q) return false;
    *out = *out << 6 | (uint64_t)(q - digits);
  }
  return true;
}

typedef struct range {
  uint64_t at, n;
} range;

static int by_place(const void *a, const void *b) {
  const range *x = a, *y = b;
  return x->at != y->at ? (x->at > y->at) - (x->at < y->at) : (x->n < y->n) - (x->n > y->n);
}

// The index: "headword TAB offset TAB length" lines. Entries that describe the dictionary itself (00-database-..) are left out.
static iso_status read_index(const char *path, char *text, size_t n, uint64_t size, range **out, int64_t *n_out, iso_err *err) {
  int64_t lines = 0;
  for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
  range *r = malloc(((size_t)lines + 2) * sizeof *r);
  if (!r) return iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld entries", path, (long long)lines);
  int64_t k = 0, line = 0;
  for (size_t at = 0; at < n;) {
    char *p = text + at, *nl = memchr(p, '\n', n - at);
    size_t len = nl ? (size_t)(nl - p) : n - at;
    at += len + 1;
    line++;
    char *a = memchr(p, '\t', len), *b = a ? memchr(a + 1, '\t', len - (size_t)(a + 1 - p)) : NULL;
    range e;
    if (!b || !base64_number(a + 1, (size_t)(b - a - 1), &e.at) || !base64_number(b + 1, (size_t)(p + len - b - 1), &e.n) || e.at > size ||
        e.n > size - e.at) {
      free(r);
      return iso_fail(err, ISO_EFORMAT, "%s, line %lld: not a headword, an offset and a length inside the dictionary", path, (long long)line);
    }
    if (len > 11 && memcmp(p, "00-database", 11) == 0) continue;
    r[k++] = e;
  }
  qsort(r, (size_t)k, sizeof *r, by_place);
  *out = r;
  *n_out = k;
  return ISO_OK;
}

static iso_status add_entries(iso_docs *d, iso_source *s, const src_spool *sp, const range *r, int64_t n, size_t limit, iso_err *err) {
  uint64_t end = 0;  // several headwords share an entry
  for (int64_t i = 0; i < n && d->bytes < limit; i++) {
    if (r[i].at < end) continue;
    size_t k = r[i].n < limit - d->bytes ? r[i].n : limit - d->bytes;
    ISO_TRY(doc_add(d, s, sp->p + r[i].at, k, err));
    end = r[i].at + r[i].n;
  }
  return ISO_OK;
}

iso_status iso_docs_open_gcide(iso_ctx *c, const char *dir, const iso_source_opts *o, iso_docs **out, iso_err *err) {
  char dict[4096], index[4096];
  *out = NULL;
  if (!dir) dir = "/usr/share/dictd";
  snprintf(dict, sizeof dict, "%s/gcide.dict.dz", dir);
  snprintf(index, sizeof index, "%s/gcide.index", dir);
  if (!iso_file_exists(dict) || !iso_file_exists(index)) {
    iso_fail(err, ISO_EIO, "%s: the GCIDE dictionary is not installed", iso_file_exists(dict) ? index : dict);
    return iso_hint(err, ISO_EIO, "apt-get install dict-gcide, or give your own text with --text FILE");
  }
  iso_docs *d = NULL;
  src_in *in = NULL;
  char *text = NULL;
  range *r = NULL;
  size_t n;
  int64_t k = 0;
  iso_source *s = NULL;
  buffer *b = NULL;
  iso_status st = docs_new(1, &d, err);
  if (st != ISO_OK) return st;
  ISO_TRYG(source_new(d, "gcide", &s, &b, err));
  ISO_TRYG(src_in_open(dict, &in, err));
  ISO_TRYG(read_plain(c, in, dict, SIZE_MAX, &b->spool, err));
  ISO_TRYG(src_spool_seal(&b->spool, err));
  ISO_TRYG(iso_file_get(index, index_max, &text, &n, err));
  ISO_TRYG(read_index(index, text, n, b->spool.n, &r, &k, err));
  ISO_TRYG(add_entries(d, s, &b->spool, r, k, o && o->max_bytes ? o->max_bytes : SIZE_MAX, err));
  if (d->n == 0) {
    st = iso_fail(err, ISO_EFORMAT, "%s: no entries", index);
    goto done;
  }
  *out = d;
  d = NULL;
done:
  src_in_close(in);
  free(text);
  free(r);
  iso_docs_close(d);
  return st;
}

iso_status iso_split_make(const iso_docs *d, double frac, iso_split *out, iso_err *err) {
  *out = (iso_split){0};
  if (!(frac > 0 && frac < 1)) return iso_fail(err, ISO_EINVAL, "a held-out share of %g; it must lie between 0 and 1", frac);
  if (d->bytes < 2) {
    iso_fail(err, ISO_EINVAL, "%s: %zu byte of text cannot be split into a training and a held-out part", d->n_src ? d->src[0].name : "?", d->bytes);
    return iso_hint(err, ISO_EINVAL, "give a longer text");
  }
  iso_split s = {.train = malloc(((size_t)d->n + 1) * sizeof(iso_bytes)), .val = malloc(((size_t)d->n + 1) * sizeof(iso_bytes))};
  if (!s.train || !s.val) {
    iso_split_free(&s);
    return iso_fail(err, ISO_ENOMEM, "no memory to split %lld documents", (long long)d->n);
  }
  if (d->n == 1) {
    size_t n = d->doc[0].n, cut = (size_t)((double)n * (1 - frac));
    if (cut < 1) cut = 1;
    if (cut > n - 1) cut = n - 1;
    s.train[s.n_train++] = (iso_bytes){d->doc[0].p, cut};
    s.val[s.n_val++] = (iso_bytes){d->doc[0].p + cut, n - cut};
  } else {
    int64_t low = 0, high = 0;  // documents of the smallest and the largest hash
    double hl = 2, hh = -1;
    for (int64_t i = 0; i < d->n; i++) {
      double h = (double)(iso_rng_mix((uint64_t)i + UINT64_C(0x9E3779B97F4A7C15)) >> 11) * 0x1p-53;
      if (h < hl) hl = h, low = i;
      if (h > hh) hh = h, high = i;
    }
    for (int64_t i = 0; i < d->n; i++) {
      double h = (double)(iso_rng_mix((uint64_t)i + UINT64_C(0x9E3779B97F4A7C15)) >> 11) * 0x1p-53;
      bool val = i == low || (h < frac && i != high);
      if (val)
        s.val[s.n_val++] = d->doc[i];
      else
        s.train[s.n_train++] = d->doc[i];
    }
  }
  for (int64_t i = 0; i < s.n_train; i++) s.train_bytes += s.train[i].n;
  for (int64_t i = 0; i < s.n_val; i++) s.val_bytes += s.val[i].n;
  *out = s;
  return ISO_OK;
}

void iso_split_free(iso_split *s) {
  free(s->train);
  free(s->val);
  *s = (iso_split){0};
}
