// Choosing a fleet for a trace: rates per device type and request size under latency limits, the integer program, and a check by simulation.
#ifndef ISO_PLAN_SERVE_FLEET_H
#define ISO_PLAN_SERVE_FLEET_H
#include "plan/serve/fleet_ip.h"
#include "plan/serve/split.h"

// One kind of replica that may be rented.
typedef struct iso_fleet_type {
  char name[64];          // e.g. "2xa100-80"
  iso_sim_server server;  // setup and coefficients
  double usd_h;           // of the whole replica
  int64_t most;           // to be had; -1: any number
} iso_fleet_type;
// The fewest devices of d (a power of two up to its node) that hold the model with room for one sequence of `tok` tokens, or `devices` of them
// when > 0. ISO_ENOMEM when none fits; ISO_EUNSUP when the price is unknown.
iso_status iso_fleet_type_of(const iso_serve_shape *s, const iso_serve_device *d, const char *format, const iso_serve_coef *c, int64_t devices,
                             double tok, double mem_share, iso_fleet_type *out, iso_err *err);

// What one replica can do for requests of one size that always keep it full.
typedef struct iso_fleet_rate {
  double req_per_s;      // 0 when a limit cannot be met
  double seqs;           // in flight at that rate
  double ttft_s, itl_s;  // first token without a queue; mean time per output token
  double usd_per_mtok;   // dollars per million tokens, prompt and output
  const char *bound;     // "cache", "itl", "ttft", "sequences": what stops more
} iso_fleet_rate;
// Limits may be +INFINITY. Work is that of iso_serve_mean_work, prompts and decoding mixed.
iso_status iso_fleet_rate_of(const iso_fleet_type *t, double prompt, double output, double slo_ttft_s, double slo_itl_s, double mem_share,
                             iso_fleet_rate *out, iso_err *err);

typedef struct iso_fleet_opts {
  double slo_ttft_s, slo_itl_s;  // +INFINITY: none; itl is the mean time per output token
  double attain;                 // share of requests that must meet both, e.g. 0.99
  double rate;                   // requests a second; NaN: the trace's
  double mem_share;              // of a device's memory
  int slices;                    // see fleet_ip.h
  bool simulate;                 // check by simulation, and plan with head room until the check holds
  int64_t node_limit;
  uint64_t seed;  // of arrivals when rate is not the trace's
} iso_fleet_opts;
// 99% of requests, the trace's rate, 90% of memory, any proportion, simulated.
iso_fleet_opts iso_fleet_opts_default(void);

typedef struct iso_fleet_plan {
  iso_trace_stats stats;
  iso_bucket bucket[ISO_BUCKETS_MAX];
  int buckets;
  iso_fleet_rate rate[ISO_BUCKETS_MAX][ISO_FLEET_TYPES_MAX];
  bool over[ISO_BUCKETS_MAX];  // too large for the limits on every type: served without them, counted as misses
  double over_share;           // of all requests
  iso_fleet_answer answer;     // the program with head room
  double headroom;             // the load was multiplied by this
  double req_per_s;            // planned for
  bool simulated, met;         // met: the simulation attains the share
  iso_sim_result sim;
  // When not met: shares of the requests that keep the limits, each and both, even alone on the type that serves them best, and what stands in
  // the way: "ttft" or "itl", which no fleet keeps, "ttft and itl" together, or "replicas": more of them than there are, or than can be simulated.
  double alone, alone_ttft, alone_itl;
  const char *missed;   // NULL: met, or not simulated
  double shadow_usd_h;  // $/h that one more request a second costs (relaxation)
} iso_fleet_plan;
// Sizes that no type can serve within the limits, a long prompt say, are served without them as long as they are no more than 1 - attain of the
// requests. Errors: ISO_EINVAL for no types or an empty trace; ISO_EBUDGET when such sizes are more than that (names the largest group and the
// reason), or when the devices to be had do not carry the load. With a simulation, fleets of one type are tried as well, with the least replicas
// that attain the share. A plan that misses `attain` at 20 times the load, while no type alone attains it with 4,096 replicas, is returned with met
// false and `missed`.
iso_status iso_fleet_plan_run(const iso_serve_trace *t, const iso_fleet_type *types, int n, const iso_fleet_opts *o, iso_fleet_plan *out,
                              iso_err *err);
json_t *iso_fleet_plan_json(const iso_fleet_plan *p, const iso_fleet_type *types, int n);
#endif
