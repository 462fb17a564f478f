// Every fast kernel table against the f64 reference, on odd shapes; thread counts bitwise; stated costs against counted ones.
// ctest: cost=7
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>  // needs the ones above
// clang-format on

#include "graph/op.h"
#include "kern/gemm.h"
#include "unit/kern_cases.h"

// Operand numbers as bits of `null`.
enum { P1 = 1 << 1, P2 = 1 << 2, P3 = 1 << 3, P4 = 1 << 4, P5 = 1 << 5, P6 = 1 << 6, P7 = 1 << 7 };

static const kcase CASES[] = {
    {.slot = ISO_K_embed, .d = {1, 20, 257, 1}},
    {.slot = ISO_K_embed, .d = {65, 44, 257, 13}},
    {.slot = ISO_K_embed, .d = {65, 20, 7, 65}, .null = P2},
    {.slot = ISO_K_embed_bwd, .d = {1, 20, 257, 1}},
    {.slot = ISO_K_embed_bwd, .d = {130, 44, 5, 13}},
    {.slot = ISO_K_embed_bwd, .d = {200, 20, 257, 65}, .null = P3},
    {.slot = ISO_K_linear, .d = {1030, 1024, 40}, .null = P2 | P3},  // C beyond the caches
    {.slot = ISO_K_linear, .d = {33, 50, 2100}},                     // long sums
    {.slot = ISO_K_linear, .d = {50, 300, 2100}, .null = P3},        // the same with W the larger operand
    {.slot = ISO_K_linear_bwd, .d = {1100, 70, 36}},
    {.slot = ISO_K_linear, .d = {1, 44, 20}},
    {.slot = ISO_K_linear, .d = {65, 33, 17}, .null = P2},
    {.slot = ISO_K_linear, .d = {7, 257, 64}, .null = P3},
    {.slot = ISO_K_linear, .d = {200, 60, 128}, .null = P2 | P3},
    {.slot = ISO_K_linear, .d = {300, 520, 90}, .null = P2},
    {.slot = ISO_K_linear_bwd, .d = {1, 44, 20, 0}},
    {.slot = ISO_K_linear_bwd, .d = {65, 33, 17, 1}, .null = P4},
    {.slot = ISO_K_linear_bwd, .d = {200, 257, 64, 1}, .null = P1 | P3 | P4},
    {.slot = ISO_K_linear_bwd, .d = {300, 90, 520, 0}, .null = P1 | P3 | P4},
    {.slot = ISO_K_linear_bwd, .d = {700, 257, 67, 1}, .null = P1 | P3 | P4},   // dx of rows that fill no panel
    {.slot = ISO_K_linear_bwd, .d = {130, 2101, 36, 1}, .null = P1 | P3 | P4},  // few blocks: its k in parts
    {.slot = ISO_K_linear_bwd, .d = {700, 257, 64}, .null = P2 | P5},
    {.slot = ISO_K_linear_bwd, .d = {2100, 36, 20}, .null = P2 | P4 | P5},
    {.slot = ISO_K_linear_bwd, .d = {3200, 260, 20}, .null = P2 | P4 | P5},  // k in parts, and those in runs
    {.slot = ISO_K_linear, .d = {128, 96, 2112}, .null = P2 | P3},           // all panels whole: A as bf16 is read where it lies
    {.slot = ISO_K_linear_bwd, .d = {256, 512, 2080}},                       // sums of too many blocks for one task
    {.slot = ISO_K_linear_bwd, .d = {30, 1100, 640}, .null = P2 | P4 | P5},  // blocks of C alone
    {.slot = ISO_K_rmsnorm, .d = {1, 20}, .a = {1e-5}},
    {.slot = ISO_K_rmsnorm, .d = {65, 320}, .a = {1e-5}},
    {.slot = ISO_K_rmsnorm, .d = {7, 1}, .a = {1e-5}},
    {.slot = ISO_K_rmsnorm_bwd, .d = {1, 20, 0}, .a = {1e-5}},
    {.slot = ISO_K_rmsnorm_bwd, .d = {65, 33, 1}, .a = {1e-5}},
    {.slot = ISO_K_rmsnorm_bwd, .d = {300, 320, 0}, .a = {1e-5}},
    {.slot = ISO_K_layernorm, .d = {1, 20}, .a = {1e-5}},
    {.slot = ISO_K_layernorm, .d = {65, 333}, .a = {1e-5}},
    {.slot = ISO_K_layernorm_bwd, .d = {1, 20, 0}, .a = {1e-5}},
    {.slot = ISO_K_layernorm_bwd, .d = {65, 33, 1}, .a = {1e-5}},
    {.slot = ISO_K_layernorm_bwd, .d = {300, 320, 0}, .a = {1e-5}},
    {.slot = ISO_K_rope, .d = {1, 48, 1, 2, 16, 1}, .a = {10000}},
    {.slot = ISO_K_rope, .d = {65, 96, 65, 2, 32, 1}, .a = {10000}},
    {.slot = ISO_K_rope, .d = {130, 200, 65, 3, 64, -1}, .a = {10000}, .null = P1},
    {.slot = ISO_K_rope, .d = {14, 128, 7, 1, 128, 1}, .a = {500000}, .null = P1, .alias = 2},
    {.slot = ISO_K_rope, .d = {9, 70, 3, 3, 20, -1}, .a = {10000}, .alias = 2},
    {.slot = ISO_K_attention, .d = {1, 1, 1, 1, 16}},
    {.slot = ISO_K_attention, .d = {2, 7, 4, 2, 32}},
    {.slot = ISO_K_attention, .d = {1, 64, 6, 2, 64}},
    {.slot = ISO_K_attention, .d = {2, 65, 3, 3, 16}},
    {.slot = ISO_K_attention, .d = {1, 200, 4, 1, 128}, .a = {0.05}},
    {.slot = ISO_K_attention, .d = {1, 33, 2, 1, 20}},
    {.slot = ISO_K_attention, .d = {1, 530, 2, 1, 16}, .a = {1}},
    {.slot = ISO_K_attention_bwd, .d = {1, 530, 2, 1, 16}, .a = {1}},
    {.slot = ISO_K_attention_bwd, .d = {1, 1, 1, 1, 16}},
    {.slot = ISO_K_attention_bwd, .d = {2, 7, 4, 2, 32}},
    {.slot = ISO_K_attention_bwd, .d = {1, 64, 6, 2, 64}},
    {.slot = ISO_K_attention_bwd, .d = {2, 65, 3, 3, 16}},
    {.slot = ISO_K_attention_bwd, .d = {1, 200, 4, 1, 128}, .a = {0.05}},
    {.slot = ISO_K_attention_bwd, .d = {1, 33, 2, 1, 20}},
    {.slot = ISO_K_attention_cached, .d = {1, 9, 4, 2, 32}},
    {.slot = ISO_K_attention_cached, .d = {3, 65, 3, 1, 64}},
    {.slot = ISO_K_attention_cached, .d = {100, 77, 6, 2, 16}},
    {.slot = ISO_K_attention_cached, .d = {7, 200, 2, 2, 128}},
    {.slot = ISO_K_attention_cached, .d = {6, 700, 4, 2, 20}, .a = {1}},
    {.slot = ISO_K_swiglu, .d = {1, 44}},
    {.slot = ISO_K_swiglu, .d = {9, 44}, .spread = 60},
    {.slot = ISO_K_swiglu_bwd, .d = {9, 44}, .spread = 60},
    {.slot = ISO_K_gelu, .d = {9, 44}, .spread = 60},
    {.slot = ISO_K_gelu_bwd, .d = {9, 44}, .spread = 60},
    {.slot = ISO_K_softmax_xent, .d = {33, 257}, .spread = 20},
    {.slot = ISO_K_head_loss, .d = {1100, 12, 300}},
    {.slot = ISO_K_head_loss, .d = {1100, 40, 300}},
    {.slot = ISO_K_head_loss, .d = {70, 20, 257}, .spread = 12},  // tokens far likelier than the target
    {.slot = ISO_K_rmsnorm, .d = {5, 20}, .a = {1e-5}, .spread = 1e-4},
    {.slot = ISO_K_layernorm, .d = {5, 20}, .a = {1e-5}, .spread = 1e4},
    {.slot = ISO_K_swiglu, .d = {65, 129}},
    {.slot = ISO_K_swiglu_bwd, .d = {1, 44}},
    {.slot = ISO_K_swiglu_bwd, .d = {65, 129}},
    {.slot = ISO_K_gelu, .d = {1, 44}},
    {.slot = ISO_K_gelu, .d = {130, 257}},
    {.slot = ISO_K_gelu_bwd, .d = {1, 44}},
    {.slot = ISO_K_gelu_bwd, .d = {130, 257}},
    {.slot = ISO_K_relu2, .d = {1, 44}},
    {.slot = ISO_K_relu2, .d = {130, 257}},
    {.slot = ISO_K_relu2_bwd, .d = {1, 44}},
    {.slot = ISO_K_relu2_bwd, .d = {130, 257}},
    {.slot = ISO_K_head_loss, .d = {1, 20, 257}},
    {.slot = ISO_K_head_loss, .d = {65, 44, 257}},
    {.slot = ISO_K_head_loss, .d = {200, 20, 1031}, .null = P6},
    {.slot = ISO_K_head_loss, .d = {65, 20, 257}, .null = P4 | P5},
    {.slot = ISO_K_head_loss, .d = {33, 20, 257}, .null = P5 | P7},
    {.slot = ISO_K_head_loss, .d = {33, 20, 257}, .null = P4 | P6},
    {.slot = ISO_K_softmax_xent, .d = {1, 257}},
    {.slot = ISO_K_softmax_xent, .d = {65, 257}},
    {.slot = ISO_K_softmax_xent, .d = {33, 7}, .null = P3 | P5},
    {.slot = ISO_K_softmax_xent, .d = {200, 65}, .null = P4},
    {.slot = ISO_K_add, .d = {1}},
    {.slot = ISO_K_add, .d = {100003}},
    {.slot = ISO_K_add, .d = {257}, .alias = 2},
    {.slot = ISO_K_sumsq, .d = {1}},
    {.slot = ISO_K_sumsq, .d = {100003}},
    {.slot = ISO_K_adamw, .d = {1}, .a = {1, 1}},
    {.slot = ISO_K_adamw, .d = {100003}, .a = {0, 0.5}},
    {.slot = ISO_K_muon, .d = {1, 20, 20}, .a = {1, 1}},
    {.slot = ISO_K_muon, .d = {2, 44, 20}, .a = {0, 0.5}},
    {.slot = ISO_K_muon, .d = {3, 20, 33}, .a = {1, 1}},
    {.slot = ISO_K_muon, .d = {1, 90, 70}, .a = {1, 1}},  // several blocks a side
    {.slot = ISO_K_muon, .d = {1, 66, 100}, .a = {1, 1}},
    {.slot = ISO_K_muon, .d = {2, 40, 20, 20, 12, 8}, .a = {1, 1}},
    {.slot = ISO_K_muon, .d = {1, 70, 17, 33, 17, 19, 1}, .a = {1, 1}},
};

