// Model folders as Hugging Face's transformers reads and writes them: config.json, generation_config.json, model.safetensors.
#include "model/fmt_hf.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/fmt_safetensors.h"

static iso_status path_of(const char *dir, const char *file, char *out, size_t n, iso_err *err) {
  int k = snprintf(out, n, "%s/%s", dir, file);
  if (k < 0 || (size_t)k >= n) return iso_fail(err, ISO_EINVAL, "%.200s: the path of %s is too long", dir, file);
  return ISO_OK;
}

// Whether a file stores this weight as [in, out]: GPT-2's Conv1D does for linear layers, not for embeddings and heads.
static bool transposed(const iso_model *m, const iso_arch *a, const iso_named_weight *v) {
  if (!a->hf_transposed || v->rank != 2) return false;
  for (int t = 0; t < m->g->n_tensors; t++) {
    const iso_tensor *x = &m->g->tensor[t];
    if (x->role != ISO_ROLE_WEIGHT || x->group != ISO_GROUP_MATRIX) continue;
    const float *from = iso_model_weight(m, t, 0);
    const iso_bind one = {{1, 1, 1}};
    if (v->w >= from && v->w < from + iso_tensor_elems(x, &one) * iso_tensor_copies(m->g, x)) return true;
  }
  return false;
}

// Shape in the file; returns the rank.
static int file_shape(const iso_named_weight *v, bool flip, int64_t shape[2]) {
  shape[0] = flip ? v->cols : v->rows;
  shape[1] = flip ? v->rows : v->cols;
  return v->rank > 1 ? 2 : 1;
}

// ---- saving ---------------------------------------------------------------------------------------------------------

typedef struct source {
  iso_named_weight v;
  bool flip, bf16;
} source;

typedef struct saver {
  const iso_model *m;
  const iso_arch *a;
  iso_st_writer *w;
  source *src;  // owned; what the filler of each tensor reads
  int n, cap;
  bool bf16;
} saver;

// Elements [first, first + n) of the stored order.
static iso_status fill(void *arg, int64_t first, int64_t n, void *out, iso_err *err) {
  const source *s = arg;
  (void)err;
  for (int64_t i = 0; i < n; i++) {
    int64_t e = first + i;
    float x = s->flip ? s->v.w[e % s->v.rows * s->v.cols + e / s->v.rows] : s->v.w[e];
    if (s->bf16)
      ((uint16_t *)out)[i] = iso_bf16_from_f32(x);
    else
      ((float *)out)[i] = x;
  }
  return ISO_OK;
}

static iso_status count_one(void *arg, const iso_named_weight *v, iso_err *err) {
  (void)v;
  (void)err;
  ((saver *)arg)->cap++;
  return ISO_OK;
}

static iso_status add_one(void *arg, const iso_named_weight *v, iso_err *err) {
  saver *s = arg;
  source *src = &s->src[s->n++];
  int64_t shape[2];
  *src = (source){*v, transposed(s->m, s->a, v), s->bf16};
  int rank = file_shape(v, src->flip, shape);
  if (!src->flip && !s->bf16) return iso_st_add(s->w, v->name, ISO_ST_F32, rank, shape, v->w, err);
  return iso_st_add_fill(s->w, v->name, s->bf16 ? ISO_ST_BF16 : ISO_ST_F32, rank, shape, fill, src, err);
}

static iso_status save_weights(iso_ctx *c, const iso_model *m, const iso_arch *a, const char *path, bool bf16, iso_err *err) {
  saver s = {.m = m, .a = a, .bf16 = bf16};
  iso_status st;
  ISO_TRY(iso_model_each(m, count_one, &s, err));
  s.src = calloc((size_t)s.cap + 1, sizeof *s.src);
  if (!s.src) return iso_fail(err, ISO_ENOMEM, "%s: no memory for a list of %d tensors", path, s.cap);
  ISO_TRYG(iso_st_writer_open(&s.w, err));
  ISO_TRYG(iso_st_meta(s.w, "format", "pt", err));  // transformers refuses files without it
  ISO_TRYG(iso_model_each(m, add_one, &s, err));
  st = iso_st_commit(c, s.w, path, err);
done:
  iso_st_writer_close(s.w);
  free(s.src);
  return st;
}

static int set_id(json_t *j, const char *key, int64_t id) { return json_object_set_new(j, key, id < 0 ? json_null() : json_integer(id)); }

