// Fuzzes the reader of a cluster's jobs: any bytes give jobs that every scheduler brings to an end within the devices, or a message.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "plan/cluster/cluster.h"

// Simulations of few jobs only: a fuzzer's time is better spent on files than on long queues.
enum { JOBS_PLAYED = 12 };

static void simulate(iso_cluster_jobs *j) {
  iso_cluster_curve c = {.n = 3};
  iso_cluster_opts o = {.devices = 8, .restart_s = 30, .idle_w = 10, .pue = 1, .usd_h = 1};
  iso_err e = {0};
  for (int k = 0; k < 3; k++) c.at[k] = (iso_cluster_point){.devices = 2 << k, .step_s = 3.0 / (k + 1), .joule = 1};
  for (int i = 0; i < j->n; i++) j->at[i].curve[ISO_CLUSTER_BEST] = j->at[i].curve[ISO_CLUSTER_DATA] = &c;
  for (int s = 0; s < ISO_CLUSTER_SCHEDS; s++) {
    iso_cluster_result r;
    iso_status st = iso_cluster_simulate(j, &o, (iso_cluster_sched)s, &r, &e);
    if (st != ISO_OK) {
      if (st != ISO_ENOMEM || !e.msg[0]) abort();  // no allowed count
      continue;
    }
    if (r.finished != j->n || !(r.utilisation <= 1 + 1e-6)) abort();
    for (int i = 0; i < j->n; i++)
      if (r.job[i].promised && !r.job[i].met) abort();
    iso_cluster_result_close(&r);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  iso_cluster_jobs j;
  iso_err e = {0};
  iso_status st = iso_cluster_jobs_parse((const char *)data, size, "fuzz", &j, &e);
  if (st != ISO_OK) {
    if (!e.msg[0] || e.status != st) abort();
    return 0;
  }
  for (int i = 0; i < j.n; i++)
    if (!(j.at[i].deadline_s > j.at[i].arrival_s && j.at[i].steps >= 1 && isfinite(j.at[i].steps) && j.at[i].batch > 0 && j.at[i].name[0])) abort();
  if (j.n <= JOBS_PLAYED) simulate(&j);
  iso_cluster_jobs_close(&j);
  return 0;
}