// Bounds of max|fast - ref| / max|ref| over one output. Elementwise slots stay within a few roundings of 2^-24 = 6e-8; sums of
// n terms grow as sqrt(n); attention adds an exp of relative error 2e-7. Measured worst: attention_bwd 9e-7, layernorm 5e-7.
static double bound_of(iso_kslot s) {
  switch (s) {
    case ISO_K_embed:
    case ISO_K_add: return 7e-8;
    case ISO_K_relu2:
    case ISO_K_relu2_bwd:
    case ISO_K_rope: return 2e-7;
    case ISO_K_sumsq:
    case ISO_K_adamw:
    case ISO_K_swiglu:
    case ISO_K_swiglu_bwd:
    case ISO_K_gelu:
    case ISO_K_gelu_bwd: return 1e-6;
    case ISO_K_muon: return 2e-6;
    default: return 3e-6;
  }
}
static bool has_product(iso_kslot s) { return s == ISO_K_linear || s == ISO_K_linear_bwd || s == ISO_K_head_loss; }

static void describe(char *buf, size_t n, const kcase *k, const iso_kern_table *t) {
  (void)snprintf(buf, n, "%s %s d = %ld %ld %ld %ld %ld %ld null %x", t->name, iso_kslot_name(k->slot), (long)k->d[0], (long)k->d[1], (long)k->d[2],
                 (long)k->d[3], (long)k->d[4], (long)k->d[5], k->null);
}

