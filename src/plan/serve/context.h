// Context lengths: how many tokens of prompt and answer a model was made for, by its name or by its config.json.
#ifndef ISO_PLAN_SERVE_CONTEXT_H
#define ISO_PLAN_SERVE_CONTEXT_H
#include "plan/serve/shape.h"

// Puts context and context_source of a published model into s; leaves them when the name is unknown. Names go on as in iso_serve_shape_find.
void iso_serve_context_name(const char *name, iso_serve_shape *s);
// The same from a Hugging Face config: max_position_embeddings or what other families call it. Scaled rotary positions count as servers count them:
// "yarn" reaches factor x original_max_position_embeddings, "linear", "dynamic" and others factor x the length; "llama3", "longrope" and Gemma 3
// state the scaled length themselves. Nothing is put when the config has no length. ISO_EFORMAT names the field that is none; `what` is the file.
iso_status iso_serve_context_config(const json_t *config, const char *what, iso_serve_shape *s, iso_err *err);
// One sentence when a request of so many tokens is longer, and true; false when it is not, or the length is unknown.
bool iso_serve_context_exceeded(const iso_serve_shape *s, double prompt, double output, char *text, size_t n);
// The same of a trace, of which `longer` of `requests` are.
bool iso_serve_context_exceeded_by(const iso_serve_shape *s, int64_t longer, int64_t requests, char *text, size_t n);
#endif
