// Opening, metering and closing a job.
#include "loop/env.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

bool iso_env_bounds(const iso_budget *b) {
  for (int r = 0; r < ISO_RES_COUNT; r++)
    if (r != ISO_RES_infer_flop && iso_res_get((iso_res)r)->kind == ISO_KIND_CONSUMABLE && isfinite(iso_budget_get(b, (iso_res)r))) return true;
  return false;
}

iso_status iso_env_open(iso_ctx *c, const iso_env_opts *o, iso_env **out, iso_err *err) {
  *out = NULL;
  if (isfinite(o->budget.instr)) {
    iso_fail(err, ISO_EBUDGET, "instr: nothing predicts how many machine instructions a job takes");
    return iso_hint(err, ISO_EBUDGET, "drop the limit on instr; cpu limits the seconds they take");
  }
  iso_env *e = calloc(1, sizeof *e);
  if (!e) return iso_fail(err, ISO_ENOMEM, "no memory for a job");
  e->ctx = c;
  e->pace = 1;
  e->used = o->used ? *o->used : iso_cost_zero();
  c->start_s -= e->used.wall.mean;  // seconds that an interrupted call used count, the pause does not
  iso_status st;
  ISO_TRYG(iso_arena_open(&e->arena, err));
  e->notes = json_array();
  ISO_TRYG(iso_hw_detect(iso_pool_threads(c->pool), &e->hw, err));
  ISO_TRYG(iso_prices_get(o->prices, &e->prices, err));
  ISO_TRYG(iso_run_open(c, &o->budget, NULL, ISO_RUN_SERIAL, o->journal, &e->run, err));
  if (o->used) ISO_TRYG(iso_run_charge(e->run, "interrupted", &e->used, err));
  ISO_TRYG(iso_store_open(c, o->store, &e->store, err));
  iso_store_run row = iso_store_run_blank();
  json_t *b = iso_budget_json(&o->budget);
  char *text = b ? json_dumps(b, JSON_COMPACT) : NULL;
  row.kind = o->kind;
  row.parent = o->parent;
  row.command = o->command;
  row.rev = o->rev;
  row.seed = o->seed;
  row.hw_id = e->hw.id;
  row.budget_json = text;
  row.convention =
      "N: all parameters, a tied head once; D: tokens trained on; train_flop: matrix products of forward and backward (causal half, no "
      "recomputation)";
  st = iso_store_begin(e->store, &row, e->run_id, err);
  free(text);
  json_decref(b);
  if (st != ISO_OK) goto done;
  e->base_rss_b = iso_meter_rss_b();
  iso_meter_start(c, &e->hw, &e->meter);
  e->meter.start_s = c->start_s;
  *out = e;
  return ISO_OK;
done:
  iso_env_close(e, "failed", NULL);
  return st;
}

iso_status iso_env_own(iso_env *e, const char *dir, iso_err *err) {
  ISO_TRY(iso_mkdirs(dir, err));
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return iso_fail(err, ISO_EIO, "%s: cannot open: %s", dir, strerror(errno));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {  // file systems without locks: nothing to be done
    close(fd);
    iso_fail(err, ISO_EINVAL, "%s: another isoflop is at work in this folder", dir);
    return iso_hint(err, ISO_EINVAL, "wait for it, or give another --out");
  }
  e->dir_fd = fd;
  return ISO_OK;
}