static double value_at(const bufs *b, int i, int64_t j) {
  if (b->op[i].kind == 'l') return ((double *)b->p[i])[j];
  if (b->op[i].kind == 'h') return ((iso_hyp *)b->p[i])->grad_sumsq;
  return b->elem == ISO_DTYPE_f32 ? (double)((float *)b->p[i])[j] : ((double *)b->p[i])[j];
}

static void compare(const char *what, const bufs *ref, const bufs *got, double bound) {
  for (int i = 0; i < ISO_K_OPERANDS; i++) {
    const operand *o = &ref->op[i];
    if (!o->kind || o->kind == 'i') continue;
    double top = 0, off = 0;
    for (int64_t j = 0; j < o->n; j++) {
      if (o->kind == 'l' && j == 1) {
        if (value_at(ref, i, 1) != value_at(got, i, 1)) fail_msg("%s: counts %g tokens, not %g", what, value_at(got, i, 1), value_at(ref, i, 1));
        continue;
      }
      double want = value_at(ref, i, j), diff = fabs(value_at(got, i, j) - want);
      if (fabs(want) > top) top = fabs(want);
      if (!(diff < INFINITY)) fail_msg("%s: operand %d[%ld] is %g, not %g", what, i, (long)j, value_at(got, i, j), want);
      if (diff > off) off = diff;
    }
    double rel = off == 0 ? 0 : off / top;
    double limit = o->role == 'r' ? 0 : bound;
    if (!(rel <= limit)) fail_msg("%s: operand %d differs by %.3g of its scale %.3g (at most %.1g)", what, i, rel, top, limit);
  }
}

