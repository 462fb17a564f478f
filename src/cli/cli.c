// Parsing by option tables, and running a verb.
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "kern/kern.h"

typedef struct cli_value {
  bool given;
  const char *text;
  int64_t i;
  double d;
  const char **list;  // owned
  int n_list;
} cli_value;

static const cli_verb *const VERBS[] = {
#define X(name) &cli_verb_##name,
#define SUB(verb, name) &cli_verb_##verb##_##name,
#include "cli/verbs.def"
#undef X
#undef SUB
};

// Options that every verb takes.
static const cli_opt COMMON[] = {
    {"json", CLI_FLAG, NULL, NULL, "print results as JSON on stdout"},
    {"threads", CLI_INT, "N", NULL, "worker threads (default: what the cgroup and affinity allow)"},
    {"quiet", CLI_FLAG, NULL, NULL, "no progress on stderr"},
    {"no-color", CLI_FLAG, NULL, NULL, "no colours (also NO_COLOR and TERM=dumb)"},
    {"log-jsonl", CLI_TEXT, "FILE", NULL, "append progress events to FILE, one JSON object a line"},
    {"help", CLI_FLAG, NULL, NULL, "show this help"},
};

const cli_verb *const *cli_verbs(size_t *n) {
  *n = ISO_COUNT(VERBS);
  return VERBS;
}

const char *cli_sub_name(const cli_verb *verb, const cli_verb *sub) {
  size_t n = strlen(verb->name);
  return strncmp(sub->name, verb->name, n) == 0 && sub->name[n] == ' ' ? sub->name + n + 1 : NULL;
}

int cli_exit_code(iso_status st) {
  switch (st) {
    case ISO_OK: return EXIT_DONE;
    case ISO_EINVAL: return EXIT_USAGE;
    case ISO_EIO:
    case ISO_EFORMAT: return EXIT_INPUT;
    case ISO_ENOMEM: return EXIT_MEMORY;
    case ISO_EBUDGET: return EXIT_BUDGET;
    case ISO_EUNSUP: return EXIT_UNAVAILABLE;
    case ISO_ECANCEL: return EXIT_INTERRUPTED;
    case ISO_ENUM: return EXIT_NUMBERS;
    case ISO_EFULL: return EXIT_DISK;
    case ISO_EBUG: return EXIT_FAILED;
  }
  return EXIT_FAILED;
}

size_t cli_count_opts(const cli_verb *v) { return v->n_opts + ISO_COUNT(COMMON); }
const cli_opt *cli_opt_at(const cli_verb *v, size_t i) { return i < v->n_opts ? &v->opts[i] : &COMMON[i - v->n_opts]; }

static cli_value *find_value(const cli_args *a, const char *name, const cli_opt **opt) {
  for (size_t i = 0; i < a->n_values; i++)
    if (strcmp(cli_opt_at(a->verb, i)->name, name) == 0) {
      if (opt) *opt = cli_opt_at(a->verb, i);
      return &a->values[i];
    }
  return NULL;
}

bool cli_given(const cli_args *a, const char *name) {
  const cli_value *v = find_value(a, name, NULL);
  return v && v->given;
}
bool cli_flag(const cli_args *a, const char *name) { return cli_given(a, name); }
const char *cli_text(const cli_args *a, const char *name) {
  const cli_value *v = find_value(a, name, NULL);
  return v ? v->text : NULL;
}
int64_t cli_int(const cli_args *a, const char *name) {
  const cli_value *v = find_value(a, name, NULL);
  return v && v->text ? v->i : -1;
}
double cli_real(const cli_args *a, const char *name) {
  const cli_value *v = find_value(a, name, NULL);
  return v && v->text ? v->d : NAN;
}
const char *const *cli_list(const cli_args *a, const char *name, int *n) {
  const cli_value *v = find_value(a, name, NULL);
  *n = v ? v->n_list : 0;
  return v ? v->list : NULL;
}

iso_status cli_budget(const cli_args *a, iso_budget *out, iso_err *err) {
  const char *t = cli_text(a, "budget");
  *out = iso_budget_none();
  if (!t) return ISO_OK;
  iso_status st = iso_budget_parse(t, out, err);
  return st == ISO_OK ? st : iso_err_prefix(err, st, "--budget");
}

