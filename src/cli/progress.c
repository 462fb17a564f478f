// Progress on stderr: one rewritten line on a terminal, plain lines now and then elsewhere; events as JSON lines on request.
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/cli.h"

struct cli_progress {
  iso_ctx *c;
  bool quiet, tty, color, open_line;
  FILE *log;
  double last_s;
};

static void log_event(cli_progress *p, const iso_event *e) {
  static const char *const KINDS[] = {"phase", "progress", "note", "warn"};
  json_t *j = json_pack("{s:s, s:s, s:f, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "type", KINDS[e->kind], "phase", e->phase, "t_s",
                        iso_now_s(p->c) - p->c->start_s, "text", e->text, "step", e->kind == ISO_EVENT_PROGRESS ? json_integer(e->step) : json_null(),
                        "steps", e->kind == ISO_EVENT_PROGRESS ? json_integer(e->steps) : json_null(), "loss", iso_json_num(e->loss), "tok_per_s",
                        iso_json_num(e->tok_per_s), "mfu", iso_json_num(e->mfu), "budget_used", iso_json_num(e->used_frac), "eta_s",
                        iso_json_num(e->eta_s), "predicted_loss", iso_json_num(e->predicted_loss), "noise_scale_tok", iso_json_num(e->noise_tok));
  char *s = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(8)) : NULL;
  if (s) fprintf(p->log, "%s\n", s);
  free(s);
  json_decref(j);
}

static void line(const iso_event *e, iso_str *s) {
  char b[40];
  iso_str_fmt(s, "%-9s", e->phase);
  if (e->steps > 0) iso_str_fmt(s, " step %lld/%lld", (long long)e->step, (long long)e->steps);
  if (isfinite(e->loss)) iso_str_fmt(s, "  loss %.3f", e->loss);
  if (isfinite(e->predicted_loss)) iso_str_fmt(s, " (predicted %.3f)", e->predicted_loss);
  if (isfinite(e->tok_per_s)) iso_str_fmt(s, "  %.0f tok/s", e->tok_per_s);
  if (isfinite(e->mfu)) iso_str_fmt(s, "  MFU %.0f%%", 100 * e->mfu);
  if (isfinite(e->used_frac)) iso_str_fmt(s, "  budget %.0f%%", 100 * e->used_frac);
  if (isfinite(e->eta_s)) iso_str_fmt(s, "  %s left", iso_unit_print(e->eta_s, ISO_UNIT_S, b, sizeof b));
  if (e->text[0]) iso_str_fmt(s, "  %s", e->text);
}

static void ignore(void *self, const iso_event *e) {
  (void)self;
  (void)e;
}

static void on_event(void *self, const iso_event *e) {
  cli_progress *p = self;
  double now = iso_now_s(p->c);
  if (p->log) log_event(p, e);
  if (p->quiet && e->kind != ISO_EVENT_WARN) return;
  if (e->kind == ISO_EVENT_PROGRESS) {
    if (now - p->last_s < (p->tty ? 0.1 : 10)) return;
    p->last_s = now;
    iso_str s = {0};
    line(e, &s);
    if (p->tty)
      fprintf(stderr, "\r\033[K%.180s", s.p ? s.p : "");
    else
      fprintf(stderr, "%s\n", s.p ? s.p : "");
    p->open_line = p->tty;
    iso_str_free(&s);
    fflush(stderr);
    return;
  }
  if (p->open_line) fprintf(stderr, "\r\033[K");
  p->open_line = false;
  const char *on = !p->color ? "" : e->kind == ISO_EVENT_WARN ? "\033[33m" : e->kind == ISO_EVENT_PHASE ? "\033[1m" : "", *off = *on ? "\033[0m" : "";
  fprintf(stderr, "%s%6.1fs  %-9s %s%s%s\n", on, now - p->c->start_s, e->phase, e->kind == ISO_EVENT_WARN ? "warning: " : "", e->text, off);
  fflush(stderr);
}

cli_progress *cli_progress_open(iso_ctx *c, bool quiet, bool color, FILE *log) {
  cli_progress *p = calloc(1, sizeof *p);
  if (!p) return NULL;
  *p = (cli_progress){.c = c, .quiet = quiet, .tty = isatty(STDERR_FILENO), .color = color, .log = log, .last_s = -1e9};
  c->sink = (iso_sink){on_event, p};
  return p;
}

void cli_progress_close(cli_progress *p) {
  if (!p) return;
  if (p->open_line) fprintf(stderr, "\n");
  p->c->sink = (iso_sink){ignore, NULL};
  free(p);
}