static void same_bits(const char *what, int threads, const bufs *a, const bufs *b) {
  for (int i = 0; i < ISO_K_OPERANDS; i++)
    if (a->op[i].kind && memcmp(a->p[i], b->p[i], operand_bytes(&a->op[i], a->elem)) != 0)
      fail_msg("%s: operand %d with %d threads is not that of one thread", what, i, threads);
}

static iso_pool *pools[4];  // [n] has n threads; [0] is NULL, run inline

// `ref` is what the reference makes of `in`.
static void check_table(const iso_kern_table *t, const kcase *k, const bufs *in, const bufs *ref, double bound) {
  char what[200];
  describe(what, sizeof what, k, t);
  bufs one, more;
  run_case(t, k, in, NULL, &one, NULL);
  compare(what, ref, &one, bound);
  for (int n = 1; n <= 3; n++) {
    run_case(t, k, in, pools[n], &more, NULL);
    same_bits(what, n, &one, &more);
    bufs_close(&more);
  }
  bufs_close(&one);
}

static const char *const names[] = {"generic", "avx2", "avx512", "avx512-bf16", "amx"};

// Runs fn on every table that this CPU has; the tests of absent ones are named, not silent.
static void each_table(iso_precision prec, void (*fn)(const iso_kern_table *)) {
  for (size_t i = 0; i < ISO_COUNT(names); i++) {
    const iso_kern_table *t = NULL;
    iso_err err;
    assert_int_equal(setenv("ISOFLOP_KERNELS", names[i], 1), 0);
    if (iso_kern_select(prec, &t, &err) == ISO_OK)
      fn(t);
    else
      print_message("not on this CPU: %s\n", names[i]);
  }
  (void)unsetenv("ISOFLOP_KERNELS");
}

static bool is_attention(iso_kslot s) { return s == ISO_K_attention || s == ISO_K_attention_bwd; }
// Tables with bf16 products of their own, which attention and Muon use too.
static bool has_blocks(const iso_kern_table *t) { return t->bf16 && t->bf16->gemm; }

// The tables of a precision that this CPU has.
typedef struct tables {
  const iso_kern_table *t[ISO_COUNT(names)];
  int n;
} tables;
static tables f32, bf16;
static void take_f32(const iso_kern_table *t) { f32.t[f32.n++] = t; }
static void take_bf16(const iso_kern_table *t) { bf16.t[bf16.n++] = t; }

// bf16 tables: rounding the operands of a product moves a sum of random terms by 2^-9 of its scale.
static double bf16_bound(const iso_kern_table *t, iso_kslot s) {
  if (s == ISO_K_muon) return has_blocks(t) ? 4e-3 : bound_of(s);           // the last three of five steps
  bool twice = s == ISO_K_head_loss || (has_blocks(t) && is_attention(s));  // probabilities and gradients are rounded too
  return twice ? 2e-2 : has_product(s) ? 1e-2 : bound_of(s);
}

