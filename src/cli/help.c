// Help texts, printed from the tables that also drive parsing.
#include <string.h>

#include "cli/cli.h"

static const char EXIT_CODES[] =
    "Exit codes: 0 done, 1 failure, 2 wrong usage, 3 the budget does not pay for the work, 4 bad input file,\n"
    "5 out of memory (here, or on the devices planned for), 6 disk full, 7 not available here, 8 the numbers went wrong,\n"
    "130 interrupted (state saved).\n";

// Wraps `text` at 100 columns, continuation lines indented.
static void wrap(iso_str *s, const char *text, size_t indent, size_t column) {
  while (*text) {
    size_t word = strcspn(text, " ");
    if (column + word > 100 && column > indent) {
      if (s->n > 0 && s->p[s->n - 1] == ' ') s->p[--s->n] = 0;
      iso_str_fmt(s, "\n%*s", (int)indent, "");
      column = indent;
    }
    iso_str_put(s, text, word);
    column += word;
    text += word;
    while (*text == ' ') text++;
    if (*text) {
      iso_str_put(s, " ", 1);
      column++;
    }
  }
  iso_str_add(s, "\n");
}

static void list_subs(const cli_verb *v, iso_str *s) {
  size_t n, found = 0;
  const cli_verb *const *all = cli_verbs(&n);
  for (size_t i = 0; i < n; i++) {
    const char *sub = cli_sub_name(v, all[i]);
    if (!sub) continue;
    if (!found++) iso_str_fmt(s, "\nSubverbs, each with options of its own (isoflop %s NAME --help):\n", v->name);
    iso_str_fmt(s, "  %-12s ", sub);
    wrap(s, all[i]->summary, 15, 15);
  }
}

void cli_help(const cli_verb *v, iso_str *s) {
  iso_str_fmt(s, "%s\n\nExamples:\n", v->summary);
  for (const char *const *e = v->examples; *e; e++) iso_str_fmt(s, "  %s\n", *e);
  iso_str_fmt(s, "\nUsage:\n  isoflop %s%s%s\n\nOptions:\n", v->name, v->usage[0] ? " " : "", v->usage);
  for (size_t i = 0; i < cli_count_opts(v); i++) {
    const cli_opt *o = cli_opt_at(v, i);
    char left[80];
    int n = snprintf(left, sizeof left, "--%s%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "", o->kind == CLI_LIST ? "..." : "");
    iso_str_fmt(s, "  %-26s ", left);
    char text[600];
    (void)snprintf(text, sizeof text, "%s%s%s%s", o->help, o->def ? " (default: " : "", o->def ? o->def : "", o->def ? ")" : "");
    wrap(s, text, 29, n > 26 ? (size_t)n + 3 : 29);
  }
  list_subs(v, s);
  if (v->notes) iso_str_fmt(s, "\n%s\n", v->notes);
  iso_str_fmt(s, "\n%s", EXIT_CODES);
}

void cli_help_all(iso_str *s, bool markdown) {
  size_t n;
  const cli_verb *const *v = cli_verbs(&n);
  if (markdown) {
    iso_str_add(s, "# Command line\n\nPrinted by `isoflop help --markdown`; `make docs` writes it anew and `make check` compares it.\n");
    for (size_t i = 0; i < n; i++) {
      iso_str_fmt(s, "\n## isoflop %s\n\n```\n", v[i]->name);
      cli_help(v[i], s);
      iso_str_add(s, "```\n");
    }
    return;
  }
  iso_str_add(s,
              "isoflop: a budget goes in, a compute-optimal language model comes out.\n\nExamples:\n"
              "  isoflop demo --budget 5m\n"
              "  isoflop train --text book.txt --budget 300s --out model\n"
              "  isoflop sample model --prompt 'Once upon a time'\n\nVerbs:\n");
  for (size_t i = 0; i < n; i++) iso_str_fmt(s, "  %-13s %s\n", v[i]->name, v[i]->summary);
  iso_str_fmt(s, "\nisoflop VERB --help tells more; isoflop help --markdown prints everything.\n\n%s", EXIT_CODES);
}
