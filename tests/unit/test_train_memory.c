// Memory of the training loop: exactly what the price says, and nothing more once the first step is done.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "train/trainer.h"

// Every call that this process makes for heap memory, whoever makes it.
static atomic_long calls;
#if !defined(__SANITIZE_ADDRESS__)
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t each);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);
void *malloc(size_t n) {
  atomic_fetch_add(&calls, 1);
  return __libc_malloc(n);
}
void *calloc(size_t n, size_t each) {
  atomic_fetch_add(&calls, 1);
  return __libc_calloc(n, each);
}
void *realloc(void *p, size_t n) {
  atomic_fetch_add(&calls, 1);
  return __libc_realloc(p, n);
}
int posix_memalign(void **p, size_t align, size_t n) {
  atomic_fetch_add(&calls, 1);
  *p = __libc_memalign(align, n);
  return *p ? 0 : 12;
}
#endif

typedef struct book {
  iso_alloc base;
  size_t held, most;
  int asked;
  long at_step[64];
  int n_steps;
} book;

static void *book_get(void *self, size_t n) {
  book *b = self;
  void *p = b->base.get(b->base.self, n);
  if (p) b->held += n;
  if (b->held > b->most) b->most = b->held;
  b->asked++;
  return p;
}
static void book_put(void *self, void *p, size_t n) {
  book *b = self;
  b->held -= n;
  b->base.put(b->base.self, p, n);
}

static iso_status batch(void *arg, int64_t first, int64_t n, int64_t t, int32_t *x, int32_t *y, iso_err *err) {
  (void)arg, (void)err;
  for (int64_t i = 0; i < n * t; i++) {
    x[i] = (int32_t)((first * 31 + i * i) % 256);
    y[i] = (int32_t)((first * 31 + (i + 1) * (i + 1)) % 256);
  }
  return ISO_OK;
}

static iso_status on_step(void *arg, const iso_step_info *i, iso_err *err) {
  book *b = arg;
  (void)i, (void)err;
  if (b->n_steps < 64) b->at_step[b->n_steps++] = atomic_load(&calls);
  return ISO_OK;
}

static void check(const char *optim, iso_precision prec, int64_t micro, iso_recompute re, bool gns) {
  iso_ctx *c;
  iso_err err = {0};
  iso_model *m;
  iso_trainer *t;
  iso_train_price price;
  iso_model_config mc = {.vocab = 256,
                         .width = 64,
                         .layers = 4,
                         .heads = 4,
                         .kv_heads = 2,
                         .head_dim = 16,
                         .mlp = 96,
                         .ctx = 64,
                         .tied = true,
                         .norm_eps = 1e-5,
                         .rope_theta = 10000};
  strcpy(mc.arch, "llama");
  assert_int_equal(iso_ctx_open(2, &c, &err), ISO_OK);
  assert_int_equal(iso_kern_select(prec, &c->kern, &err), ISO_OK);
  book b = {.base = c->alloc};
  c->alloc = (iso_alloc){book_get, book_put, &b};
  iso_train_opts o = iso_train_defaults();
  o.optim = optim;
  o.seq = 64;
  o.batch = 8;
  o.micro = micro;
  o.recompute = re.every;
  o.recompute_layers = re.layers;
  o.recompute_cheap = re.cheap;
  o.measure_gns = gns;
  o.steps = 24;
  o.warmup = 2;
  assert_int_equal(iso_model_open(c, &mc, &m, &err), ISO_OK);
  iso_model_init(m, 1);
  assert_int_equal(iso_train_price_of(&mc, &o, c->kern, 2, &price, &err), ISO_OK);
  assert_int_equal(iso_trainer_open(c, m, &o, batch, NULL, &t, &err), ISO_OK);
  assert_int_equal(iso_trainer_run(t, on_step, &b, &err), ISO_OK);
  size_t ids = 2 * sizeof(int32_t) * (size_t)(o.batch * o.seq);  // the batch's ids and targets come from malloc
  if (b.most + ids != (size_t)price.mem_b) fail_msg("%s: %zu bytes held at most, planned %lld", optim, b.most + ids, (long long)price.mem_b);
  // The first two steps may fill caches of the libraries; from then on nothing is asked for.
  assert_int_equal(b.n_steps, 24);
  if (b.at_step[23] != b.at_step[1]) fail_msg("%s: %ld calls for memory in 22 steps", optim, b.at_step[23] - b.at_step[1]);
  iso_trainer_close(t);
  iso_model_close(m);
  assert_int_equal(b.held, 0);
  c->alloc = b.base;
  iso_ctx_close(c);
}

static void test_memory_is_what_was_planned(void **s) {
  (void)s;
  check("adamw", ISO_PREC_f32, 0, (iso_recompute){0}, false);
  check("muon", ISO_PREC_f32, 2, (iso_recompute){0}, false);
  check("muon", ISO_PREC_f32, 2, (iso_recompute){0}, true);
  check("muon", ISO_PREC_bf16, 0, (iso_recompute){.every = 2}, false);
  check("adamw", ISO_PREC_f32, 2, (iso_recompute){.layers = 2, .cheap = true}, false);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory_is_what_was_planned)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