// The reference, which takes most of the time, runs once for all tables.
static void every_table(const kcase *k, bool with_f32, double (*bf16_of)(const iso_kern_table *, iso_kslot)) {
  bufs in = bufs_open(k), ref;
  run_case(&iso_kern_ref, k, &in, NULL, &ref, NULL);
  for (int i = 0; i < f32.n && with_f32; i++) check_table(f32.t[i], k, &in, &ref, bound_of(k->slot));
  for (int i = 0; i < bf16.n; i++) check_table(bf16.t[i], k, &in, &ref, bf16_of(bf16.t[i], k->slot));
  bufs_close(&in);
  bufs_close(&ref);
}

static double f32_bound(const iso_kern_table *t, iso_kslot s) {
  (void)t;
  return bound_of(s);
}

static void test_every_case(void **state) {
  (void)state;
  f32.n = bf16.n = 0;
  each_table(ISO_PREC_f32, take_f32);
  each_table(ISO_PREC_bf16, take_bf16);
  assert_true(f32.n > 0 && bf16.n > 0);
  for (size_t i = 0; i < ISO_COUNT(CASES); i++) {
    kcase k = CASES[i];
    every_table(&k, true, bf16_bound);
    // With operands that bf16 holds exactly a single product must be as good as in f32.
    k.short_values = true;
    if (has_product(k.slot) && k.slot != ISO_K_head_loss) every_table(&k, false, f32_bound);
  }
}

// Rows whose target is ignored leave no trace, at either end of a table's blocks and when no row counts at all.
static void all_ignored(const iso_kern_table *t) {
  const kcase cases[] = {{.slot = ISO_K_head_loss, .d = {37, 20, 257}}, {.slot = ISO_K_softmax_xent, .d = {37, 257}}};
  for (size_t n = 0; n < ISO_COUNT(cases); n++) {
    const kcase *k = &cases[n];
    bufs in = bufs_open(k), out;
    int target = k->slot == ISO_K_head_loss ? 2 : 1, loss = target + 1;
    for (int64_t j = 0; j < 37; j++) ((int32_t *)in.p[target])[j] = j % 2 ? -100 : 257;
    run_case(t, k, &in, pools[2], &out, NULL);
    assert_true(value_at(&out, loss, 0) == 3 && value_at(&out, loss, 1) == 3);
    for (int i = loss + 1; i < ISO_K_OPERANDS; i++)
      for (int64_t j = 0; out.op[i].role != 'r' && j < out.op[i].n; j++)
        assert_true(value_at(&out, i, j) == (out.op[i].role == 'a' ? (double)(float)((double *)in.p[i])[j] : 0));
    bufs_close(&in);
    bufs_close(&out);
  }
}
static void test_all_ignored(void **state) {
  (void)state;
  all_ignored(&iso_kern_ref);
  each_table(ISO_PREC_f32, all_ignored);
  each_table(ISO_PREC_bf16, all_ignored);
}

// Operands of a slot that may be kept as bf16, as bits.
static unsigned narrow_of(iso_kslot s) {
  static const iso_op *const OPS[] = {
#define X(name) &iso_op_##name,
#include "graph/ops.def"
#undef X
  };
  unsigned bits = 0;
  for (size_t i = 0; i < ISO_COUNT(OPS); i++)
    for (const char *c = OPS[i]->slot == s ? OPS[i]->narrow : ""; *c; c++) bits |= 1u << (*c - '0');
  return bits;
}

// Operands kept as bf16 change nothing but the rounding of what is written to them: from the same values the same f32 comes out, and what it
// rounds to.
static void same_but_rounded(const iso_kern_table *t, const kcase *k, const bufs *in, unsigned bits) {
  kcase wide = *k, narrow = *k;
  bufs a, b;
  char what[200];
  describe(what, sizeof what, k, t);
  narrow.narrow = bits;
  run_case(t, &wide, in, NULL, &a, NULL);
  for (int n = 0; n <= 3; n++) {
    run_case(t, &narrow, in, pools[n], &b, NULL);
    for (int i = 0; i < ISO_K_OPERANDS; i++)
      for (int64_t j = 0; a.op[i].kind == 'r' && j < a.op[i].n; j++) {
        double want = value_at(&a, i, j), got = value_at(&b, i, j);
        if (bits >> i & 1) want = f32_or_bf16(want, true);
        if (!(got == want || fabs(got - want) < 1e-37))
          fail_msg("%s narrow %x: operand %d[%ld] is %.9g, not %.9g", what, bits, i, (long)j, got, want);
      }
    bufs_close(&b);
  }
  bufs_close(&a);
}

