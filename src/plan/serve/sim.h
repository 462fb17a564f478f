// Discrete-event simulation of serving replicas with iteration-level continuous batching, fed with a trace.
#ifndef ISO_PLAN_SERVE_SIM_H
#define ISO_PLAN_SERVE_SIM_H
#include "plan/serve/roofline.h"
#include "plan/serve/trace.h"

// Seconds of one iteration that processes prefill_tok prompt tokens, each attending to prefill_ctx tokens on average, and decodes one token of
// each of `seqs` sequences whose contexts sum up to ctx_tok. Must be positive. Between two scheduling events iterations differ in ctx_tok only
// and are summed as an arithmetic series between the first and the last of them (exact when the function is affine in ctx_tok; a stretch ends
// when ctx_tok has grown by a tenth, so that curvature hardly counts).
typedef double (*iso_sim_step_fn)(const void *self, double prefill_tok, double prefill_ctx, double seqs, double ctx_tok);

// A step function from a setup and its coefficients; `self` of iso_sim_server_step.
typedef struct iso_sim_server {
  iso_serve_setup setup;
  iso_serve_coef coef;
} iso_sim_server;
double iso_sim_server_step(const void *self, double prefill_tok, double prefill_ctx, double seqs, double ctx_tok);

typedef enum iso_sim_role { ISO_SIM_BOTH = 0, ISO_SIM_PREFILL, ISO_SIM_DECODE } iso_sim_role;

// One replica.
typedef struct iso_sim_node {
  iso_sim_step_fn step;
  const void *self;                    // borrowed
  int group;                           // of devices, from 0; what `pick` chooses among
  iso_sim_role role;                   // phase splitting: prefill nodes hand over to decode nodes; without it all are ISO_SIM_BOTH
  double kv_tok;                       // tokens that its cache holds
  int64_t max_seqs;                    // sequences resident at once
  int64_t chunk_tok;                   // tokens of an iteration: decoding ones first, prompts fill up
  bool exclusive;                      // prompts run alone, before decoding goes on, and whole; else prompts are cut and mixed with decoding
  bool reserve;                        // admit only when prompt and whole output fit (no preemption); else admit when the prompt fits and preempt the
                                       // latest admitted, to be recomputed, when the cache fills up
  double idle_w, prefill_w, decode_w;  // of the whole replica
} iso_sim_node;
// Role both, chunks of 2048, 256 sequences, mixed, preempting; cache from the server's memory (iso_serve_capacity at `share`), power from its device.
iso_status iso_sim_node_of(const iso_sim_server *s, double share, iso_sim_node *out, iso_err *err);

typedef struct iso_sim_opts {
  const iso_sim_node *node;  // borrowed
  int nodes;
  // Chooses the group of a request (NULL: any). Within it the node with the fewest outstanding tokens gets the request.
  int (*pick)(void *self, const iso_serve_request *r);
  void *pick_self;
  double slo_ttft_s, slo_itl_s;           // +INFINITY: none. A request attains the second when its mean time per output token does
  double transfer_s_per_tok, transfer_s;  // cache of a prompt from a prefill to a decode node
  double *first_s, *finish_s;             // NULL, or n times per request, NaN when refused: when its first and last token came
  // Phase splitting in two halves, which searches over pools ask for again and again: prefill nodes alone (a request ends with its first token), or
  // decode nodes alone behind first tokens that came at first_at_s[i] (NaN: refused).
  bool first_only;
  const double *first_at_s;
  // > 0: only whether this share of the requests meets both limits is asked. The run stops as soon as it cannot, and of the result requests,
  // attained (when stopped, of those not yet missed: below `need`) and the arrays above (when not stopped) are filled in.
  double need;
} iso_sim_opts;
iso_sim_opts iso_sim_opts_default(const iso_sim_node *node, int nodes);

typedef struct iso_sim_quantiles {
  double mean, p50, p90, p99, max;
} iso_sim_quantiles;

enum { ISO_SIM_GROUPS_MAX = 16 };
typedef struct iso_sim_result {
  int64_t requests, refused;                      // refused: larger than any node's cache
  int64_t preemptions, iterations, stretches;     // iterations simulated, and the stretches they were summed in
  double span_s;                                  // until the last token
  double output_tok, prompt_tok;                  // of completed requests
  double req_per_s, tok_per_s;                    // completed requests and output tokens over the span
  iso_sim_quantiles ttft, tpot, itl, e2e;         // tpot: mean per request; itl: over all tokens, from a histogram (1.2% wide bins)
  double attained, ttft_attained, tpot_attained;  // share of all requests
  double busy;                                    // share of the span, mean over nodes
  double group_busy[ISO_SIM_GROUPS_MAX], group_tok[ISO_SIM_GROUPS_MAX], group_requests[ISO_SIM_GROUPS_MAX];
  double mean_seqs;                               // decoding sequences, over busy time
  double kv_peak;                                 // highest share of a cache in use
  double idle_j, prefill_j, decode_j, j_per_tok;  // joules; all of them over output tokens
} iso_sim_result;
// Runs the whole trace. Errors: ISO_EINVAL for bad nodes or a pick outside the groups (names the node, or the request), ISO_ENUM when a step
// function returns no positive number.
iso_status iso_sim_run(const iso_serve_trace *t, const iso_sim_opts *o, iso_sim_result *out, iso_err *err);
json_t *iso_sim_result_json(const iso_sim_result *r);
#endif
