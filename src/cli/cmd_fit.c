// isoflop fit: scaling laws from a CSV file or from the runs of the store.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/fit_answers.h"
#include "cli/fit_law.h"
#include "cli/fit_plot.h"
#include "cli/fit_source.h"
#include "cli/work.h"
#include "plan/fit/fit_csv.h"

static const char *const EXAMPLES[] = {"isoflop fit",
                                       "isoflop fit runs.csv --drop-highest 5 --flop 1e21",
                                       "isoflop fit runs.csv --method isoflop --group-by protocol,param_count",
                                       "isoflop fit runs.csv --law chinchilla --holdout 'train_flop>1e21' --predict 70B,1.4T --plot fit.html",
                                       "isoflop fit runs.csv --compare chinchilla,farseer,compute-only --holdout 'train_flop>1e21'",
                                       "isoflop fit runs.csv --law chinchilla --variants --flop 1e24",
                                       NULL};
static const cli_opt OPTS[] = {
    {"run", CLI_TEXT, "ID", NULL, "measured points of this run and the runs below it (default: the newest demo)"},
    {"store", CLI_TEXT, "FILE", NULL, "run store (default: runs.db in isoflop's home)"},
    {"method", CLI_TEXT, "NAME", "all",
     "parametric: L = E + A/N^alpha + B/D^beta; isoflop: minima of interpolated curves of equal FLOPs; parabola: minima of parabolas through "
     "them; envelope: the size that is best after each amount of compute; all"},
    {"group-by", CLI_TEXT, "COLUMNS", NULL, "a fit for each combination of values in these columns, separated by commas"},
    {"flop", CLI_TEXT, "C", NULL, "print the optimum at this training compute, as in 5.76e23 or 2.5EF"},
    {"predict", CLI_TEXT, "N,D", NULL, "print the loss predicted for N parameters and D tokens; --law: also NAME=VALUE,... for its inputs"},
    {"drop-highest", CLI_INT, "K", "0", "drop the K highest losses"},
    {"where", CLI_LIST, "COL=VALUE", NULL, "use rows whose column has this value"},
    {"bootstrap", CLI_INT, "N", "4000", "resamples for the intervals; 0: none (--law: 1000, envelope: 100 unless given)"},
    {"level", CLI_REAL, "P", "0.9", "probability of the intervals"},
    {"delta", CLI_REAL, "X", "0.001", "Huber threshold on log residuals (--law: the law's unless given)"},
    {"tolerance", CLI_REAL, "X", "0.1", "isoflop, parabola: runs within this share of a budget belong to it"},
    {"noise", CLI_REAL, "SD", "0.002", "isoflop: standard deviation of a run's loss between seeds"},
    {"seed", CLI_INT, "N", "0", "seed of the resamples"},
    {"plot", CLI_TEXT, "FILE.html", NULL,
     "also write one self-contained page: runs and law, residuals, IsoFLOP curves, held-out rows, parameters, checklist"},
    CLI_FIT_LAW_OPTS,
};
enum { GROUP_COLS_MAX = 16 };

static int parse_predict(const cli_args *a, const char *predict, cli_fit_request *q) {
  iso_err err = {0};
  char n[40];
  const char *comma = strchr(predict, ',');
  if (!comma || (size_t)(comma - predict) >= sizeof n) return cli_usage(a, "--predict %.60s: expected N,D as in 70B,1.4T", predict);
  memcpy(n, predict, (size_t)(comma - predict));
  n[comma - predict] = 0;
  if (iso_unit_parse(n, ISO_UNIT_COUNT, &q->n, &err) != ISO_OK || iso_unit_parse(comma + 1, ISO_UNIT_COUNT, &q->d, &err) != ISO_OK)
    return cli_usage(a, "--predict: %s", err.msg);
  if (!(q->n > 0 && q->d > 0)) return cli_usage(a, "--predict: N and D must be above 0");
  return 0;
}