static void narrow_operands(const iso_kern_table *t) {
  bool seen = false;
  for (size_t n = 0; t->narrow && n < ISO_COUNT(CASES); n++) {
    kcase k = CASES[n];
    unsigned all = narrow_of(k.slot) & ~k.null;
    if (!all) continue;
    seen = true;
    k.short_values = true;
    bufs in = bufs_open(&k);
    for (int i = 0; i < ISO_K_OPERANDS; i++)  // those derived from others as well
      for (int64_t j = 0; all >> i & 1 && in.op[i].role == 'r' && j < in.op[i].n; j++)
        ((double *)in.p[i])[j] = f32_or_bf16(((double *)in.p[i])[j], true);
    same_but_rounded(t, &k, &in, all);
    for (int i = 0; i < ISO_K_OPERANDS && !k.alias; i++)
      if (all >> i & 1) same_but_rounded(t, &k, &in, 1u << i);
    bufs_close(&in);
  }
  if (t->narrow && !seen) fail_msg("%s: no op has an operand that may be narrow", t->name);
}
static void test_narrow(void **state) {
  (void)state;
  each_table(ISO_PREC_f32, narrow_operands);
  each_table(ISO_PREC_bf16, narrow_operands);
}

// The cost lines of src/kern/ref, as functions of d.
static void stated_muon(const int64_t *d, double *mat, double *vec) {
  double sum = 0;
  for (int i = 3; i < 7 && (i == 3 || d[i] > 0) && sum < (double)d[1]; i++) {
    double rows = (double)(d[3] > 0 ? d[i] : d[1]), K = (double)d[2], r = fmin(rows, K), c = fmax(rows, K);
    *mat += (double)d[0] * 5 * (4 * r * r * c + 2 * r * r * r);
    *vec += (double)d[0] * (10 * rows * K + 2 + 5 * (3 * r * r + 2 * r * c));
    sum += rows;
  }
}

static iso_kcount stated(const kcase *k, const bufs *in) {
  double a = (double)k->d[0], b = (double)k->d[1], c = (double)k->d[2], e = (double)k->d[3], f = (double)k->d[4], mat = 0, vec = 0, n = 0;
  const operand *op = in->op;
  int target = k->slot == ISO_K_head_loss ? 2 : 1;
  if (k->slot == ISO_K_head_loss || k->slot == ISO_K_softmax_xent)
    for (int64_t m = 0; m < k->d[0]; m++) {
      int32_t v = ((int32_t *)in->p[target])[m];
      n += v >= 0 && v < (k->slot == ISO_K_head_loss ? k->d[2] : k->d[1]);
    }
  for (int64_t m = 0; k->slot == ISO_K_attention_cached && m < k->d[0]; m++) n += ((int32_t *)in->p[4])[m] + 1;
  switch (k->slot) {
    case ISO_K_embed: vec = op[2].kind ? a * b : 0; break;
    case ISO_K_embed_bwd: vec = a * b * (op[3].kind ? 2 : 1); break;
    case ISO_K_linear: mat = 2 * a * b * c, vec = a * b * ((op[2].kind != 0) + (op[3].kind != 0)); break;
    case ISO_K_linear_bwd: mat = 2 * a * b * c * ((op[3].kind != 0) + (op[5].kind != 0)), vec = op[4].kind ? a * b : 0; break;
    case ISO_K_rmsnorm: vec = a * (4 * b + 4); break;
    case ISO_K_rmsnorm_bwd: vec = a * (11 * b + 1) + c * a * b; break;
    case ISO_K_layernorm: vec = a * (8 * b + 5); break;
    case ISO_K_layernorm_bwd: vec = a * (16 * b + 2) + c * a * b; break;
    case ISO_K_rope: vec = 3 * a * e * f; break;
    case ISO_K_attention: mat = 2 * a * c * f * b * (b + 1), vec = a * c * (2.5 * b * (b + 1) + 2 * b); break;
    case ISO_K_attention_bwd: mat = 4 * a * c * f * b * (b + 1), vec = a * c * (3 * b * (b + 1) + 2 * b * f); break;
    case ISO_K_attention_cached: mat = 4 * c * f * n, vec = c * (5 * n + 2 * a); break;
    case ISO_K_swiglu: vec = 4 * a * b; break;
    case ISO_K_swiglu_bwd: vec = 11 * a * b; break;
    case ISO_K_gelu: vec = 9 * a * b; break;
    case ISO_K_gelu_bwd: vec = 18 * a * b; break;
    case ISO_K_relu2: vec = a * b; break;
    case ISO_K_relu2_bwd: vec = 2 * a * b; break;
    case ISO_K_head_loss:
      mat = 2 * n * c * b * (1 + (op[4].kind != 0) + (op[5].kind != 0));
      vec = n * (3 * c + 4) + (op[4].kind || op[5].kind ? n * (3 * c + 1) : 0);
      break;
    case ISO_K_softmax_xent: vec = n * (3 * b + 4) + (op[3].kind ? n * (3 * b + 1) : 0); break;
    case ISO_K_add: vec = a; break;
    case ISO_K_sumsq: vec = 2 * a + ceil(a / 16384); break;
    case ISO_K_adamw: vec = 16 * a; break;
    case ISO_K_muon: stated_muon(k->d, &mat, &vec); break;
    default: fail_msg("no stated cost for %s", iso_kslot_name(k->slot));
  }
  return (iso_kcount){mat, vec};
}

