// isoflop calibrate: what this machine can do, measured and kept.
#include <math.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/work.h"
#include "measure/calibrate.h"
#include "measure/step_model.h"

static const char *const EXAMPLES[] = {"isoflop calibrate", "isoflop calibrate --quick --budget 10s", "isoflop calibrate --show --json", NULL};
static const cli_opt OPTS[] = {
    {"quick", CLI_FLAG, NULL, NULL, "some 4 seconds instead of some 25: smaller products, fewer steps"},
    {"show", CLI_FLAG, NULL, NULL, "print what is known of this machine and measure nothing"},
    CLI_WORK_OPTS("limits, as in 60s; refused when they do not pay for the level"),
};

// The precision that training takes on this machine, and the reason.
static iso_precision choose(const iso_hw *hw, char *why, size_t n) {
  iso_precision p = iso_calibrate_precision(hw);
  double ratio = hw->gemm_bf16_flop_s / hw->gemm_f32_flop_s;
  const char *no = NULL;
  (void)iso_calibrate_native_bf16(&no);
  if (isfinite(ratio))
    (void)snprintf(why, n, "bf16 products run at %.2f times the rate of f32, and more than 1.3 times is worth it", ratio);
  else
    (void)snprintf(why, n, "no bf16 rate: %s", no ? no : "not measured");
  return p;
}

static void rate_row(const char *name, double v, const char *unit) {
  if (isfinite(v))
    cli_row(name, "%10.1f %s", v / 1e9, unit);
  else
    cli_row(name, "%10s", "-");
}

static void print_machine(const iso_hw *h, const iso_step_model *m, const char *prec, const char *why) {
  char b[40];
  cli_row("machine", "%s (%s), %lld threads, id %s", h->name, h->model_name, (long long)h->threads, h->id);
  cli_row("source", "%s %s", h->source, h->date);
  cli_row("instructions", "%s", h->isa);
  rate_row("f32 arithmetic", h->peak_f32_flop_s, "GFLOP/s");
  rate_row("bf16 arithmetic", h->peak_bf16_flop_s, "GFLOP/s");
  rate_row("int8 arithmetic", h->peak_int8_op_s, "GOP/s");
  rate_row("f32 products", h->gemm_f32_flop_s, "GFLOP/s");
  rate_row("bf16 products", h->gemm_bf16_flop_s, "GFLOP/s");
  rate_row("int8 products", h->gemm_int8_op_s, "GOP/s");
  const struct {
    const char *name;
    double rate, size;
  } mem[] = {
      {"L1 read", h->l1_b_s, h->l1_b}, {"L2 read", h->l2_b_s, h->l2_b}, {"L3 read", h->l3_b_s, h->l3_b}, {"memory read", h->dram_b_s, h->ram_b}};
  for (size_t i = 0; i < ISO_COUNT(mem); i++)
    if (isfinite(mem[i].rate))
      cli_row(mem[i].name, "%10.1f GB/s of %s", mem[i].rate / 1e9, iso_unit_print(mem[i].size, ISO_UNIT_BYTE, b, sizeof b));
    else
      cli_row(mem[i].name, "%10s", "-");
  cli_row("power", "%.1f W idle and %.1f W a busy core, by the model", h->idle_w, h->core_w);
  cli_row("energy source", "%s", h->energy_source);
  cli_row("training precision", "%s: %s", prec, why);
  if (m->n > 0)
    cli_row("step model", "%d timed passes with %s, %.1f%% error of one: %.3g s/TFLOP, %.3g s/TB, %.3g us/call, %.3g s/TB of update", m->n,
            m->kernels, 100 * m->rel_sd, m->rate[0] * 1e12, m->rate[1] * 1e12, m->rate[2] * 1e6, m->rate[3] * 1e12);
  else
    cli_row("step model", "none yet");
}

static json_t *machine_json(const iso_hw *h, const iso_step_model *m, const char *prec, const char *why) {
  json_t *j = iso_hw_json(h);
  if (!j) return NULL;
  json_object_set_new(j, "training_precision", json_string(prec));
  json_object_set_new(j, "training_precision_why", json_string(why));
  json_object_set_new(j, "step_model", m->n > 0 ? iso_step_model_json(m) : json_null());
  return j;
}