iso_status iso_model_save_hf(iso_ctx *c, const iso_model *m, const char *dir, const iso_hf_opts *o, iso_err *err) {
  char path[PATH_MAX];
  const iso_arch *a;
  bool bf16 = o->dtype == ISO_DTYPE_bf16;
  const char *type = bf16 ? "bfloat16" : "float32";
  if (!bf16 && o->dtype != ISO_DTYPE_f32)
    return iso_fail(err, ISO_EUNSUP, "%s: models are stored as f32 or bf16, not %s", dir, iso_dtype_name(o->dtype));
  ISO_TRY(iso_arch_find(m->config.arch, &a, err));
  // transformers 5 reads dtype, 4 reads torch_dtype.
  json_t *gen = json_object();
  json_t *config = json_pack("{s:[s], s:s, s:s, s:s}", "architectures", a->hf_class, "model_type", a->hf_type, "dtype", type, "torch_dtype", type);
  iso_status st = ISO_OK;
  if (!config || !gen || set_id(config, "bos_token_id", o->bos_id) || set_id(config, "eos_token_id", o->eos_id) ||
      set_id(gen, "bos_token_id", o->bos_id) || set_id(gen, "eos_token_id", o->eos_id))
    st = iso_fail(err, ISO_ENOMEM, "%s: no memory for config.json", dir);
  ISO_TRYG(st);
  ISO_TRYG(a->to_hf(&m->config, config, err));
  ISO_TRYG(iso_mkdirs(dir, err));
  ISO_TRYG(path_of(dir, "model.safetensors", path, sizeof path, err));
  ISO_TRYG(save_weights(c, m, a, path, bf16, err));
  ISO_TRYG(path_of(dir, "generation_config.json", path, sizeof path, err));
  ISO_TRYG(iso_json_save(c, path, gen, err));
  ISO_TRYG(path_of(dir, "config.json", path, sizeof path, err));
  st = iso_json_save(c, path, config, err);
done:
  json_decref(config);
  json_decref(gen);
  return st;
}

// ---- loading --------------------------------------------------------------------------------------------------------

enum { CHUNK = 1 << 16 };

typedef struct loader {
  const iso_model *m;
  const iso_arch *a;
  const iso_st *st;
  const char *path;
  bool *used;  // owned; [iso_st_count]
  float *buf;  // owned; [CHUNK]
  const iso_st_info *embed;
} loader;

// Files of a bare base model lack the first component: "h.0.ln_1.weight" for "transformer.h.0.ln_1.weight".
static const iso_st_info *lookup(const iso_st *st, const char *name) {
  const iso_st_info *t = iso_st_find(st, name);
  bool inner = strncmp(name, "transformer.", 12) == 0 || strncmp(name, "model.", 6) == 0;
  return t || !inner ? t : iso_st_find(st, strchr(name, '.') + 1);
}

// Reads [cols, rows] into the model's [rows, cols].
static iso_status read_flipped(const iso_st_info *t, const iso_named_weight *v, float *buf, iso_err *err) {
  for (int64_t first = 0; first < t->elems; first += CHUNK) {
    int64_t n = t->elems - first < CHUNK ? t->elems - first : CHUNK;
    ISO_TRY(iso_st_read_f32_part(t, first, n, buf, err));
    for (int64_t e = first; e < first + n; e++) v->w[e % v->rows * v->cols + e / v->rows] = buf[e - first];
  }
  return ISO_OK;
}

static iso_status load_one(void *arg, const iso_named_weight *v, iso_err *err) {
  loader *l = arg;
  const iso_st_info *t = lookup(l->st, v->name);
  bool flip = transposed(l->m, l->a, v);
  if (!t) return iso_fail(err, ISO_EFORMAT, "%s: tensor \"%s\" is missing, config.json asks for it", l->path, v->name);
  iso_st_info want = {.dtype = t->dtype};
  want.rank = file_shape(v, flip, want.shape);
  if (t->rank != want.rank || memcmp(t->shape, want.shape, (size_t)want.rank * sizeof want.shape[0]) != 0) {
    char is[160], asks[160];
    return iso_fail(err, ISO_EFORMAT, "%s: tensor \"%s\" is %s, config.json asks for %s", l->path, v->name, iso_st_describe(t, is, sizeof is),
                    strchr(iso_st_describe(&want, asks, sizeof asks), '['));
  }
  l->used[t - iso_st_at(l->st, 0)] = true;
  if (!l->embed) l->embed = t;  // the embedding comes first in every graph
  iso_status st = flip ? read_flipped(t, v, l->buf, err) : iso_st_read_f32(t, v->w, err);
  return st == ISO_OK ? st : iso_err_prefix(err, st, "%s", l->path);
}