static void test_costs(void **state) {
  (void)state;
  bool seen[ISO_K_COUNT] = {false};
  for (size_t i = 0; i < ISO_COUNT(CASES); i++) {
    const kcase *k = &CASES[i];
    bufs in = bufs_open(k), out;
    iso_kcount counted = {0}, want = stated(k, &in);
    char what[200];
    describe(what, sizeof what, k, &iso_kern_ref);
    run_case(&iso_kern_ref, k, &in, NULL, &out, &counted);
    if (counted.mat_flop != want.mat_flop || counted.vec_flop != want.vec_flop)
      fail_msg("%s: counted %.0f + %.0f, stated %.0f + %.0f", what, counted.mat_flop, counted.vec_flop, want.mat_flop, want.vec_flop);
    seen[k->slot] = true;
    bufs_close(&in);
    bufs_close(&out);
  }
  for (int s = 0; s < ISO_K_COUNT; s++)
    if (!seen[s]) fail_msg("no case for %s", iso_kslot_name((iso_kslot)s));
}

static void full_table(const iso_kern_table *t) {
  assert_int_equal(t->elem, ISO_DTYPE_f32);
  for (int s = 0; s < ISO_K_COUNT; s++)
    if (!t->fn[s]) fail_msg("%s has no %s", t->name, iso_kslot_name((iso_kslot)s));
}
static void test_select(void **state) {
  (void)state;
  each_table(ISO_PREC_f32, full_table);
  each_table(ISO_PREC_bf16, full_table);
  assert_int_equal(iso_kern_ref.elem, ISO_DTYPE_f64);
  iso_err err = {0};
  const iso_kern_table *t = NULL;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(setenv("ISOFLOP_KERNELS", i ? "ref" : "sse9", 1), 0);
    assert_int_equal(iso_kern_select(ISO_PREC_f32, &t, &err), ISO_EUNSUP);
    assert_non_null(strstr(err.msg, i ? "ref" : "sse9"));
    assert_true(err.hint[0] != 0);
  }
  assert_int_equal(setenv("ISOFLOP_KERNELS", "", 1), 0);
  assert_int_equal(iso_kern_select(ISO_PREC_f32, &t, &err), ISO_OK);
  (void)unsetenv("ISOFLOP_KERNELS");
}

static int open_pools(void **state) {
  (void)state;
  iso_err err;
  for (int n = 1; n <= 3; n++)
    if (iso_pool_open(n, &pools[n], &err) != ISO_OK) return -1;
  return 0;
}
static int close_pools(void **state) {
  (void)state;
  for (int n = 1; n <= 3; n++) iso_pool_close(pools[n]);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_select), cmocka_unit_test(test_costs),       cmocka_unit_test(test_every_case),
      cmocka_unit_test(test_narrow), cmocka_unit_test(test_all_ignored),
  };
  return cmocka_run_group_tests(tests, open_pools, close_pools);
}
