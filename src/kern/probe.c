// Runs probes on every worker at once, and the oneDNN products that peaks are judged by.
#include "kern/probe.h"

#include <dnnl.h>
#include <math.h>
#include <sched.h>

#include "kern/gemm.h"

// ---- loops on all workers -------------------------------------------------------------------------------------------

typedef struct crew {
  const iso_ctx *c;
  double (*arith)(int64_t rounds, float *sink);  // one of these two
  double (*read)(const float *p, int64_t n, float *sink);
  const float *buf;
  int64_t each;  // floats a worker
  double seconds, took;
  int threads;
  atomic_int here, stop;
  double work[ISO_POOL_MAX];
  float sink[ISO_POOL_MAX];
} crew;

enum { ROUNDS = 4096, LOOKS_MAX = 1 << 22 };

// One task a worker: none starts before all are here, so no worker can take two. The caller alone looks at the clock.
static void probe_task(void *arg, int64_t t, int worker) {
  crew *w = arg;
  float sink = 0;
  double work = 0;
  const float *p = w->buf ? w->buf + t * w->each : NULL;
  if (w->read) (void)w->read(p, w->each, &sink);  // fills the caches
  atomic_fetch_add(&w->here, 1);
  for (int spin = 0; atomic_load(&w->here) < w->threads;)
    if (++spin > 4096) {
      spin = 0;
      (void)sched_yield();
    }
  double start = worker == 0 ? iso_now_s(w->c) : 0;
  int64_t again = w->read ? (25600 + w->each - 1) / w->each : 1;  // some 100 KiB between looks at the clock
  for (int looks = 0; looks < LOOKS_MAX && !atomic_load_explicit(&w->stop, memory_order_relaxed); looks++) {
    for (int64_t i = 0; i < again; i++) work += w->read ? w->read(p, w->each, &sink) : w->arith(ROUNDS, &sink);
    if (worker == 0 && (w->took = iso_now_s(w->c) - start) >= w->seconds) break;
  }
  if (worker == 0) atomic_store(&w->stop, 1);
  w->work[t] = work;
  w->sink[t] = sink;
}

static double run_crew(crew *w) {
  double sum = 0;
  w->threads = iso_pool_threads(w->c->pool);
  iso_pool_run(w->c->pool, w->threads, probe_task, w);
  for (int i = 0; i < w->threads; i++) sum += w->work[i];
  return w->took > 0 ? sum / w->took : NAN;
}

double iso_probe_arith(const iso_ctx *c, const iso_kern_table *kern, iso_probe_class k, double seconds) {
  iso_cpu_words words;
  iso_cpu_read(&words);
  iso_cpu cpu = iso_cpu_decode(&words);
  if (!kern->probes) return NAN;
  crew w = {.c = c, .seconds = seconds};
  switch (k) {
    case ISO_PROBE_f32: w.arith = kern->probes->fma_f32; break;
    case ISO_PROBE_bf16: w.arith = cpu.avx512_bf16 ? kern->probes->dot_bf16 : NULL; break;
    // The AVX2 loop needs AVX2 alone; that of AVX-512 needs VNNI beside it. A CPU without AVX-512 cannot have been given its table.
    case ISO_PROBE_int8: w.arith = kern->probes->dot_bf16 && !cpu.avx512_vnni ? NULL : kern->probes->dot_int8; break;
    default: break;
  }
  return w.arith ? run_crew(&w) : NAN;
}

double iso_probe_read(const iso_ctx *c, const iso_kern_table *kern, const float *buf, size_t bytes, double seconds) {
  int64_t each = (int64_t)(bytes / 4) / iso_pool_threads(c->pool) / 256 * 256;
  if (!kern->probes || each < 256) return NAN;
  crew w = {.c = c, .read = kern->probes->read, .buf = buf, .each = each, .seconds = seconds};
  return run_crew(&w);
}

// ---- products -------------------------------------------------------------------------------------------------------

// oneDNN's own threads are OpenMP's where it is built on it; weak, for builds that are not.
extern void omp_set_num_threads(int) __attribute__((weak));
typedef uint16_t bf16;
// In the library since 1.0, but in no public header.
extern dnnl_status_t dnnl_gemm_bf16bf16f32(char transa, char transb, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k, float alpha, const bf16 *a,
                                           dnnl_dim_t lda, const bf16 *b, dnnl_dim_t ldb, float beta, float *c, dnnl_dim_t ldc);

typedef struct product {
  const iso_probe_product *p;
  size_t elem;                       // bytes of an operand's element
  int64_t lda, ldb, ldc, rows;       // rows of C a task
  size_t a_bytes, b_bytes, c_bytes;  // each a multiple of 64
  unsigned char *buf;
  atomic_int failed;
} product;

