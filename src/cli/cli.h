// What verbs share: the table of verbs, option tables that drive parsing and help, exit codes, output.
#ifndef ISO_CLI_CLI_H
#define ISO_CLI_CLI_H
#include "base/json.h"
#include "base/unit.h"
#include "cost/budget.h"

// Exit codes of every verb; documented in each --help.
enum {
  EXIT_DONE = 0,
  EXIT_FAILED = 1,
  EXIT_USAGE = 2,
  EXIT_BUDGET = 3,  // infeasible: the budget does not pay for the work
  EXIT_INPUT = 4,   // a file or its contents are bad
  EXIT_MEMORY = 5,
  EXIT_DISK = 6,         // the disk is full
  EXIT_UNAVAILABLE = 7,  // known, but not on this machine or in this version
  EXIT_NUMBERS = 8,      // NaN or divergence
  EXIT_INTERRUPTED = 130
};
int cli_exit_code(iso_status st);

typedef enum cli_kind {
  CLI_FLAG,  // no value
  CLI_TEXT,
  CLI_INT,  // 64-bit, suffixes k M B allowed
  CLI_REAL,
  CLI_LIST  // text, may be given more than once, or followed by several values
} cli_kind;

typedef struct cli_opt {
  const char *name;  // "lr": the flag is --lr
  cli_kind kind;
  const char *value;  // name of the value in help, "RATE"; NULL for flags
  const char *def;    // default as text for help and parsing; NULL: none
  const char *help;
} cli_opt;

typedef struct cli_args cli_args;
typedef struct cli_stop cli_stop;

typedef struct cli_verb {
  const char *name;             // "plan", "plan layout"
  const char *summary;          // one line
  const char *const *examples;  // NULL-terminated, two or three runnable lines
  const char *usage;            // after the verb: "[options] --text FILE..."
  const cli_opt *opts;          // its own options; the common ones are added
  size_t n_opts;
  int min_args, max_args;  // positional
  bool stops_at_once;      // Ctrl-C ends it: there is nothing half done to save
  const char *notes;       // more text, or NULL
  int (*run)(cli_args *a);
} cli_verb;

#define X(name) extern const cli_verb cli_verb_##name;
#define SUB(verb, name) extern const cli_verb cli_verb_##verb##_##name;
#include "cli/verbs.def"
#undef X
#undef SUB
// All of them; a subverb stands below its verb and its name is both words.
const cli_verb *const *cli_verbs(size_t *n);
// The second word of a subverb of `verb`, else NULL.
const char *cli_sub_name(const cli_verb *verb, const cli_verb *sub);

struct cli_args {
  const cli_verb *verb;
  iso_ctx *ctx;    // opened for the verb: threads, kernels, progress
  cli_stop *stop;  // what Ctrl-C still does before it ends a verb at once; NULL for others
  int argc;
  char **argv;       // the whole command line
  const char **pos;  // positional arguments
  int n_pos;
  struct cli_value *values;  // one per option
  size_t n_values;
  bool json, quiet, color;
  FILE *log;           // --log-jsonl, or NULL
  char command[1024];  // the command line as a user would type it
};

// Parses, opens the context, runs, prints errors; returns the exit code.
int cli_main(int argc, char **argv);

bool cli_given(const cli_args *a, const char *name);
bool cli_flag(const cli_args *a, const char *name);
const char *cli_text(const cli_args *a, const char *name);  // default, or NULL
int64_t cli_int(const cli_args *a, const char *name);       // default, or -1
double cli_real(const cli_args *a, const char *name);       // default, or NaN
const char *const *cli_list(const cli_args *a, const char *name, int *n);
// --budget; unlimited when absent.
iso_status cli_budget(const cli_args *a, iso_budget *out, iso_err *err);

// Prints the error with its hint to stderr (and as JSON to stdout under --json) and returns the exit code.
int cli_fail(const cli_args *a, iso_status st, const iso_err *err);
// A wrong call: the same with a hint at --help, EXIT_USAGE.
int cli_usage(const cli_args *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Prints one JSON object on one line to stdout and drops the reference.
int cli_put_json(json_t *j);
// One line "name  value" of a table on stdout.
void cli_row(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Bad text, not a bad call: what reads input says ISO_EINVAL for files without use, and those end with the exit code of bad files.
iso_status cli_input(iso_status st, iso_err *err);
// The verb's options, then those that every verb takes.
size_t cli_count_opts(const cli_verb *v);
const cli_opt *cli_opt_at(const cli_verb *v, size_t i);
void cli_help(const cli_verb *v, iso_str *s);
void cli_help_all(iso_str *s, bool markdown);

// progress.c: renders events on stderr, one rewritten line on a terminal.
typedef struct cli_progress cli_progress;
cli_progress *cli_progress_open(iso_ctx *c, bool quiet, bool color, FILE *log);
void cli_progress_close(cli_progress *p);
// signals.c: Ctrl-C asks to save and stop; again: stop at once. Verbs that stop at once: it ends the program there and then, and a->stop is
// opened, which lives as long as the program.
iso_status cli_signals_open(cli_args *a, iso_err *err);
// fn(self) is called first, in another thread; NULL: nothing is. Once this has returned an earlier fn is not called any more.
void cli_stop_set(cli_stop *s, void (*fn)(void *self), void *self);
void cli_signals_block(void);
#endif
