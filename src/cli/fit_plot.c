// Writes the page of a fit.
#include "cli/fit_plot.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/work.h"
#include "gen_version.h"
#include "report/fit_page.h"

iso_status cli_plot_check(const char *path, iso_err *err) {
  struct stat s;
  char dir[1024];
  const char *slash = strrchr(path, '/');
  size_t n = slash ? (size_t)(slash - path) : 0;
  if (!*path || n >= sizeof dir) return iso_fail(err, ISO_EINVAL, "--plot: '%.60s' is no file name", path);
  if (stat(path, &s) == 0 && !S_ISREG(s.st_mode)) {
    iso_fail(err, ISO_EINVAL, "%s: is %s, and --plot writes a file", path, S_ISDIR(s.st_mode) ? "a folder" : "no ordinary file");
    return iso_hint(err, ISO_EINVAL, "name the file in it, as in fit.html");
  }
  memcpy(dir, path, n);
  dir[n] = 0;
  const char *in = slash ? n ? dir : "/" : ".";
  if (access(in, W_OK | X_OK) != 0) return iso_fail(err, ISO_EINVAL, "%s: cannot be written: folder %s: %s", path, in, strerror(errno));
  return ISO_OK;
}

static iso_status save(const cli_args *a, iso_fit_page *p, const char *path, iso_err *err) {
  p->command = a->command;
  p->rev = ISO_REV;
  ISO_TRY(iso_fit_page_save(a->ctx, p, path, err));
  iso_note(a->ctx, ISO_EVENT_PHASE, "fit", "%s written", path);
  return ISO_OK;
}

// IsoFLOP curves of rows in which nothing but N and D varies; false when there are none with a minimum.
static bool curves_of(const iso_law_data *d, const iso_curves_opts *how, iso_fit_data *points, iso_curves *curves) {
  const iso_law *law = d->law;
  int m = law->n_inputs;
  iso_err ignored = {0};
  if (law->at_params < 0 || law->at_tokens < 0 || law->more_is_better) return false;
  for (int64_t i = 0; i < d->n; i++)
    for (int k = 0; k < m; k++)
      if (k != law->at_params && k != law->at_tokens && d->x[i * m + k] != d->x[k]) return false;
  if (iso_fit_data_open(d->n, points, &ignored) != ISO_OK) return false;
  for (int64_t i = 0; i < d->n; i++) {
    points->params[i] = d->x[i * m + law->at_params];
    points->tokens[i] = d->x[i * m + law->at_tokens];
    points->flop[i] = d->flop[i];
    points->loss[i] = d->y[i];
  }
  return iso_curves_fit(points, how, curves, &ignored) == ISO_OK && curves->used > 0;
}

iso_status cli_law_plot(const cli_args *a, const cli_fit_source *s, const cli_law_request *q, const cli_law_answer *w, iso_err *err) {
  iso_fit_page p = {.source = s->name, .metric = s->metric, .rows = &w->fitted, .held = &w->held, .fit = &w->fit, .how = &q->data};
  iso_fit_data points = {0};
  iso_curves curves;
  iso_curves_opts how = iso_curves_opts_default();
  if (w->has_score) p.score = &w->score;
  how.level = w->fit.level;
  how.seed = w->fit.seed;
  how.tolerance = cli_real(a, "tolerance");
  how.noise_sd = cli_real(a, "noise");
  if (curves_of(&w->fitted, &how, &points, &curves)) {
    p.points = &points;
    p.curves = &curves;
    p.curves_how = &how;
  }
  iso_status st = save(a, &p, q->plot, err);
  iso_fit_data_close(&points);
  return st;
}

iso_status cli_fit_plot(const cli_args *a, const char *path, const cli_fit_request *q, const cli_fit_answers *w, iso_err *err) {
  iso_law_data rows = {0};
  iso_lawfit fit = {0};
  iso_fit_page p = {.source = w->source, .metric = w->metric, .rows = &rows, .points = &w->data};
  iso_status st = iso_law_data_of(&w->data, &rows, err);
  if (st == ISO_OK && w->has_fit) st = iso_lawfit_of(&w->fit, &rows, &fit, err);
  if (w->has_fit) p.fit = &fit;
  if (w->has_curves) {
    p.curves = &w->cur;
    p.curves_how = &q->curve;
  }
  if (w->has_parabolas) p.parabolas = &w->par;
  if (w->has_envelope) p.envelope = &w->env;
  if (w->has_compare) p.text = w->cmp.text;
  if (st == ISO_OK) st = save(a, &p, path, err);
  iso_lawfit_close(&fit);
  iso_law_data_close(&rows);
  return st;
}
