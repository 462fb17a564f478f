// isoflop: a compute-optimal language-model engine. The only installed header; everything is behind opaque handles.
#ifndef ISOFLOP_H
#define ISOFLOP_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ISO_API __attribute__((visibility("default")))

// An engine: threads, kernels, run store. One thread at a time; several engines may exist.
typedef struct isoflop isoflop;

// Status of the last call on a handle: 0 is success, negative are the errors of isoflop_status_name.
typedef int isoflop_status;
ISO_API const char *isoflop_status_name(isoflop_status s);
// "0.1.0 (revision)"
ISO_API const char *isoflop_version(void);

// Opens an engine with `threads` workers (0: what the process may use). Returns NULL without memory or on a CPU without kernels.
ISO_API isoflop *isoflop_open(int threads);
ISO_API void isoflop_close(isoflop *f);
// What went wrong in the last call, and what to do; never NULL, borrowed until the next call.
ISO_API const char *isoflop_error(const isoflop *f);
// Asks a call that runs in another thread to save and stop; safe in a signal handler.
ISO_API void isoflop_stop(isoflop *f);

// Trains a model on text files under a budget such as "300s,600MiB" and leaves it in `out_dir`. `options` is JSON or NULL, keys as the
// options of `isoflop train`: {"model": "4,128,4/4,352,2048,256", "steps": 100, "seed": 1, "vocab": 2048}. An interrupted call goes on
// when it is repeated. *result_json (malloc'ed, may be NULL) gets the object that `isoflop train --json` ends with.
ISO_API isoflop_status isoflop_train(isoflop *f, const char *const *texts, int n_texts, const char *budget, const char *out_dir, const char *options,
                                     char **result_json);

// A trained model with its tokenizer, from a folder.
typedef struct isoflop_model isoflop_model;
ISO_API isoflop_status isoflop_model_open(isoflop *f, const char *dir, isoflop_model **out);
ISO_API void isoflop_model_close(isoflop_model *m);
ISO_API int64_t isoflop_model_params(const isoflop_model *m);
// Held-out loss of n bytes of text: bits per byte.
ISO_API isoflop_status isoflop_model_eval(isoflop_model *m, const char *text, size_t n, double *bits_per_byte);
// Continues `prompt` by up to max_tokens tokens; *text (malloc'ed) gets the continuation, NUL-terminated. temperature 0 is greedy.
ISO_API isoflop_status isoflop_model_sample(isoflop_model *m, const char *prompt, int64_t max_tokens, double temperature, double top_p, uint64_t seed,
                                            char **text);

#ifdef __cplusplus
}
#endif
#endif
