// tokenizer.json and tokenizer_config.json of Hugging Face, for byte-level BPE.
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "text/pretok.h"
#include "text/tok_priv.h"

enum { JSON_LIMIT = 256 << 20, CHARS = 324 };

// Bytes as GPT-2 writes them: every byte one printable code point.
static void put_chars(iso_str *s, const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint32_t c = tok_byte_char(p[i]);
    char u[2] = {(char)c, 0};
    if (c < 0x80) {
      iso_str_put(s, u, 1);
      continue;
    }
    u[0] = (char)(0xC0 | c >> 6);
    u[1] = (char)(0x80 | (c & 0x3F));
    iso_str_put(s, u, 2);
  }
}

// The same backwards: appends to `out`, or returns false at a character that stands for no byte.
static bool get_chars(const int16_t *byte_of, const char *text, size_t n, iso_str *out) {
  const uint8_t *p = (const uint8_t *)text;
  for (size_t i = 0; i < n;) {
    uint32_t cp;
    i += iso_utf8_next(p + i, n - i, &cp);
    if (cp >= CHARS || byte_of[cp] < 0) return false;
    char b = (char)byte_of[cp];
    iso_str_put(out, &b, 1);
  }
  return true;
}

static json_t *piece_chars(const iso_tok *t, int32_t id, iso_str *tmp) {
  tmp->n = 0;
  put_chars(tmp, t->bytes + t->at[id], t->at[id + 1] - t->at[id]);
  return tmp->failed ? NULL : json_stringn(tmp->p ? tmp->p : "", tmp->n);
}

static json_t *added_tokens(const iso_tok *t) {
  json_t *list = json_array();
  for (int32_t i = 0; i < t->vocab; i++) {
    if (!t->special[i]) continue;
    json_t *name = json_stringn((const char *)t->bytes + t->at[i], t->at[i + 1] - t->at[i]);
    json_array_append_new(list, json_pack("{s:i, s:o, s:b, s:b, s:b, s:b, s:b}", "id", (int)i, "content", name, "single_word", 0, "lstrip", 0,
                                          "rstrip", 0, "normalized", 0, "special", 1));
  }
  return list;
}

static json_t *byte_level(void) {
  return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1);
}

static json_t *model_json(const iso_tok *t) {
  iso_str tmp = {0};
  json_t *vocab = json_object(), *merges = json_array();
  for (int32_t i = 0; i < t->vocab; i++) {
    if (t->at[i + 1] == t->at[i]) continue;
    json_t *key = t->special[i] ? json_stringn((const char *)t->bytes + t->at[i], t->at[i + 1] - t->at[i]) : piece_chars(t, i, &tmp);
    if (key) json_object_set_new(vocab, json_string_value(key), json_integer(i));
    json_decref(key);
  }
  // "a b": every reader knows this form, and no byte is written as a space.
  for (int64_t k = 0; k < t->n_merges; k++) {
    const tok_merge *m = &t->merge[k];
    tmp.n = 0;
    put_chars(&tmp, t->bytes + t->at[m->a], t->at[m->a + 1] - t->at[m->a]);
    iso_str_put(&tmp, " ", 1);
    put_chars(&tmp, t->bytes + t->at[m->b], t->at[m->b + 1] - t->at[m->b]);
    json_array_append_new(merges, tmp.failed ? NULL : json_stringn(tmp.p, tmp.n));
  }
  bool ok = !tmp.failed && json_array_size(merges) == (size_t)t->n_merges;
  iso_str_free(&tmp);
  if (!ok) {
    json_decref(vocab);
    json_decref(merges);
    return NULL;
  }
  return json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix",
                   "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", 0, "vocab", vocab, "merges", merges);
}

