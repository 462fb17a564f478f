// Jobs of verbs that spend: budget, prices, cost tables; terminal and input helpers.
#include "cli/work.h"

#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "gen_version.h"

iso_status cli_work_open(cli_args *a, const char *kind, int64_t seed, iso_env **out, iso_err *err) {
  iso_env_opts o = {.kind = cli_flag(a, "dry-run") ? "plan" : kind,
                    .command = a->command,
                    .rev = ISO_REV,
                    .store = cli_text(a, "store"),
                    .prices = cli_text(a, "prices"),
                    .seed = seed};
  *out = NULL;
  ISO_TRY(cli_budget(a, &o.budget, err));
  return iso_env_open(a->ctx, &o, out, err);
}

int cli_work_close(const cli_args *a, iso_env *e, iso_status st, const iso_err *err, json_t *result, int code) {
  if (st != ISO_OK) code = cli_fail(a, st, err);
  iso_env_close(e, st == ISO_OK ? "done" : st == ISO_ECANCEL ? "stopped" : "failed", result);
  json_decref(result);
  return code;
}

iso_status cli_work_fits(iso_env *e, const char *label, const iso_cost *cost, iso_err *err) {
  iso_hold *h;
  ISO_TRY(iso_run_reserve(e->run, label, cost, &h, err));
  iso_run_release(h);
  return ISO_OK;
}

void cli_work_json(json_t *o, const iso_cost *predicted, const iso_cost *measured) {
  json_object_set_new(o, "predicted", iso_cost_json(predicted));
  if (measured) json_object_set_new(o, "measured", iso_cost_json(measured));
}

void cli_work_print(const iso_cost *predicted, const iso_cost *measured) {
  char lo[40], mean[40], hi[40], got[40], range[90];
  printf("\n%-14s %14s  %-26s", "cost", "predicted", "(interval)");
  printf(measured ? " %14s\n" : "\n", "measured");
  for (int i = 0; i < ISO_RES_COUNT; i++) {
    const iso_res_info *info = iso_res_get((iso_res)i);
    iso_est p = iso_cost_get(predicted, (iso_res)i);
    double m = measured ? iso_cost_get(measured, (iso_res)i).mean : NAN;
    if (!(p.mean > 0) && !(m > 0)) continue;
    (void)snprintf(range, sizeof range, p.lo < p.hi ? "(%s to %s)" : "", iso_unit_print(p.lo, info->unit, lo, sizeof lo),
                   iso_unit_print(p.hi, info->unit, hi, sizeof hi));
    printf("%-14s %14s  %-26s", info->name, iso_unit_print(p.mean, info->unit, mean, sizeof mean), range);
    if (measured) printf(" %14s", iso_unit_print(m, info->unit, got, sizeof got));
    printf("\n");
  }
}

iso_status cli_store_open(const cli_args *a, iso_store **out, iso_err *err) {
  const char *path = cli_text(a, "store");
  *out = NULL;
  if (path && !iso_file_exists(path)) {
    iso_fail(err, ISO_EIO, "%.300s: there is no run store", path);
    return iso_hint(err, ISO_EIO, "train, plan and demo make one with --store %.150s", path);
  }
  return iso_store_open(a->ctx, path, out, err);
}

iso_report_term cli_term(const cli_args *a) {
  const char *term = getenv("TERM");
  struct winsize w;
  iso_report_term t = {.width = 0};
  bool tty = isatty(STDOUT_FILENO);
  t.colour = tty && !cli_flag(a, "no-color") && !getenv("NO_COLOR") && !(term && strcmp(term, "dumb") == 0);
  if (tty && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0) t.width = w.ws_col < 40 ? 40 : w.ws_col > 400 ? 400 : w.ws_col;
  locale_t l = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
  t.ascii = !l || strcmp(nl_langinfo_l(CODESET, l), "UTF-8") != 0;
  if (l) freelocale(l);
  return t;
}

int cli_action(const cli_args *a, const char *const *names, int n) {
  int best = 0;
  for (int i = 0; i < n; i++) {
    if (strcmp(a->pos[0], names[i]) == 0) return i;
    if (iso_str_distance(a->pos[0], names[i]) < iso_str_distance(a->pos[0], names[best])) best = i;
  }
  if (iso_str_near(names[best], a->pos[0]))
    (void)cli_usage(a, "unknown action \"%.40s\"; did you mean \"%s\"?", a->pos[0], names[best]);
  else
    (void)cli_usage(a, "unknown action \"%.40s\"", a->pos[0]);
  return -1;
}

iso_status cli_tok_load(const char *path, iso_tok **out, iso_err *err) {
  struct stat s;
  char file[4200];
  bool folder = stat(path, &s) == 0 && S_ISDIR(s.st_mode);
  *out = NULL;
  (void)snprintf(file, sizeof file, "%.4100s/tokenizer.json", path);
  if (!folder || iso_file_exists(file)) return iso_tok_load(folder ? file : path, out, err);
  iso_fail(err, ISO_EIO, "%.400s: no such file", file);
  return iso_hint(err, ISO_EIO, "a model folder holds its tokenizer; isoflop tokenizer train makes one");
}

static bool packed(const char *path) {
  size_t n = strlen(path);
  return (n > 3 && strcmp(path + n - 3, ".gz") == 0) || (n > 4 && strcmp(path + n - 4, ".zst") == 0);
}

double cli_text_bytes(const char *const *paths, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) {
    struct stat s;
    if (strcmp(paths[i], "-") == 0) return NAN;
    if (stat(paths[i], &s) == 0) sum += (double)s.st_size * (packed(paths[i]) ? 4 : 1);
  }
  return sum;
}