static bool ends_with(const char *s, const char *end) {
  size_t n = strlen(s), k = strlen(end);
  return n >= k && strcmp(s + n - k, end) == 0;
}

// What nobody asked for: constants that old versions of transformers stored are no harm, everything else is another model.
static iso_status check_extra(const loader *l, iso_err *err) {
  for (int64_t i = 0; i < iso_st_count(l->st); i++) {
    const iso_st_info *t = iso_st_at(l->st, i);
    if (l->used[i] || ends_with(t->name, ".rotary_emb.inv_freq") || ends_with(t->name, ".attn.masked_bias")) continue;
    if (ends_with(t->name, ".attn.bias") && t->rank == 4) continue;  // GPT-2's causal mask
    if (l->m->config.tied && strcmp(t->name, "lm_head.weight") == 0) {
      if (t->dtype == l->embed->dtype && t->bytes == l->embed->bytes && memcmp(t->data, l->embed->data, (size_t)t->bytes) == 0) continue;
      iso_fail(err, ISO_EFORMAT, "%s: lm_head.weight differs from the embedding, config.json says that they are one", l->path);
      return iso_hint(err, ISO_EFORMAT, "set \"tie_word_embeddings\" to false");
    }
    char is[160];
    return iso_fail(err, ISO_EFORMAT, "%s: tensor \"%.80s\", %s, has no place in the model that config.json describes", l->path, t->name,
                    iso_st_describe(t, is, sizeof is));
  }
  return ISO_OK;
}

static iso_status load_weights(iso_model *m, const iso_arch *a, const iso_st *st, const char *path, iso_err *err) {
  loader l = {.m = m, .a = a, .st = st, .path = path};
  l.used = calloc((size_t)iso_st_count(st) + 1, sizeof *l.used);
  l.buf = malloc(CHUNK * sizeof *l.buf);
  iso_status s = l.used && l.buf ? ISO_OK : iso_fail(err, ISO_ENOMEM, "%s: no memory to load a model", path);
  if (s == ISO_OK) s = iso_model_each(m, load_one, &l, err);
  if (s == ISO_OK) s = check_extra(&l, err);
  free(l.used);
  free(l.buf);
  return s;
}

// The config of the folder, with messages that name the file.
static iso_status load_config(const char *dir, const iso_arch **a, iso_model_config *out, iso_err *err) {
  char path[PATH_MAX];
  const char *type;
  json_t *j = NULL;
  ISO_TRY(path_of(dir, "config.json", path, sizeof path, err));
  if (!iso_file_exists(path)) {
    iso_fail(err, ISO_EIO, "%s: no such file", path);
    return iso_hint(err, ISO_EIO, "a model folder holds config.json and model.safetensors");
  }
  ISO_TRY(iso_json_load(path, &j, err));
  iso_status st = iso_json_get_str(j, "model_type", "config.json", &type, err);
  if (st == ISO_OK) st = iso_arch_find_hf(type, a, err);
  if (st == ISO_OK) st = (*a)->from_hf(j, out, err);
  json_decref(j);
  return st == ISO_OK ? st : iso_err_prefix(err, st, "%s", dir);
}

iso_status iso_model_load_hf(iso_ctx *c, const char *dir, iso_model **out, iso_err *err) {
  char path[PATH_MAX], index[PATH_MAX];
  const iso_arch *a = NULL;
  iso_model_config config;
  iso_model *m = NULL;
  iso_st *st = NULL;
  *out = NULL;
  ISO_TRY(load_config(dir, &a, &config, err));
  ISO_TRY(path_of(dir, "model.safetensors", path, sizeof path, err));
  ISO_TRY(path_of(dir, "model.safetensors.index.json", index, sizeof index, err));
  const char *file = !iso_file_exists(path) && iso_file_exists(index) ? index : path;
  ISO_TRY(iso_st_open(file, &st, err));
  iso_status s = iso_model_open(c, &config, &m, err);
  if (s == ISO_OK) s = load_weights(m, a, st, file, err);
  iso_st_close(st);
  if (s == ISO_OK)
    *out = m;
  else
    iso_model_close(m);
  return s;
}