iso_status iso_tok_save_hf(iso_ctx *c, const iso_tok *t, const char *dir, iso_err *err) {
  char path[4096];
  json_t *j = json_pack("{s:s, s:n, s:n, s:o, s:n, s:o, s:n, s:o, s:o}", "version", "1.0", "truncation", "padding", "added_tokens", added_tokens(t),
                        "normalizer", "pre_tokenizer", byte_level(), "post_processor", "decoder", byte_level(), "model", model_json(t));
  json_t *cfg = json_pack("{s:s, s:b, s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "clean_up_tokenization_spaces", 0, "add_prefix_space", 0);
  iso_status st = ISO_OK;
  if (!j || !cfg) {
    st = iso_fail(err, ISO_ENOMEM, "no memory to write a tokenizer of %d entries", (int)t->vocab);
    goto done;
  }
  if (t->eot >= 0) {
    json_object_set_new(cfg, "bos_token", json_string("<|endoftext|>"));
    json_object_set_new(cfg, "eos_token", json_string("<|endoftext|>"));
    json_object_set_new(cfg, "pad_token", json_string("<|endoftext|>"));
  }
  if (snprintf(path, sizeof path, "%s/tokenizer.json", dir) >= (int)sizeof path - 8) {
    st = iso_fail(err, ISO_EINVAL, "the path of the folder is too long: %.200s", dir);
    goto done;
  }
  ISO_TRYG(iso_json_save(c, path, j, err));
  snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
  ISO_TRYG(iso_json_save(c, path, cfg, err));
done:
  json_decref(j);
  json_decref(cfg);
  return st;
}

// What is known of one id while reading.
typedef struct reader {
  const char *what;
  iso_err *err;
  int16_t byte_of[CHARS];
  json_t **name;     // owned array of borrowed strings, by id
  uint8_t *special;  // owned
  int64_t vocab;
  tok_draft d;
  tok_index index;
} reader;

static iso_status unsupported(reader *r, const char *key, const json_t *v, const char *want) {
  char *text = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
  iso_fail(r->err, ISO_EUNSUP, "%s: %s is %.120s, but only %s is known", r->what, key, text ? text : "absent", want);
  free(text);
  return iso_hint(r->err, ISO_EUNSUP, "byte-level BPE with GPT-2's expression is supported");
}

static bool is_type(const json_t *o, const char *type) {
  const char *s = json_string_value(json_object_get(o, "type"));
  return s && strcmp(s, type) == 0;
}
// Absent, null, false or "" : the feature is off.
static bool off(const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  return !v || json_is_null(v) || json_is_false(v) || (json_is_string(v) && json_string_length(v) == 0) ||
         (json_is_number(v) && json_number_value(v) == 0);
}

// Everything outside the vocabulary that would change ids.
static iso_status check_settings(reader *r, const json_t *root, const json_t *model) {
  const json_t *pre = json_object_get(root, "pre_tokenizer"), *reg = json_object_get(pre, "use_regex");
  if (!is_type(model, "BPE") && json_object_get(model, "type")) return unsupported(r, "model.type", json_object_get(model, "type"), "\"BPE\"");
  if (!off(root, "normalizer")) return unsupported(r, "normalizer", json_object_get(root, "normalizer"), "null");
  if (!is_type(pre, "ByteLevel")) return unsupported(r, "pre_tokenizer", pre, "ByteLevel");
  const json_t *space = json_object_get(pre, "add_prefix_space");  // absent means true
  if (!json_is_false(space)) return unsupported(r, "pre_tokenizer.add_prefix_space", space, "false");
  if (reg && !json_is_true(reg)) return unsupported(r, "pre_tokenizer.use_regex", reg, "true");
  const json_t *post = json_object_get(root, "post_processor");
  if (post && !json_is_null(post) && !is_type(post, "ByteLevel")) return unsupported(r, "post_processor", post, "null or ByteLevel");
  const char *const keys[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"};
  for (size_t i = 0; i < ISO_COUNT(keys); i++)
    if (!off(model, keys[i])) return unsupported(r, keys[i], json_object_get(model, keys[i]), "null or false");
  return ISO_OK;
}

static iso_status set_name(reader *r, int64_t id, json_t *name, bool special) {
  if (id < 0 || id >= r->vocab)
    return iso_fail(r->err, ISO_EFORMAT, "%s: id %lld of an entry is not in [0, %lld)", r->what, (long long)id, (long long)r->vocab);
  if (r->name[id] && !special) return iso_fail(r->err, ISO_EFORMAT, "%s: id %lld is given to two entries", r->what, (long long)id);
  r->name[id] = name;
  r->special[id] = special;
  return ISO_OK;
}

static iso_status read_names(reader *r, json_t *vocab, json_t *added) {
  int64_t top = -1;
  const char *key;
  json_t *v;
  size_t i;
  json_object_foreach(vocab, key, v) {
    if (!json_is_integer(v)) return iso_fail(r->err, ISO_EFORMAT, "%s: the id of entry \"%.60s\" is not an integer", r->what, key);
    if (json_integer_value(v) > top) top = json_integer_value(v);
  }
  json_array_foreach(added, i, v) {
    int64_t id;
    ISO_TRY(iso_json_get_i64(v, "id", "an added token", 0, ISO_TOK_VOCAB_MAX - 1, &id, r->err));
    if (id > top) top = id;
  }
  if (top >= ISO_TOK_VOCAB_MAX)
    return iso_fail(r->err, ISO_EFORMAT, "%s: id %lld; at most %d entries are possible", r->what, (long long)top, ISO_TOK_VOCAB_MAX);
  r->vocab = top + 1;
  r->name = calloc((size_t)r->vocab + 1, sizeof(json_t *));
  r->special = calloc((size_t)r->vocab + 1, 1);
  if (!r->name || !r->special) return iso_fail(r->err, ISO_ENOMEM, "%s: no memory for %lld entries", r->what, (long long)r->vocab);
  // jansson's iterators give keys as text; names are kept as strings of their own so that ids can be walked in order.
  json_object_foreach(vocab, key, v) {
    int64_t id = json_integer_value(v);
    json_t *name = json_string_nocheck(key);
    iso_status st = name ? set_name(r, id, name, false) : iso_fail(r->err, ISO_ENOMEM, "%s: no memory", r->what);
    if (st != ISO_OK) {
      json_decref(name);
      return st;
    }
  }
  json_array_foreach(added, i, v) {
    int64_t id;
    ISO_TRY(iso_json_get_i64(v, "id", "an added token", 0, ISO_TOK_VOCAB_MAX - 1, &id, r->err));
    json_t *content = json_object_get(v, "content");
    if (!json_is_string(content) || json_string_length(content) == 0)
      return iso_fail(r->err, ISO_EFORMAT, "%s: added token %lld has no content", r->what, (long long)id);
    if (!off(v, "lstrip") || !off(v, "rstrip") || !off(v, "single_word"))
      return unsupported(r, "an added token with lstrip, rstrip or single_word", v, "false");
    json_decref(r->name[id]);
    r->name[id] = NULL;
    ISO_TRY(set_name(r, id, json_incref(content), true));
  }
  return ISO_OK;
}

static iso_status read_pieces(reader *r) {
  iso_str tmp = {0};
  iso_status st = tok_index_open(&r->index, r->vocab, r->err);
  for (int64_t id = 0; st == ISO_OK && id < r->vocab; id++) {
    const char *s = json_string_value(r->name[id]);
    size_t n = json_string_length(r->name[id]);
    tmp.n = 0;
    if (!r->special[id] && s && !get_chars(r->byte_of, s, n, &tmp)) {
      st = iso_fail(r->err, ISO_EFORMAT, "%s: entry %lld \"%.60s\" is not written in GPT-2's byte characters", r->what, (long long)id, s);
      break;
    }
    if (r->special[id]) iso_str_put(&tmp, s, n);
    if (tmp.failed) {
      st = iso_fail(r->err, ISO_ENOMEM, "%s: no memory", r->what);
      break;
    }
    st = tok_draft_piece(&r->d, tmp.p, tmp.n, r->special[id], r->err);
    if (st == ISO_OK && !r->special[id] && tmp.n) st = tok_index_add(&r->index, &r->d, (int32_t)id, r->err);
  }
  iso_str_free(&tmp);
  return st;
}

// A merge is "a b" or ["a", "b"].
static iso_status read_merges(reader *r, const json_t *merges) {
  iso_str s = {0};
  size_t k;
  const json_t *v;
  iso_status st = ISO_OK;
  json_array_foreach(merges, k, v) {
    const char *a, *b;
    size_t na, nb;
    if (json_is_array(v) && json_array_size(v) == 2 && json_is_string(json_array_get(v, 0)) && json_is_string(json_array_get(v, 1))) {
      a = json_string_value(json_array_get(v, 0)), na = json_string_length(json_array_get(v, 0));
      b = json_string_value(json_array_get(v, 1)), nb = json_string_length(json_array_get(v, 1));
    } else if (json_is_string(v) && strchr(json_string_value(v), ' ')) {
      a = json_string_value(v), b = strchr(a, ' ') + 1;
      na = (size_t)(b - a) - 1, nb = json_string_length(v) - na - 1;
    } else {
      st = iso_fail(r->err, ISO_EFORMAT, "%s: merge %zu is neither \"a b\" nor [\"a\", \"b\"]", r->what, k);
      break;
    }
    s.n = 0;
    bool ok = get_chars(r->byte_of, a, na, &s);
    size_t cut = s.n;
    ok = ok && get_chars(r->byte_of, b, nb, &s) && cut > 0 && s.n > cut && !s.failed;
    const uint8_t *p = (const uint8_t *)s.p;
    int32_t ia = ok ? tok_index_find(&r->index, &r->d, p, cut) : -1, ib = ok ? tok_index_find(&r->index, &r->d, p + cut, s.n - cut) : -1;
    int32_t ic = ok ? tok_index_find(&r->index, &r->d, p, s.n) : -1;
    if (ia < 0 || ib < 0 || ic < 0) {
      st =
          iso_fail(r->err, ISO_EFORMAT, "%s: merge %zu (\"%.40s\" with \"%.40s\") names entries that the vocabulary does not have", r->what, k, a, b);
      break;
    }
    st = tok_draft_merge(&r->d, ia, ib, ic, r->err);
    if (st != ISO_OK) break;
  }
  iso_str_free(&s);
  return st;
}

iso_status iso_tok_parse(const char *text, size_t n, const char *what, iso_tok **out, iso_err *err) {
  *out = NULL;
  json_t *root = NULL;
  ISO_TRY(iso_json_parse(text, n, what, &root, err));
  reader r = {.what = what, .err = err};
  memset(r.byte_of, 0xFF, sizeof r.byte_of);
  for (int b = 0; b < 256; b++) r.byte_of[tok_byte_char((uint8_t)b)] = (int16_t)b;
  iso_status st;
  json_t *model = json_object_get(root, "model"), *vocab = json_object_get(model, "vocab"), *merges = json_object_get(model, "merges");
  if (!json_is_object(vocab) || !json_is_array(merges)) {
    st = iso_fail(err, ISO_EFORMAT, "%s: no model.vocab (an object) and model.merges (an array)", what);
    goto done;
  }
  ISO_TRYG(check_settings(&r, root, model));
  ISO_TRYG(read_names(&r, vocab, json_object_get(root, "added_tokens")));
  ISO_TRYG(read_pieces(&r));
  ISO_TRYG(read_merges(&r, merges));
  st = tok_draft_finish(&r.d, out, err);
  if (st != ISO_OK) iso_err_prefix(err, st, "%s", what);
done:
  for (int64_t i = 0; r.name && i < r.vocab; i++) json_decref(r.name[i]);
  free(r.name);
  free(r.special);
  tok_draft_free(&r.d);
  tok_index_close(&r.index);
  json_decref(root);
  return st;
}

iso_status iso_tok_load(const char *path, iso_tok **out, iso_err *err) {
  char inside[4096], *text;
  size_t n;
  *out = NULL;
  if (snprintf(inside, sizeof inside, "%s/tokenizer.json", path) < (int)sizeof inside && iso_file_exists(inside)) path = inside;
  ISO_TRY(iso_file_get(path, JSON_LIMIT, &text, &n, err));
  iso_status st = iso_tok_parse(text, n, path, out, err);
  free(text);
  return st;
}
