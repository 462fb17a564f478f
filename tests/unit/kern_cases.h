// Runs one kernel slot of any table on buffers made from a description: what test_kern.c and test_kern_ref.c share.
#ifndef ISO_TESTS_KERN_CASES_H
#define ISO_TESTS_KERN_CASES_H
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "kern/kern.h"

// A slot with its dimensions. Bits of `null` are operands passed as NULL; alias > 0 passes operand 0 also as that operand.
typedef struct kcase {
  iso_kslot slot;
  int64_t d[ISO_K_DIMS];
  double a[ISO_K_ATTRS];  // attention: 0 stands for 1/sqrt(Hd)
  unsigned null;
  int alias;
  double spread;      // standard deviation of the inputs; 0 stands for 1
  bool short_values;  // inputs that bf16 holds exactly
  unsigned narrow;    // bits of operands that are passed as bf16
} kcase;

// kind: r real, i i32, l loss f64[2], h iso_hyp, 0 none. role: r read, w overwritten, a read and written.
typedef struct operand {
  char kind, role;
  int64_t n;
} operand;

// Operands of one call; `p` owned.
typedef struct bufs {
  operand op[ISO_K_OPERANDS];
  void *p[ISO_K_OPERANDS];
  iso_dtype elem;
} bufs;

// `roles` holds two characters an operand: kind and role; sizes follow in `n`.
static inline void lay(operand *op, const char *roles, const int64_t *n) {
  for (int i = 0; roles[2 * i]; i++) op[i] = (operand){roles[2 * i], roles[2 * i + 1], n[i]};
}
#define N(...) ((const int64_t[]){__VA_ARGS__})

static inline int64_t cached_sequences(int64_t M) { return M < 3 ? M : 3; }

// What slots.def says about operands, as data.
static inline void layout(const kcase *k, operand *op) {
  const int64_t *d = k->d, a = d[0], b = d[1], c = d[2], att = a * b * (c + 2 * d[3]) * d[4], out = a * b * c * d[4], hyp = 1;
  switch (k->slot) {
    case ISO_K_embed: lay(op, "irrrrrrw", N(a, c * b, d[3] * b, a * b)); break;
    case ISO_K_embed_bwd: lay(op, "irrrrara", N(a, a * b, c * b, d[3] * b)); break;
    case ISO_K_linear: lay(op, "rrrrrrrrrw", N(a * c, b * c, b, a * b, a * b)); break;
    case ISO_K_linear_bwd: lay(op, d[3] ? "rrrrrrrarara" : "rrrrrrrararw", N(a * b, a * c, b * c, b * c, b, a * c)); break;
    case ISO_K_rmsnorm: lay(op, "rrrrrwrw", N(a * b, b, a * b, a)); break;
    case ISO_K_rmsnorm_bwd: lay(op, c ? "rrrrrrrrrara" : "rrrrrrrrrwra", N(a * b, b, a, a * b, a * b, b)); break;
    case ISO_K_layernorm: lay(op, "rrrrrrrwrwrw", N(a * b, b, b, a * b, a, a)); break;
    case ISO_K_layernorm_bwd: lay(op, c ? "rrrrrrrrrrrarara" : "rrrrrrrrrrrwrara", N(a * b, b, a, a, a * b, a * b, b, b)); break;
    case ISO_K_rope: lay(op, "rrirrw", N(a * b, a, a * b)); break;
    case ISO_K_attention: lay(op, "rrrwrw", N(att, out, a * b * c)); break;
    case ISO_K_attention_bwd: lay(op, "rrrrrrrrrw", N(att, out, a * b * c, out, att)); break;
    case ISO_K_attention_cached:
      lay(op, "rrrarairirrw",
          N(a * (c + 2 * d[3]) * d[4], cached_sequences(a) * b * d[3] * d[4], cached_sequences(a) * b * d[3] * d[4], a, a, a * c * d[4]));
      break;
    case ISO_K_swiglu: lay(op, "rrrw", N(2 * a * b, a * b)); break;
    case ISO_K_swiglu_bwd: lay(op, "rrrrrw", N(2 * a * b, a * b, 2 * a * b)); break;
    case ISO_K_gelu:
    case ISO_K_relu2: lay(op, "rrrw", N(a * b, a * b)); break;
    case ISO_K_gelu_bwd:
    case ISO_K_relu2_bwd: lay(op, "rrrrrw", N(a * b, a * b, a * b)); break;
    case ISO_K_head_loss: lay(op, "rrrrirlarwrarwhr", N(a * b, c * b, a, 2, a * b, c * b, a, hyp)); break;
    case ISO_K_softmax_xent: lay(op, "rrirlarwrwhr", N(a * b, a, 2, a * b, a, hyp)); break;
    case ISO_K_add: lay(op, "rrrrrw", N(a, a, a)); break;
    case ISO_K_sumsq: lay(op, "rrha", N(a, hyp)); break;
    case ISO_K_adamw:
      lay(op,
          "rararara"
          "hr",
          N(a, a, a, a, hyp));
      break;
    case ISO_K_muon: lay(op, "rararahr", N(a * b * c, a * b * c, a * b * c, hyp)); break;
    default: break;
  }
  for (int i = 0; i < ISO_K_OPERANDS; i++)
    if (k->null >> i & 1) op[i] = (operand){0};
  if (k->alias) {
    op[0].role = 'a';
    op[k->alias] = (operand){0};
  }
}