static size_t rounded(int64_t elems, size_t elem) { return ((size_t)elems * elem + 63) / 64 * 64; }

static product layout(const iso_probe_product *p, unsigned char *buf) {
  product s = {.p = p, .buf = buf, .rows = p->m};
  s.elem = p->cls == ISO_PROBE_f32 ? 4 : p->cls == ISO_PROBE_bf16 ? 2 : 1;
  s.lda = (p->ta ? p->m : p->k) + p->pad;
  s.ldb = (p->tb ? p->k : p->n) + p->pad;
  s.ldc = p->n + p->pad;
  s.a_bytes = rounded(s.lda * (p->ta ? p->k : p->m), s.elem);
  s.b_bytes = rounded(s.ldb * (p->tb ? p->n : p->k), s.elem);
  s.c_bytes = rounded(s.ldc * p->m, 4);
  return s;
}

size_t iso_probe_product_bytes(const iso_probe_product *p) {
  product s = layout(p, NULL);
  return s.a_bytes + s.b_bytes + s.c_bytes;
}

void iso_probe_product_fill(const iso_probe_product *p, unsigned char *buf) {
  product s = layout(p, buf);
  // Fifteenths of both signs, exact in bf16; 0 to 30 for u8 and s8. The pattern repeats every 31 elements, so that rows differ.
  size_t elems = (s.a_bytes + s.b_bytes) / s.elem;
  for (size_t i = 0, r = 0; i < elems; i++, r = r == 30 ? 0 : r + 1) {
    float x = (float)((int)r - 15) / 16.0f;
    if (p->cls == ISO_PROBE_f32)
      ((float *)(void *)buf)[i] = x;
    else if (p->cls == ISO_PROBE_bf16)
      ((bf16 *)(void *)buf)[i] = iso_bf16_from_f32(x);
    else
      buf[i] = (unsigned char)r;
  }
}

static void rows_task(void *arg, int64_t t, int worker) {
  (void)worker;
  product *s = arg;
  const iso_probe_product *p = s->p;
  int64_t i = t * s->rows, m = p->m - i < s->rows ? p->m - i : s->rows;
  const void *a = s->buf + (size_t)(p->ta ? i : i * s->lda) * s->elem, *b = s->buf + s->a_bytes;
  void *c = s->buf + s->a_bytes + s->b_bytes + (size_t)(i * s->ldc) * 4;
  char ta = p->ta ? 'T' : 'N', tb = p->tb ? 'T' : 'N';
  const int32_t none = 0;
  dnnl_status_t st;
  if (p->cls == ISO_PROBE_f32)
    st = dnnl_sgemm(ta, tb, m, p->n, p->k, 1.0f, a, s->lda, b, s->ldb, 0.0f, c, s->ldc);
  else if (p->cls == ISO_PROBE_bf16)
    st = dnnl_gemm_bf16bf16f32(ta, tb, m, p->n, p->k, 1.0f, a, s->lda, b, s->ldb, 0.0f, c, s->ldc);
  else
    st = dnnl_gemm_u8s8s32(ta, tb, 'F', m, p->n, p->k, 1.0f, a, s->lda, 0, b, s->ldb, 0, 0.0f, c, s->ldc, &none);
  if (st != dnnl_success) atomic_store(&s->failed, 1);
}

// The setting is the calling thread's own.
static void one_thread_task(void *arg, int64_t t, int worker) {
  if (omp_set_num_threads) omp_set_num_threads(1);
  rows_task(arg, t, worker);
}

bool iso_probe_product_run(const iso_ctx *c, const iso_probe_product *p, iso_probe_share share, unsigned char *buf) {
  int threads = iso_pool_threads(c->pool);
  product s = layout(p, buf);
  if (share == ISO_PROBE_OPENMP) {
    if (!omp_set_num_threads) return false;
    omp_set_num_threads(threads);
    rows_task(&s, 0, 0);
    omp_set_num_threads(1);
  } else if (p->cls == ISO_PROBE_f32) {
    iso_gemm g = {.ta = p->ta, .tb = p->tb, .m = p->m, .n = p->n, .k = p->k, .lda = s.lda, .ldb = s.ldb, .ldc = s.ldc};
    g.a = (const float *)(const void *)buf;
    g.b = (const float *)(const void *)(buf + s.a_bytes);
    g.c = (float *)(void *)(buf + s.a_bytes + s.b_bytes);
    iso_gemm_f32(c->pool, &g);
  } else {
    s.rows = (p->m + threads - 1) / threads;
    iso_pool_run(c->pool, (p->m + s.rows - 1) / s.rows, one_thread_task, &s);
  }
  return !atomic_load(&s.failed);
}