// What could not be written is said once and ends with its own code; `code` is the exit code otherwise.
static int flush_out(int code) {
  bool before = ferror(stdout) != 0;
  errno = 0;
  if (fflush(stdout) == 0 && !before) return code;
  int why = errno;
  struct pollfd reader = {.fd = STDOUT_FILENO};
  if (poll(&reader, 1, 0) > 0 && (reader.revents & POLLERR)) return code != EXIT_DONE ? code : EXIT_FAILED;  // | head has read enough
  if (!before || code == EXIT_DONE) fprintf(stderr, "isoflop: standard output cannot be written%s%s\n", why ? ": " : "", why ? strerror(why) : "");
  return code != EXIT_DONE ? code : why == ENOSPC ? EXIT_DISK : EXIT_FAILED;
}

int cli_put_json(json_t *j) {
  char *s = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
  json_decref(j);
  if (!s) return EXIT_MEMORY;
  puts(s);
  free(s);
  return flush_out(EXIT_DONE);
}

void cli_row(const char *name, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  printf("%-22s ", name);
  vprintf(fmt, ap);
  printf("\n");
  va_end(ap);
}

iso_status cli_input(iso_status st, iso_err *err) {
  if (st != ISO_EINVAL) return st;
  err->status = ISO_EFORMAT;
  return ISO_EFORMAT;
}

int cli_fail(const cli_args *a, iso_status st, const iso_err *err) {
  const char *message = err->msg[0] ? err->msg : iso_status_name(st);
  fprintf(stderr, "isoflop%s%s: %s\n", a && a->verb ? " " : "", a && a->verb ? a->verb->name : "", message);
  if (err->hint[0]) fprintf(stderr, "  hint: %s\n", err->hint);
  if (a && a->json) cli_put_json(json_pack("{s:{s:s, s:s, s:s}}", "error", "kind", iso_status_name(st), "message", message, "hint", err->hint));
  return cli_exit_code(st);
}

int cli_usage(const cli_args *a, const char *fmt, ...) {
  iso_err err = {.status = ISO_EINVAL};
  va_list ap;
  va_start(ap, fmt);
  (void)vsnprintf(err.msg, sizeof err.msg, fmt, ap);
  va_end(ap);
  iso_hint(&err, ISO_EINVAL, "isoflop %s%s--help", a->verb ? a->verb->name : "", a->verb ? " " : "");
  return cli_fail(a, ISO_EINVAL, &err);
}

static bool parse_value(cli_value *v, const cli_opt *o, const char *text, iso_err *err) {
  v->text = text;
  if (o->kind == CLI_INT) {
    double d;
    if (iso_unit_parse(text, ISO_UNIT_COUNT, &d, err) != ISO_OK) return false;
    if (d != floor(d) || d > 9e15) {
      (void)iso_fail(err, ISO_EINVAL, "\"%.40s\" is not a whole number", text);
      return false;
    }
    v->i = (int64_t)d;
  } else if (o->kind == CLI_REAL) {
    char *end;
    v->d = strtod(text, &end);
    if (end == text || *end || !isfinite(v->d)) {
      (void)iso_fail(err, ISO_EINVAL, "\"%.40s\" is not a number", text);
      return false;
    }
  } else if (o->kind == CLI_LIST) {
    const char **l = realloc(v->list, (size_t)(v->n_list + 1) * sizeof *l);
    if (!l) return false;
    v->list = l;
    v->list[v->n_list++] = text;
  }
  return true;
}

static int unknown_option(const cli_args *a, const char *name) {
  const char *best = NULL;
  for (size_t i = 0; i < cli_count_opts(a->verb); i++) {
    const char *n = cli_opt_at(a->verb, i)->name;
    if (!best || iso_str_distance(n, name) < iso_str_distance(best, name)) best = n;
  }
  if (best && iso_str_near(best, name)) return cli_usage(a, "unknown option --%.40s; did you mean --%s?", name, best);
  return cli_usage(a, "unknown option --%.40s", name);
}