static int parse_request(const cli_args *a, cli_fit_request *q) {
  iso_err err = {0};
  const char *m = cli_text(a, "method"), *flop = cli_text(a, "flop"), *predict = cli_text(a, "predict");
  bool all = strcmp(m, "all") == 0;
  *q = (cli_fit_request){.flop = NAN, .n = NAN, .d = NAN, .level = cli_real(a, "level")};
  q->law = all || strcmp(m, "parametric") == 0;
  q->curves = all || strcmp(m, "isoflop") == 0;
  q->parabolas = all || strcmp(m, "parabola") == 0;
  q->envelope = all || strcmp(m, "envelope") == 0;
  if (cli_fit_law_misused(a)) return EXIT_USAGE;
  if (cli_given(a, "plot") && cli_given(a, "group-by")) return cli_usage(a, "--plot shows one fit: --where picks a group's rows");
  if (!q->law && !q->curves && !q->parabolas && !q->envelope)
    return cli_usage(a, "--method %.40s: expected parametric, isoflop, parabola, envelope or all", m);
  if (!(q->level > 0 && q->level < 1)) return cli_usage(a, "--level must lie between 0 and 1");
  if (!(cli_real(a, "delta") > 0)) return cli_usage(a, "--delta must be above 0");
  if (!(cli_real(a, "tolerance") > 0)) return cli_usage(a, "--tolerance must be above 0");
  if (!(cli_real(a, "noise") >= 0)) return cli_usage(a, "--noise must be 0 or more");
  if (cli_resamples_misused(a)) return EXIT_USAGE;
  if (cli_int(a, "bootstrap") > 1000000) return cli_usage(a, "--bootstrap must be at most 1000000");
  if (predict && !q->law) return cli_usage(a, "--predict needs the parametric law");
  if (flop && !q->law && !q->curves && !q->envelope) return cli_usage(a, "--flop needs the parametric law, isoflop or envelope");
  if (flop && (iso_unit_parse(flop, ISO_UNIT_FLOP, &q->flop, &err) != ISO_OK || !(q->flop > 0)))
    return cli_usage(a, "--flop: %s", err.msg[0] ? err.msg : "must be above 0");
  q->fit = iso_fit_opts_default();
  q->parabola = iso_parabola_opts_default();
  q->curve = iso_curves_opts_default();
  q->env = iso_envelope_opts_default();
  if (cli_given(a, "bootstrap")) q->env.resamples = cli_int(a, "bootstrap");
  q->fit.resamples = q->curve.resamples = cli_int(a, "bootstrap");
  q->fit.level = q->parabola.level = q->curve.level = q->env.level = q->level;
  q->fit.delta = cli_real(a, "delta");
  q->fit.seed = q->curve.seed = q->env.seed = (uint64_t)cli_int(a, "seed");
  q->parabola.tolerance = q->curve.tolerance = cli_real(a, "tolerance");
  q->curve.noise_sd = cli_real(a, "noise");
  return predict ? parse_predict(a, predict, q) : 0;
}

// "base long kaplan": the values of the grouping columns in a row.
static void group_name(const iso_csv *t, int64_t row, const int *col, int n, char *buf, size_t size) {
  *buf = 0;
  for (int k = 0; k < n; k++) {
    size_t at = strlen(buf);
    (void)snprintf(buf + at, size - at, "%s%.60s", k ? " " : "", iso_csv_cell(t, row, col[k]));
  }
}

static json_t *group_json(const iso_csv *t, int64_t row, const int *col, int n) {
  json_t *o = json_object();
  for (int k = 0; k < n; k++) json_object_set_new(o, iso_csv_name(t, col[k]), json_string(iso_csv_cell(t, row, col[k])));
  return o;
}

// Answers for the rows of one group, or for all that `use` has when g is -1.
static iso_status answer(const cli_args *a, const cli_fit_source *s, const cli_fit_request *q, const bool *use, cli_fit_answers *w, iso_err *err) {
  iso_fit_csv_opts o = {.drop_highest = cli_int(a, "drop-highest")};
  o.where = cli_list(a, "where", &o.n_where);
  *w = (cli_fit_answers){.source = s->name, .metric = s->metric};
  ISO_TRY(iso_fit_csv_points(&s->table, use, &o, &w->data, err));
  return cli_fit_solve(a->ctx, q, w, err);
}

