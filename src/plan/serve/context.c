// Context lengths by name and from configs.
#include "plan/serve/context.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CONTEXT_MAX = 1 << 30 };

static const struct row {
  const char *name;
  int64_t tokens;
  const char *source;
} ROWS[] = {
#define X(...) {__VA_ARGS__},
#include "plan/serve/contexts.def"
#undef X
};

void iso_serve_context_name(const char *name, iso_serve_shape *s) {
  size_t longest = 0;
  for (size_t i = 0; i < ISO_COUNT(ROWS); i++) {
    size_t n = iso_serve_name_begins(name, ROWS[i].name);
    if (n <= longest) continue;
    longest = n;
    s->context = ROWS[i].tokens;
    (void)snprintf(s->context_source, sizeof s->context_source, "%s", ROWS[i].source);
  }
}

// The factor by which rotary positions stretch *len, which yarn counts from what it started with.
static iso_status stretch(const json_t *rope, const char *what, double *len, iso_err *err) {
  static const char *const whole[] = {"su", "longrope", "llama3"};
  const json_t *kind = json_object_get(rope, "rope_type") ? json_object_get(rope, "rope_type") : json_object_get(rope, "type");
  const char *type = json_is_string(kind) ? json_string_value(kind) : "default";
  double factor = 1;
  for (size_t i = 0; i < ISO_COUNT(whole); i++)
    if (strcmp(type, whole[i]) == 0) return ISO_OK;
  ISO_TRY(iso_json_opt_f64(rope, "factor", what, &factor, err));
  if (!(factor >= 1 && factor <= 1e6)) return iso_fail(err, ISO_EFORMAT, "%s: rope scaling by a factor of %g, expected 1 or more", what, factor);
  if (strcmp(type, "yarn") == 0) {
    int64_t original = (int64_t)*len;
    ISO_TRY(iso_json_opt_i64(rope, "original_max_position_embeddings", what, 1, CONTEXT_MAX, &original, err));
    *len = (double)original;
  }
  *len *= factor;
  return ISO_OK;
}

iso_status iso_serve_context_config(const json_t *c, const char *what, iso_serve_shape *s, iso_err *err) {
  static const char *const key[] = {"max_position_embeddings", "n_positions",    "n_ctx",           "max_seq_len", "seq_length",
                                    "max_sequence_length",     "max_seq_length", "model_max_length"};
  int64_t tokens = 0;
  size_t k = 0;
  for (; k < ISO_COUNT(key); k++)
    if (json_object_get(c, key[k]) && !json_is_null(json_object_get(c, key[k]))) break;
  if (k == ISO_COUNT(key)) return ISO_OK;
  ISO_TRY(iso_json_opt_i64(c, key[k], what, 1, CONTEXT_MAX, &tokens, err));
  double len = (double)tokens;
  const char *type = json_string_value(json_object_get(c, "model_type"));
  const json_t *rope = json_object_get(c, "rope_scaling");
  if (!json_is_object(rope)) rope = json_object_get(c, "rope_parameters");
  bool own = type && strncmp(type, "gemma3", 6) == 0;
  if (json_is_object(rope) && !own) ISO_TRY(stretch(rope, what, &len, err));
  if (!(len <= CONTEXT_MAX)) return iso_fail(err, ISO_EFORMAT, "%s: a context of %g tokens", what, len);
  s->context = (int64_t)len;
  (void)snprintf(s->context_source, sizeof s->context_source, "%s%s of %.48s", key[k], s->context == tokens ? "" : " and rope scaling", what);
  return ISO_OK;
}

bool iso_serve_context_exceeded(const iso_serve_shape *s, double prompt, double output, char *text, size_t n) {
  if (!s->context || prompt + output <= (double)s->context) return false;
  (void)snprintf(text, n, "a request of %.0f + %.0f tokens is longer than the context of %lld that %s was made for (%s): times hold, answers may not",
                 prompt, output, (long long)s->context, s->name, s->context_source);
  return true;
}

bool iso_serve_context_exceeded_by(const iso_serve_shape *s, int64_t longer, int64_t requests, char *text, size_t n) {
  if (!s->context || longer < 1) return false;
  (void)snprintf(text, n, "%lld of %lld requests are longer than the context of %lld tokens that %s was made for (%s): they are served all the same",
                 (long long)longer, (long long)requests, (long long)s->context, s->name, s->context_source);
  return true;
}
