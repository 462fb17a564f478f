// Phase splitting: separate pools of replicas for prompts and for tokens, sized by simulation, beside one mixed pool (Splitwise, arXiv:2311.18677).
#ifndef ISO_PLAN_SERVE_SPLIT_H
#define ISO_PLAN_SERVE_SPLIT_H
#include "plan/serve/sim.h"

enum { ISO_SPLIT_TYPES_MAX = 16 };

typedef struct iso_split_type {
  char name[64];
  iso_sim_node node;  // role and group are set by the search
  double usd_h;       // of one replica
  double watts;       // what a replica is provisioned for
} iso_split_type;

typedef struct iso_split_opts {
  double slo_ttft_s, slo_itl_s;           // +INFINITY: none
  double attain;                          // share of requests that meet both
  double transfer_s_per_tok, transfer_s;  // of a prompt's cache between pools, what computation does not hide
  bool by_watts;                          // least provisioned power, else least rent
  int most;                               // replicas of a pool; 0: 512
  int from;                               // of a mixed pool at least; 0: 1
  double below;                           // a choice must cost (draw) less; 0: whatever it costs
} iso_split_opts;

// A pool layout that attains the share: for mixed pools token is -1 and tokens 0.
typedef struct iso_split_choice {
  int prompt, token;    // types
  int prompts, tokens;  // replicas
  double usd_h, watts;
  iso_sim_result sim;
} iso_split_choice;

// The cheapest split over all pairs of types. Time to first token depends on the prompt pool alone, so its least size is found by bisection, then
// the least token pool for it and for one and two replicas more (more replicas are taken to never attain less). ISO_EBUDGET when `most` replicas
// of no pair are enough; ISO_EINVAL for bad arguments.
iso_status iso_split_search(const iso_serve_trace *t, const iso_split_type *types, int n, const iso_split_opts *o, iso_split_choice *out,
                            iso_err *err);
// The cheapest pool of one type that does both.
iso_status iso_split_mixed(const iso_serve_trace *t, const iso_split_type *types, int n, const iso_split_opts *o, iso_split_choice *out,
                           iso_err *err);
// The highest rate (requests a second, within 2%) at which the nodes of `o` attain the share, when the trace's arrivals are sped up or slowed
// down evenly; 0 when they do not at a hundredth of the trace's rate.
iso_status iso_sim_max_rate(const iso_serve_trace *t, const iso_sim_opts *o, double attain, double *rate, iso_err *err);
json_t *iso_split_choice_json(const iso_split_choice *c, const iso_split_type *types);
#endif
