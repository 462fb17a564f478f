// KV-cached decoding of many sequences over one DECODE graph.
#ifndef ISO_INFER_SESSION_H
#define ISO_INFER_SESSION_H
#include "model/model.h"

typedef struct iso_session iso_session;

// `seqs` sequences of at most ctx_len tokens (0: the model's ctx), `rows` tokens per pass (0: a default). The model is
// borrowed and its weights shared. All memory is taken here. ISO_EINVAL: ctx_len above the model's ctx.
iso_status iso_session_open(iso_model *m, int64_t seqs, int64_t ctx_len, int64_t rows, iso_session **out, iso_err *err);
void iso_session_close(iso_session *s);
// What a session takes: bytes that iso_session_open allocates (KV cache, activations, scratch), FLOPs of a row without
// attention's scores and sums and without the head, of a row and one key that it sees (all layers), and of a row's logits.
typedef struct iso_session_cost {
  int64_t bytes;
  double row_flop, pair_flop, logits_flop;
} iso_session_cost;
iso_status iso_session_price(const iso_model_config *c, const iso_kern_table *kern, int threads, int64_t seqs, int64_t ctx_len, int64_t rows,
                             iso_session_cost *out, iso_err *err);
iso_session_cost iso_session_costs(const iso_session *s);
// FLOPs (model count, causal) of feeding n tokens at positions pos, pos + 1, ... when `logits` of them get logits: 0 or 1 in
// iso_session_feed, every one that is fed by iso_session_step.
double iso_session_flop(iso_session_cost k, int64_t pos, int64_t n, int64_t logits);

// Appends n ids to a sequence, in passes of `rows`; logits e[V] of the last row alone, NULL when not wanted (the
// head is then not run). An id outside the
// vocabulary, an unknown sequence or one without room for n more is ISO_EINVAL, and nothing has changed. Stops between
// passes with ISO_ECANCEL (the sequence keeps what was fed) when the context's cancel flag is above 1.
iso_status iso_session_feed(iso_session *s, int64_t seq, const int32_t *ids, int64_t n, float *logits, iso_err *err);
// Appends one id to each of n different sequences; logits e[n,V] or NULL. Errors as for iso_session_feed.
iso_status iso_session_step(iso_session *s, const int64_t *seqs, const int32_t *ids, int64_t n, float *logits, iso_err *err);
// Forgets the tokens of a sequence from position `len` on; 0 empties it.
iso_status iso_session_cut(iso_session *s, int64_t seq, int64_t len, iso_err *err);
// Tokens held by a sequence, the most it can hold, and the sequences there are.
int64_t iso_session_len(const iso_session *s, int64_t seq);
int64_t iso_session_cap(const iso_session *s);
int64_t iso_session_seqs(const iso_session *s);
#endif