// Fills values and positional arguments; 0, or the exit code.
static int parse(cli_args *a, int argc, char **argv) {
  for (size_t i = 0; i < a->n_values; i++) {
    const cli_opt *o = cli_opt_at(a->verb, i);
    iso_err err = {0};
    if (o->def && o->kind != CLI_LIST && !parse_value(&a->values[i], o, o->def, &err)) return cli_usage(a, "default of --%s: %s", o->name, err.msg);
  }
  bool only_args = false;
  for (int i = 0; i < argc; i++) {
    const char *s = argv[i];
    if (!only_args && strcmp(s, "--") == 0) {
      only_args = true;
      continue;
    }
    if (only_args || s[0] != '-' || s[1] == 0) {
      a->pos[a->n_pos++] = s;
      continue;
    }
    if (strcmp(s, "-h") == 0) s = "--help";
    if (strcmp(s, "-q") == 0) s = "--quiet";
    if (s[1] != '-') return cli_usage(a, "unknown option %.40s", s);
    char name[64];
    const char *eq = strchr(s, '=');
    size_t n = eq ? (size_t)(eq - s - 2) : strlen(s + 2);
    if (n >= sizeof name) return cli_usage(a, "unknown option %.40s", s);
    memcpy(name, s + 2, n);
    name[n] = 0;
    const cli_opt *o;
    cli_value *v = find_value(a, name, &o);
    if (!v) return unknown_option(a, name);
    if (v->given && o->kind != CLI_LIST && o->kind != CLI_FLAG) return cli_usage(a, "--%s is given twice", name);
    v->given = true;
    if (o->kind == CLI_FLAG) {
      if (eq) return cli_usage(a, "--%s takes no value", name);
      continue;
    }
    const char *text = eq ? eq + 1 : i + 1 < argc ? argv[++i] : NULL;
    if (!text) return cli_usage(a, "--%s needs a value (%s)", name, o->value);
    iso_err err = {0};
    if (!parse_value(v, o, text, &err)) return cli_usage(a, "--%s: %s", name, err.msg);
    // --text A B C: the values of a list run to the next option.
    while (!eq && o->kind == CLI_LIST && i + 1 < argc && (argv[i + 1][0] != '-' || argv[i + 1][1] == 0))
      if (!parse_value(v, o, argv[++i], &err)) return cli_usage(a, "--%s: %s", name, err.msg);
  }
  return 0;
}

static void join_command(cli_args *a) {
  size_t n = 0;
  for (int i = 0; i < a->argc && n + 4 < sizeof a->command; i++) {
    const char *s = i == 0 ? "isoflop" : a->argv[i];
    bool quote = !*s || strpbrk(s, " '\"$\\*?;&|<>()") != NULL;
    int k = snprintf(a->command + n, sizeof a->command - n, quote ? "%s'%s'" : "%s%s", i ? " " : "", s);
    n += k > 0 ? (size_t)k : 0;
  }
}

static int run_verb(cli_args *a) {
  iso_err err = {0};
  int64_t threads = cli_int(a, "threads");
  const char *log = cli_text(a, "log-jsonl");
  a->quiet = cli_flag(a, "quiet");
  const char *term = getenv("TERM");
  a->color = isatty(STDERR_FILENO) && !cli_flag(a, "no-color") && !getenv("NO_COLOR") && !(term && strcmp(term, "dumb") == 0);
  if (cli_given(a, "threads") && (threads < 1 || threads > 256)) return cli_usage(a, "--threads: %lld is not between 1 and 256", (long long)threads);
  cli_signals_block();
  iso_status st = iso_ctx_open(threads > 0 ? (int)threads : 0, &a->ctx, &err);
  if (st == ISO_OK) st = iso_kern_select(ISO_PREC_f32, &a->ctx->kern, &err);
  if (st == ISO_OK) st = cli_signals_open(a, &err);
  if (st == ISO_OK && log && !(a->log = fopen(log, "a"))) st = iso_fail(&err, ISO_EIO, "%s: cannot open for appending", log);
  if (st != ISO_OK) return cli_fail(a, st, &err);
  cli_progress *p = cli_progress_open(a->ctx, a->quiet, a->color, a->log);
  int code = a->verb->run(a);
  cli_progress_close(p);
  if (a->log && (ferror(a->log) | fclose(a->log)) != 0) fprintf(stderr, "isoflop: --log-jsonl %s: could not be written whole\n", log);
  return code;
}

// The verb of this name; *near (may be NULL) gets the one whose name is nearest.
static const cli_verb *find_verb(const char *name, const char **near) {
  const cli_verb *found = NULL;
  const char *best = VERBS[0]->name;
  for (size_t i = 0; i < ISO_COUNT(VERBS); i++) {
    if (strcmp(VERBS[i]->name, name) == 0) found = VERBS[i];
    if (!strchr(VERBS[i]->name, ' ') && iso_str_distance(VERBS[i]->name, name) < iso_str_distance(best, name)) best = VERBS[i]->name;
  }
  if (near) *near = best;
  return found;
}