void iso_env_close(iso_env *e, const char *status, const json_t *result) {
  if (!e) return;
  if (e->store && e->run_id[0]) {
    iso_err ignored = {0};
    iso_run_row *rows = NULL;
    int64_t n = 0;
    if (iso_run_rows(e->run, &rows, &n, &ignored) == ISO_OK && n > 0) (void)iso_store_ledger_add(e->store, e->run_id, rows, n, &ignored);
    free(rows);
    char *text = result ? json_dumps(result, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    if (text) {
      iso_store_run row = iso_store_run_blank();
      row.result_json = text;
      (void)iso_store_update(e->store, e->run_id, &row, &ignored);
    }
    free(text);
    (void)iso_store_finish(e->store, e->run_id, status, &ignored);
  }
  if (e->meter.c) {
    iso_cost unused;
    iso_meter_stop(&e->meter, &unused);
  }
  iso_tok_close(e->tok);
  iso_shards_close(e->data);
  iso_store_close(e->store);
  iso_run_close(e->run);
  iso_arena_close(e->arena);
  json_decref(e->notes);
  if (e->dir_fd > 0) close(e->dir_fd);
  free(e);
}

void iso_env_note(iso_env *e, iso_event_kind kind, const char *phase, const char *fmt, ...) {
  char buf[500];
  va_list ap;
  va_start(ap, fmt);
  (void)vsnprintf(buf, sizeof buf, fmt, ap);
  va_end(ap);
  if (kind == ISO_EVENT_NOTE || kind == ISO_EVENT_WARN) (void)json_array_append_new(e->notes, json_string(buf));
  iso_note(e->ctx, kind, phase, "%s", buf);
}

// The resources that seconds of full load use up.
static const iso_res PER_SECOND[] = {ISO_RES_cpu, ISO_RES_energy, ISO_RES_co2, ISO_RES_usd};

double iso_env_end_s(iso_env *e, iso_res *which) {
  iso_budget b = iso_run_budget(e->run);
  double end = e->ctx->start_s + b.wall, now = iso_now_s(e->ctx);
  bool limited = false;
  if (which) *which = ISO_RES_wall;
  for (size_t i = 0; i < ISO_COUNT(PER_SECOND); i++) limited = limited || isfinite(iso_budget_get(&b, PER_SECOND[i]));
  if (!limited) return end;
  iso_cost second = iso_env_seconds(e, iso_est_exact(1)), used = iso_env_measured(e);
  for (size_t i = 0; i < ISO_COUNT(PER_SECOND); i++) {
    iso_res k = PER_SECOND[i];
    double limit = iso_budget_get(&b, k), rate = iso_cost_get(&second, k).hi, t = now + (limit - iso_cost_get(&used, k).mean) / rate;
    if (!isfinite(limit) || !(rate > 0) || !(t < end)) continue;
    end = t;
    if (which) *which = k;
  }
  return end;
}

iso_cost iso_env_seconds(const iso_env *e, iso_est s) {
  iso_cost c = iso_cost_zero();
  double threads = (double)iso_pool_threads(e->ctx->pool);
  c.wall = s;
  c.instr = iso_est_unknown();  // nothing predicts them
  c.cpu = iso_est_scale(s, threads);
  c.energy = (iso_est){iso_hw_energy_j(&e->hw, s.lo, s.lo * threads), iso_hw_energy_j(&e->hw, s.mean, s.mean * threads),
                       iso_hw_energy_j(&e->hw, s.hi, s.hi * threads)};
  iso_price_apply(&e->prices, iso_pool_threads(e->ctx->pool), &c);
  return c;
}

void iso_env_clamp(const iso_env *e, iso_cost *whole) {
  double limit = iso_run_budget(e->run).wall;
  whole->wall = (iso_est){fmin(whole->wall.lo, limit), fmin(whole->wall.mean, limit), fmin(whole->wall.hi, limit)};
}

double iso_env_affordable_s(iso_env *e) { return iso_env_end_s(e, NULL) - iso_now_s(e->ctx); }

iso_status iso_phase_start(iso_env *e, const char *label, const iso_cost *estimate, iso_phase *out, iso_err *err) {
  *out = (iso_phase){.env = e, .predicted = *estimate};
  ISO_TRY(iso_run_reserve(e->run, label, estimate, &out->hold, err));
  iso_meter_start(e->ctx, &e->hw, &out->meter);
  return ISO_OK;
}

iso_status iso_phase_end(iso_phase *p, iso_err *err) {
  iso_env *e = p->env;
  iso_meter_sample(&p->meter);
  iso_meter_stop(&p->meter, &p->measured);
  iso_price_apply(&e->prices, iso_pool_threads(e->ctx->pool), &p->measured);
  iso_meter_sample(&e->meter);
  const iso_res counted[] = {ISO_RES_train_flop, ISO_RES_infer_flop, ISO_RES_moved, ISO_RES_tok, ISO_RES_disk};
  for (size_t i = 0; i < ISO_COUNT(counted); i++) iso_meter_count(&e->meter, counted[i], iso_cost_get(&p->measured, counted[i]).mean);
  iso_hold *h = p->hold;
  p->hold = NULL;
  return iso_run_settle(h, &p->measured, err);
}

// The whole job so far; the meter goes on.
iso_cost iso_env_measured(iso_env *e) {
  iso_cost c = iso_cost_serial(e->used, e->meter.counted), spent = iso_run_spent(e->run);
  double wall = iso_now_s(e->ctx) - e->ctx->start_s;
  iso_meter_sample(&e->meter);
  c.wall = iso_est_exact(wall);
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  double cpu = e->used.cpu.mean + (double)t.tv_sec + 1e-9 * (double)t.tv_nsec - e->meter.start_cpu_s;
  c.cpu = iso_est_exact(cpu);
  c.peak_ram = iso_est_exact(fmax(e->meter.peak_ram_b, spent.peak_ram.mean));
  c.energy = iso_est_exact(iso_hw_energy_j(&e->hw, wall, cpu));
  if (strcmp(e->meter.energy_source, "rapl") == 0) c.energy = spent.energy;
  c.instr = spent.instr;
  iso_price_apply(&e->prices, iso_pool_threads(e->ctx->pool), &c);
  return c;
}

json_t *iso_env_machine_json(const iso_env *e) { return iso_hw_json(&e->hw); }

double iso_env_peak_flop_s(const iso_env *e) {
  bool bf16 = e->precision == ISO_PREC_bf16 && isfinite(e->hw.gemm_bf16_flop_s);
  return bf16 ? e->hw.gemm_bf16_flop_s : e->hw.gemm_f32_flop_s;
}
