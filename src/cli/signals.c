// Ctrl-C, SIGTERM and SIGHUP: once, save and stop; twice, stop as soon as possible; three times, leave. A verb with nothing to save leaves.
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"

static void fill(sigset_t *s) {
  sigemptyset(s);
  sigaddset(s, SIGINT);
  sigaddset(s, SIGTERM);
  struct sigaction a;  // under nohup a closed terminal is to be ignored
  if (sigaction(SIGHUP, NULL, &a) == 0 && a.sa_handler != SIG_IGN) sigaddset(s, SIGHUP);
}

// Must run before any thread starts, so that all inherit the mask and only the waiting thread sees the signals.
void cli_signals_block(void) {
  sigset_t s;
  fill(&s);
  pthread_sigmask(SIG_BLOCK, &s, NULL);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

static void *wait_loop(void *arg) {
  iso_ctx *c = arg;
  sigset_t s;
  int got;
  fill(&s);
  for (;;) {
    if (sigwait(&s, &got) != 0) continue;
    int before = atomic_fetch_add(&c->cancel, 1);
    const char *text = before == 0 ? "\nstopping: saving what there is (again: at once)\n" : "\nstopping at once\n";
    // With the terminal the place for messages may be gone; what there is is saved all the same.
    if (write(STDERR_FILENO, text, before == 0 ? 49 : 18) < 0 && before == 0) continue;
    if (before >= 2) _exit(EXIT_INTERRUPTED);
  }
  return NULL;
}

struct cli_stop {
  pthread_mutex_t lock;
  void (*fn)(void *self);
  void *self;
};

void cli_stop_set(cli_stop *s, void (*fn)(void *self), void *self) {
  if (!s) return;
  (void)pthread_mutex_lock(&s->lock);
  s->fn = fn;
  s->self = self;
  (void)pthread_mutex_unlock(&s->lock);
}

// What such a verb writes is whole or absent: files are renamed into place, the store has transactions.
static void *leave_loop(void *arg) {
  cli_stop *stop = arg;
  sigset_t s;
  int got;
  fill(&s);
  while (sigwait(&s, &got) != 0) continue;
  (void)pthread_mutex_lock(&stop->lock);  // never given back: nobody changes it while the program ends
  if (stop->fn) stop->fn(stop->self);
  if (write(STDERR_FILENO, "\nstopped\n", 9) < 0) _exit(EXIT_INTERRUPTED);
  _exit(EXIT_INTERRUPTED);
}

iso_status cli_signals_open(cli_args *a, iso_err *err) {
  pthread_t t;
  bool at_once = a->verb->stops_at_once;
  if (at_once) {
    a->stop = calloc(1, sizeof *a->stop);
    if (!a->stop) return iso_fail(err, ISO_ENOMEM, "no memory for the signal thread");
    (void)pthread_mutex_init(&a->stop->lock, NULL);
  }
  if (pthread_create(&t, NULL, at_once ? leave_loop : wait_loop, at_once ? (void *)a->stop : (void *)a->ctx) != 0)
    return iso_fail(err, ISO_EUNSUP, "could not start the signal thread");
  pthread_detach(t);
  return ISO_OK;
}