// The same for the subverbs of a verb; NULL and *near NULL when it has none.
static const cli_verb *find_sub(const cli_verb *verb, const char *name, const char **near) {
  const cli_verb *found = NULL;
  *near = NULL;
  for (size_t i = 0; i < ISO_COUNT(VERBS); i++) {
    const char *sub = cli_sub_name(verb, VERBS[i]);
    if (!sub) continue;
    if (strcmp(sub, name) == 0) found = VERBS[i];
    if (!*near || iso_str_distance(sub, name) < iso_str_distance(*near, name)) *near = sub;
  }
  return found;
}

static int show_help(const cli_args *a, const char *verb, const char *sub, bool markdown) {
  iso_str s = {0};
  int code = EXIT_DONE;
  if (!verb)
    cli_help_all(&s, markdown);
  else {
    const char *near;
    const cli_verb *found = find_verb(verb, NULL);
    if (found && sub) found = find_sub(found, sub, &near);
    if (!found) {
      iso_str_free(&s);
      return cli_usage(a, "no verb \"%.40s%s%.40s\"", verb, sub ? " " : "", sub ? sub : "");
    }
    cli_help(found, &s);
  }
  if (s.p) fputs(s.p, stdout);
  iso_str_free(&s);
  return code;
}

// An argument too many: perhaps a subverb, misspelt or not in its place.
static int unexpected(const cli_args *a) {
  const char *near, *s = a->pos[a->verb->max_args];
  if (find_sub(a->verb, s, &near)) return cli_usage(a, "%s comes right after %s: isoflop %s %s ...", s, a->verb->name, a->verb->name, s);
  if (near && a->verb->max_args == 0 && iso_str_near(near, s))
    return cli_usage(a, "no \"%.40s\" here; did you mean \"isoflop %s %s\"?", s, a->verb->name, near);
  return cli_usage(a, "unexpected argument \"%.60s\"", s);
}

// Before options are parsed: a wrong call is answered in JSON too.
static bool asks_json(int argc, char **argv) {
  for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
    if (strcmp(argv[i], "--json") == 0) return true;
  return false;
}

static int dispatch(int argc, char **argv) {
  cli_args a = {.argc = argc, .argv = argv, .json = asks_json(argc, argv)};
  const char *name = argc > 1 ? argv[1] : "help", *near;
  int first = 2;
  if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) name = "version";
  if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
    const char *what = argc > 2 ? argv[2] : NULL;
    if (what && strcmp(what, "--markdown") == 0) return show_help(&a, NULL, NULL, true);
    if (what && strcmp(what, "--all") == 0) return show_help(&a, NULL, NULL, false);
    return show_help(&a, what, argc > 3 ? argv[3] : NULL, false);
  }
  a.verb = find_verb(name, &near);
  if (!a.verb)
    return iso_str_near(near, name) ? cli_usage(&a, "no verb \"%.40s\"; did you mean \"%s\"?", name, near) : cli_usage(&a, "no verb \"%.40s\"", name);
  const cli_verb *sub = argc > 2 ? find_sub(a.verb, argv[2], &near) : NULL;
  if (sub) {
    a.verb = sub;
    first = 3;
  }
  a.n_values = cli_count_opts(a.verb);
  a.values = calloc(a.n_values, sizeof *a.values);
  a.pos = calloc((size_t)argc + 1, sizeof *a.pos);
  int code = EXIT_MEMORY;
  if (a.values && a.pos) {
    code = parse(&a, argc > first ? argc - first : 0, argv + first);
    if (code == 0 && cli_flag(&a, "help")) {
      iso_str s = {0};
      cli_help(a.verb, &s);
      if (s.p) fputs(s.p, stdout);
      iso_str_free(&s);
    } else if (code == 0) {
      join_command(&a);
      if (a.n_pos < a.verb->min_args)
        code = cli_usage(&a, "%s", a.verb->usage[0] ? "an argument is missing" : "");
      else if (a.n_pos > a.verb->max_args)
        code = unexpected(&a);
      else
        code = run_verb(&a);
    }
  }
  iso_ctx_close(a.ctx);
  for (size_t i = 0; a.values && i < a.n_values; i++) free(a.values[i].list);
  free(a.values);
  free(a.pos);
  return code;
}

int cli_main(int argc, char **argv) { return flush_out(dispatch(argc, argv)); }