static inline size_t operand_bytes(const operand *o, iso_dtype elem) {
  size_t each = o->kind == 'r' ? iso_dtype_bytes(elem) : o->kind == 'i' ? 4 : o->kind == 'l' ? 8 : sizeof(iso_hyp);
  return (size_t)o->n * each;
}

// 64-byte aligned, exactly this long, so that the address sanitizer sees the first byte too many.
static inline void *grab(size_t bytes) {
  void *p = NULL;
  if (posix_memalign(&p, 64, bytes ? bytes : 1)) abort();
  return p;
}

static inline void bufs_close(bufs *b) {
  for (int i = 0; i < ISO_K_OPERANDS; i++) free(b->p[i]);
  *b = (bufs){0};
}

static inline double f32_or_bf16(double x, bool brief) { return brief ? (double)iso_f32_from_bf16(iso_bf16_from_f32((float)x)) : (double)(float)x; }

static inline int32_t fill_index(const kcase *k, int i, int64_t j) {
  int64_t any = iso_rng_below(7, ISO_RNG_TEST, (uint64_t)i, (uint64_t)j, 5000);
  switch (k->slot) {
    case ISO_K_embed:
    case ISO_K_embed_bwd: return (int32_t)(any % k->d[2]);
    case ISO_K_head_loss:
    case ISO_K_softmax_xent: {
      int64_t V = k->slot == ISO_K_head_loss ? k->d[2] : k->d[1];
      return (int32_t)(j % 5 == 3 ? -1 : j % 7 == 5 ? V : j % 11 == 7 ? INT32_MAX : any % V);
    }
    case ISO_K_attention_cached: {
      int64_t s = j % cached_sequences(k->d[0]);
      return (int32_t)(i == 3 ? s : s * (k->d[1] - (k->d[0] + 2) / 3) / 2 + j / cached_sequences(k->d[0]));
    }
    default: return (int32_t)any;
  }
}

static inline iso_hyp test_hyp(void) {
  return (iso_hyp){.lr = 0.01,
                   .beta1 = 0.9,
                   .beta2 = 0.95,
                   .eps = 1e-8,
                   .weight_decay = 0.1,
                   .bias1 = 0.271,
                   .bias2 = 0.142625,
                   .momentum = 0.95,
                   .muon_lr = 0.5,
                   .muon_decay = 0.1,
                   .ns_steps = 5,
                   .loss_scale = 0.37,
                   .clip = 1,
                   .grad_sumsq = 4};
}

// Operand o as bf16, and back to f32.
static inline void *narrowed(const operand *o, void *p) {
  uint16_t *q = grab((size_t)o->n * sizeof *q);
  for (int64_t j = 0; j < o->n; j++) q[j] = iso_bf16_from_f32(((float *)p)[j]);
  free(p);
  return q;
}
static inline void *widened(const operand *o, void *p) {
  float *q = grab((size_t)o->n * sizeof *q);
  for (int64_t j = 0; j < o->n; j++) q[j] = iso_f32_from_bf16(((uint16_t *)p)[j]);
  free(p);
  return q;
}