static iso_status run_groups(const cli_args *a, const cli_fit_source *s, const cli_fit_request *q, const bool *use, json_t **out, iso_err *err) {
  iso_status st = ISO_OK;
  iso_fit_groups g = {0};
  int col[GROUP_COLS_MAX], n = 0;
  const iso_csv *t = &s->table;
  json_t *list = json_array();
  bool *part = malloc((size_t)t->rows + 1);
  if (!part) {
    st = iso_fail(err, ISO_ENOMEM, "no memory for %lld rows", (long long)t->rows);
    goto done;
  }
  ISO_TRYG(iso_csv_columns(t, cli_text(a, "group-by"), col, GROUP_COLS_MAX, &n, err));
  ISO_TRYG(iso_fit_csv_groups(t, use, col, n, &g, err));
  if (!a->json) printf("%-44s %-10s %8s   %s\n", cli_text(a, "group-by"), "method", "exponent", "interval");
  for (int64_t k = 0; k < g.n; k++) {
    char name[300];
    cli_fit_answers w;
    iso_err e = {0};
    for (int64_t r = 0; r < t->rows; r++) part[r] = g.of[r] == k;
    group_name(t, g.first[k], col, n, name, sizeof name);
    st = answer(a, s, q, part, &w, &e);
    json_t *j = NULL;
    // A group that cannot be fitted is said to be so; the others still are.
    if (st == ISO_EINVAL && g.n > 1) {
      (void)snprintf(w.note, sizeof w.note, "not fitted: %.400s", e.msg);
      st = ISO_OK;
    }
    if (st == ISO_OK && a->json) {
      j = cli_fit_answers_json(q, &w);
      if (j) json_object_set_new(j, "group", group_json(t, g.first[k], col, n));
    } else if (st == ISO_OK) {
      cli_fit_print_row(name, q, &w);
    }
    cli_fit_answers_close(&w);
    if (st != ISO_OK) *err = e;
    if (st != ISO_OK) goto done;
    if (j) json_array_append_new(list, j);
  }
done:
  if (st == ISO_OK && a->json) {
    *out = json_pack("{s:s, s:s, s:o}", "source", s->name, "metric", s->metric, "groups", list);
    list = NULL;
  }
  json_decref(list);
  iso_fit_groups_close(&g);
  free(part);
  return st;
}

static iso_status run_one(const cli_args *a, const cli_fit_source *s, const cli_fit_request *q, const bool *use, json_t **out, iso_err *err) {
  cli_fit_answers w;
  iso_status st = answer(a, s, q, use, &w, err);
  if (st == ISO_OK && cli_text(a, "plot")) st = cli_fit_plot(a, cli_text(a, "plot"), q, &w, err);
  if (st == ISO_OK && a->json)
    *out = cli_fit_answers_json(q, &w);
  else if (st == ISO_OK)
    cli_fit_print(q, &w);
  cli_fit_answers_close(&w);
  return st;
}

static int run(cli_args *a) {
  iso_err err = {0};
  cli_fit_request q;
  cli_fit_source s = {0};
  bool *use = NULL;
  json_t *j = NULL;
  int code = cli_fit_source_misused(a);
  if (code) return code;
  if (cli_given(a, "law") || cli_given(a, "compare")) return cli_fit_law(a);
  code = parse_request(a, &q);
  if (code) return code;
  const char *plot = cli_text(a, "plot");
  if (plot && cli_plot_check(plot, &err) != ISO_OK) return cli_fail(a, cli_input(ISO_EINVAL, &err), &err);
  iso_fit_csv_opts o = {0};
  o.where = cli_list(a, "where", &o.n_where);
  iso_status st = cli_fit_source_open(a, &s, &err);
  if (st == ISO_OK) st = iso_fit_csv_rows(&s.table, &o, &use, &err);
  if (st == ISO_OK) st = (cli_text(a, "group-by") ? run_groups : run_one)(a, &s, &q, use, &j, &err);
  if (a->n_pos) st = cli_input(st, &err);
  if (st != ISO_OK)
    code = cli_fail(a, st, &err);
  else if (a->json)
    code = cli_put_json(j);
  free(use);
  cli_fit_source_close(&s);
  return code;
}

const cli_verb cli_verb_fit = {
    .name = "fit",
    .summary = "Fit scaling laws to training runs: parameters with intervals, optimum, prediction.",
    .examples = EXAMPLES,
    .usage = "[CSV | --run ID] [--law NAME | --compare NAME,NAME,...] [--flop C] [--predict N,D] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .max_args = 1,
    .notes =
        "A CSV file has a header with columns for parameters (params, parameters, n_params, num_params, model_size or n), loss (loss,\n"
        "final_loss, val_loss, eval_loss or l), and tokens (tokens, train_tokens, training_tokens, n_tokens or d) or FLOPs (train_flops,\n"
        "train_flop, training_flops, training_flop, flops, flop, compute or c): the other follows from C = 6 N D. Rows without a loss are skipped.\n"
        "Points of the store are in bits per byte of held-out text; their columns are run, label, params, tokens, train_flops, loss.\n"
        "--law takes the inputs of a law from columns of their names, as isoflop law show has them.\n"
        "--compare ranks laws by their error on the rows of --holdout that all of them answer; --variants asks the fit of --law again with one\n"
        "choice changed at a time: tokens per parameter at --flop (default: the largest budget in the rows), or for laws without a budget the\n"
        "target at --predict (default: the row of most FLOPs).\n"
        "isoflop and parabola need several sizes at equal FLOPs, envelope several token counts of each size: --group-by shows how the exponent of N* "
        "~ C^a moves with the protocol.",
    .stops_at_once = true,
    .run = run};