static int show(cli_args *a) {
  iso_err err = {0}, none = {0};
  iso_hw hw, known;
  iso_step_model m = {0};
  char why[160];
  iso_status st = iso_hw_detect(iso_pool_threads(a->ctx->pool), &hw, &err);
  if (st == ISO_OK) st = iso_hw_load(hw.id, &known, &err);
  if (st == ISO_EIO) (void)iso_hint(&err, st, "isoflop calibrate measures this machine with %d threads", iso_pool_threads(a->ctx->pool));
  if (st != ISO_OK) return cli_fail(a, st, &err);
  iso_precision p = choose(&known, why, sizeof why);
  if (iso_kern_select(p, &a->ctx->kern, &none) != ISO_OK || iso_step_model_load(a->ctx, known.id, &m, &none) != ISO_OK) m.n = 0;
  if (a->json) return cli_put_json(machine_json(&known, &m, iso_precision_name(p), why));
  print_machine(&known, &m, iso_precision_name(p), why);
  return EXIT_DONE;
}

static iso_status measure(iso_env *e, iso_calibrate_level level, const iso_cost *cost, iso_cost *measured, char *why, size_t n, iso_err *err) {
  iso_phase p;
  ISO_TRY(iso_phase_start(e, "calibrate", cost, &p, err));
  iso_status st = iso_calibrate(e->ctx, level, &p.meter, &e->hw, err);
  if (st == ISO_OK) {
    e->precision = choose(&e->hw, why, n);
    st = iso_kern_select(e->precision, &e->ctx->kern, err);
  }
  if (st == ISO_OK) st = iso_calibrate_steps(e->ctx, level, &e->hw, NULL, &p.meter, &e->steps, err);
  if (st == ISO_OK) st = iso_step_model_save(e->ctx, &e->steps, err);
  iso_status end = iso_phase_end(&p, st == ISO_OK ? err : NULL);
  *measured = p.measured;
  return st == ISO_OK ? end : st;
}

static int run(cli_args *a) {
  iso_err err = {0};
  iso_env *e = NULL;
  json_t *result = NULL;
  iso_cost cost, measured;
  char why[160];
  int code = EXIT_DONE;
  bool dry = cli_flag(a, "dry-run");
  iso_calibrate_level level = cli_flag(a, "quick") ? ISO_CALIBRATE_QUICK : ISO_CALIBRATE_FULL;
  if (cli_flag(a, "show")) return show(a);
  iso_status st = cli_work_open(a, "calibrate", 0, &e, &err);
  if (st == ISO_OK) st = iso_env_calibrate_cost(e, level, &cost, &err);
  if (st == ISO_OK) {
    if (dry) {
      st = cli_work_fits(e, "calibrate", &cost, &err);
      if (st == ISO_OK) {
        result = json_pack("{s:s}", "level", level == ISO_CALIBRATE_QUICK ? "quick" : "full");
        cli_work_json(result, &cost, NULL);
        if (a->json)
          code = cli_put_json(json_incref(result));
        else
          cli_work_print(&cost, NULL);
      }
    } else {
      st = measure(e, level, &cost, &measured, why, sizeof why, &err);
      if (st == ISO_OK) {
        result = machine_json(&e->hw, &e->steps, iso_precision_name(e->precision), why);
        if (result) cli_work_json(result, &cost, &measured);
        if (a->json)
          code = cli_put_json(json_incref(result));
        else
          print_machine(&e->hw, &e->steps, iso_precision_name(e->precision), why);
        if (!a->json) cli_work_print(&cost, &measured);
      }
    }
  }
  return cli_work_close(a, e, st, &err, result, code);
}

const cli_verb cli_verb_calibrate = {
    .name = "calibrate",
    .summary = "Measure this machine: arithmetic, products, memory, training steps; energy source.",
    .examples = EXAMPLES,
    .usage = "[--quick | --show] [--budget BUDGET]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes = "The figures go to hw/ in isoflop's home, by CPU and threads. The other verbs calibrate by themselves (quick) when there are none.",
    .run = run};