// One call on `in` (converted to the table's element type); `out` receives every operand afterwards.
static inline void run_case(const iso_kern_table *t, const kcase *k, const bufs *in, iso_pool *pool, bufs *out, iso_kcount *count) {
  *out = *in;
  out->elem = t->elem;
  iso_kcall c = {.pool = pool, .count = count, .narrow = k->narrow};
  memcpy(c.d, k->d, sizeof c.d);
  memcpy(c.a, k->a, sizeof c.a);
  if (c.a[0] == 0 && (k->slot == ISO_K_attention || k->slot == ISO_K_attention_bwd || k->slot == ISO_K_attention_cached))
    c.a[0] = 1 / sqrt((double)k->d[4]);
  for (int i = 0; i < ISO_K_OPERANDS; i++) {
    const operand *o = &in->op[i];
    out->p[i] = o->kind ? grab(operand_bytes(o, t->elem)) : NULL;
    if (o->kind == 'r' && t->elem == ISO_DTYPE_f32) {
      for (int64_t j = 0; j < o->n; j++) ((float *)out->p[i])[j] = (float)((double *)in->p[i])[j];
    } else if (o->kind) {
      memcpy(out->p[i], in->p[i], operand_bytes(o, in->elem));
    }
    if (o->kind && k->narrow >> i & 1) out->p[i] = narrowed(o, out->p[i]);
    c.p[i] = out->p[i];
  }
  if (k->alias) c.p[k->alias] = c.p[0];
  size_t scratch = t->scratch(k->slot, k->d, pool ? iso_pool_threads(pool) : 1);
  c.scratch = grab(scratch);
  memset(c.scratch, 0xFF, scratch);
  t->fn[k->slot](&c);
  free(c.scratch);
  for (int i = 0; i < ISO_K_OPERANDS; i++)
    if (out->p[i] && k->narrow >> i & 1) out->p[i] = widened(&in->op[i], out->p[i]);
}

// Copies operand `from` of a reference run of `slot` on this case's first operands into operand `to`, rounded to f32.
static inline void derive(const kcase *k, bufs *b, const kcase *fwd, const int *from, const int *to, int n) {
  kcase f = *fwd;
  memcpy(f.a, k->a, sizeof f.a);
  bufs in = {.elem = ISO_DTYPE_f64}, out;
  layout(&f, in.op);
  for (int i = 0; i < ISO_K_OPERANDS; i++)
    if (in.op[i].kind) in.p[i] = calloc((size_t)in.op[i].n, 8);
  memcpy(in.p[0], b->p[0], operand_bytes(&in.op[0], ISO_DTYPE_f64));
  run_case(&iso_kern_ref, &f, &in, NULL, &out, NULL);
  for (int i = 0; i < n; i++)
    for (int64_t j = 0; j < b->op[to[i]].n; j++) ((double *)b->p[to[i]])[j] = f32_or_bf16(((double *)out.p[from[i]])[j], false);
  bufs_close(&in);
  bufs_close(&out);
}

// Random inputs in f64, each a value that f32 (or bf16) holds; NaN where the kernel must write.
static inline bufs bufs_open(const kcase *k) {
  bufs b = {.elem = ISO_DTYPE_f64};
  layout(k, b.op);
  for (int i = 0; i < ISO_K_OPERANDS; i++) {
    const operand *o = &b.op[i];
    if (!o->kind) continue;
    b.p[i] = grab(operand_bytes(o, ISO_DTYPE_f64));
    for (int64_t j = 0; j < o->n; j++) {
      double x = iso_rng_normal(11, ISO_RNG_TEST, (uint64_t)(k->slot * ISO_K_OPERANDS + i), (uint64_t)j) * (k->spread > 0 ? k->spread : 1);
      if (k->slot == ISO_K_adamw && i == 3) x = fabs(x);  // a mean of squares
      if (o->kind == 'r') ((double *)b.p[i])[j] = o->role == 'w' ? NAN : f32_or_bf16(x, k->short_values);
      if (o->kind == 'i') ((int32_t *)b.p[i])[j] = fill_index(k, i, j);
      if (o->kind == 'l') ((double *)b.p[i])[j] = 3;
      if (o->kind == 'h') ((iso_hyp *)b.p[i])[j] = test_hyp();
    }
  }
  kcase f = *k;
  if (k->slot == ISO_K_rmsnorm_bwd) f.slot = ISO_K_rmsnorm, derive(k, &b, &f, (int[]){3}, (int[]){2}, 1);
  if (k->slot == ISO_K_layernorm_bwd) f.slot = ISO_K_layernorm, derive(k, &b, &f, (int[]){4, 5}, (int[]){2, 3}, 2);
  if (k->slot == ISO_K_attention_bwd) f.slot = ISO_K_attention, derive(k, &b, &f, (int[]){1, 2}, (int[]){1, 2}, 2);
  return b;
}
#undef N
#endif
