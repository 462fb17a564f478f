// Private to sim*.c: requests and nodes while they run, and the tallies they feed.
#ifndef ISO_PLAN_SERVE_SIM_IMPL_H
#define ISO_PLAN_SERVE_SIM_IMPL_H
#include "plan/serve/sim.h"

// Bins of 1/200 of a decade from a microsecond up.
enum { SIM_BINS = 2400, SIM_NONE = -1 };

typedef struct sim_hist {
  double count[SIM_BINS], sum, max;
} sim_hist;
// Adds `weight` samples at each of k values that go from first to last evenly.
void sim_hist_add(sim_hist *h, double first, double last, double k, double weight);
void sim_hist_quantiles(const sim_hist *h, iso_sim_quantiles *out);

// A request on a node. Links are indices of requests; a request is in one list at a time.
typedef struct sim_req {
  double ready_s;                // arrival at its present node
  double first_s, last_s;        // first and latest token
  int64_t start;                 // node's iteration count when it began to decode
  int32_t prompt, output, made;  // tokens; made: output tokens so far (while it decodes: when it began to)
  int32_t need;                  // prompt tokens still to process before it decodes
  int32_t prev, next;
  uint32_t stay;  // goes up when it leaves the node: outdates heap entries
} sim_req;

typedef struct sim_list {
  int32_t head, tail;
  int64_t n;
} sim_list;

// When a decoding request ends, in the node's decode iterations.
typedef struct sim_end {
  int64_t at;
  int32_t req;
  uint32_t stay;
} sim_end;

// Decoding sequences whose latest token came at the same time.
typedef struct sim_cohort {
  double last_s;
  int64_t n;
} sim_cohort;

typedef struct sim_tally {
  sim_hist itl;
  double prefill_j, decode_j;
  int64_t preemptions, iterations, stretches;
  const iso_serve_request *at;  // borrowed: all requests
  double slo_ttft_s, slo_itl_s;
  int64_t requests, missed;  // those that miss a limit so far
  double need;               // iso_sim_opts.need
  bool stopped;              // the share can no longer be attained
} sim_tally;
// Counts a request that misses a limit.
void sim_missed(sim_tally *t);
bool sim_late(const sim_tally *t, int32_t r, double first_s);

typedef struct sim_node {
  const iso_sim_node *cfg;             // borrowed
  sim_req *req;                        // borrowed: all requests
  sim_tally *tally;                    // borrowed
  sim_list waiting, prefill, running;  // running: in the order they began to decode
  sim_end *heap;                       // owned
  sim_cohort *cohort;                  // owned
  int64_t heap_n, heap_cap, cohorts, cohort_cap;
  double now_s;            // end of the latest iteration
  int64_t iter;            // decode iterations so far
  double ctx_tok, kv_tok;  // of running sequences; of all resident ones
  double reserved_tok;     // prompts and whole outputs of resident requests
  double load_tok;         // tokens that it still owes
  double busy_s, seq_s, kv_peak, emitted_tok;
  int64_t requests;   // handed to it
  bool hand_over;     // prefill node: a request ends with its first token
  iso_status status;  // of the first failure: no memory, bad step
} sim_node;

iso_status sim_node_open(sim_node *n, const iso_sim_node *cfg, sim_req *req, sim_tally *tally, iso_err *err);
void sim_node_close(sim_node *n);
// Hands a request to a node at its ready time; the node must have been advanced to it.
void sim_node_take(sim_node *n, int32_t r);
// Runs iterations that begin before `until`.
void sim_node_advance(sim_node *n, double until);
#endif
