// The reference kernels: values against PyTorch, gradients against central differences, optimizers against torch.optim.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>  // needs the ones above
// clang-format on

#include "unit/kern_cases.h"

// sin(step j + 0.3) scale, the inputs of the golden values.
static void fill(double *x, int64_t n, double step, double scale) {
  for (int64_t j = 0; j < n; j++) x[j] = scale * sin(step * (double)j + 0.3);
}
static double checksum(const double *y, int64_t n) {
  double s = 0;
  for (int64_t j = 0; j < n; j++) s += y[j] * cos(0.7 * (double)j);
  return s;
}

// One forward slot: `step` and `scale` of each real input, integers in `ids`, checksum of operand `y` (or the loss itself).
typedef struct golden {
  kcase k;
  double step[4], scale;
  int32_t ids[3];
  int y;
  double want;
} golden;

/* PyTorch 2.13, CPU, f64; f(n, a, *shape) = torch.sin(a * torch.arange(n) + 0.3).reshape(shape), chk(y) = (y.flatten() *
   torch.cos(0.7 * torch.arange(y.numel()))).sum(), M, D, V, F = 3, 5, 7, torch.nn.functional:
     rmsnorm, layernorm: chk(F.rms_norm(f(15,1.1,M,D), (D,), f(D,.4,D), 1e-5)), chk(F.layer_norm(.., f(D,.4,D), f(D,.9,D), 1e-5))
     rope: x = f(96,1.1,2,3,4,4); inv = 1e4 ** (-torch.arange(0,4,2)/4); ang = torch.arange(3)[:,None]*inv; emb = cat(ang,ang) over T;
       chk(x*emb.cos() + cat(-x[...,2:], x[...,:2])*emb.sin())
     attention: qkv = f(192,1.1,2,3,8,4).transpose(1,2); chk(F.scaled_dot_product_attention(qkv[:,:4], qkv[:,4:6], qkv[:,6:],
       is_causal=True, scale=.5, enable_gqa=True).transpose(1,2)); lse: chk(torch.logsumexp(masked scores, -1))
     swiglu: gu = 3*f(30,1.1,M,10); chk(F.silu(gu[:,:5])*gu[:,5:]); gelu: chk(F.gelu(3*f(15,1.1,M,D), approximate="tanh")); relu2
     softmax_xent: F.cross_entropy(3*f(21,1.1,M,V), [2,-100,6], reduction="sum"); head_loss: logits f(15,1.1,M,D) @ f(35,.8,V,D).T
     linear: chk(F.linear(f(15,1.1,M,D), f(35,.8,V,D), f(V,.9,V)) + f(21,.6,M,V))
     embed: chk(F.embedding([6,0,6], f(35,.8,V,D)) + f(10,.9,2,D)[[0,1,0]]) */
static const golden GOLDEN[] = {
    {{.slot = ISO_K_rmsnorm, .d = {3, 5}, .a = {1e-5}}, {1.1, 0.4}, 1, {0}, 2, -0.11378037483850612},
    {{.slot = ISO_K_layernorm, .d = {3, 5}, .a = {1e-5}}, {1.1, 0.4, 0.9}, 1, {0}, 3, 0.9664936913117164},
    {{.slot = ISO_K_rope, .d = {6, 16, 3, 4, 4, 1}, .a = {10000}, .null = 2}, {1.1}, 1, {0}, 2, -0.11215922463594263},
    {{.slot = ISO_K_attention, .d = {2, 3, 4, 2, 4}, .a = {0.5}}, {1.1}, 1, {0}, 1, -0.26724323268596994},
    {{.slot = ISO_K_attention, .d = {2, 3, 4, 2, 4}}, {1.1}, 1, {0}, 2, -0.8746784628412833},
    {{.slot = ISO_K_swiglu, .d = {3, 5}}, {1.1}, 3, {0}, 1, 3.3229580344784457},
    {{.slot = ISO_K_gelu, .d = {3, 5}}, {1.1}, 3, {0}, 1, -0.05590150112887904},
    {{.slot = ISO_K_relu2, .d = {3, 5}}, {1.1}, 3, {0}, 1, -0.9530711238066032},
    {{.slot = ISO_K_softmax_xent, .d = {3, 7}, .null = 8 | 16 | 32}, {1.1}, 3, {2, -100, 6}, 2, 6.001862922933607},
    {{.slot = ISO_K_head_loss, .d = {3, 5, 7}, .null = 16 | 32 | 64 | 128}, {1.1, 0.8}, 1, {2, -100, 6}, 3, 2.4055696731973457},
    {{.slot = ISO_K_linear, .d = {3, 7, 5}}, {1.1, 0.8, 0.9, 0.6}, 1, {0}, 4, -3.6283102127939686},
    {{.slot = ISO_K_embed, .d = {3, 5, 7, 2}}, {0, 0.8, 0.9}, 1, {6, 0, 6}, 3, 0.10998166500667206},
};

static void test_golden(void **state) {
  (void)state;
  for (size_t n = 0; n < ISO_COUNT(GOLDEN); n++) {
    const golden *g = &GOLDEN[n];
    bufs in = bufs_open(&g->k), out;
    for (int i = 0; i < ISO_K_OPERANDS; i++) {
      const operand *o = &in.op[i];
      if (o->kind == 'r' && o->role == 'r') fill(in.p[i], o->n, g->step[i], g->scale);
      if (o->kind == 'i') memcpy(in.p[i], g->ids, sizeof g->ids);
      if (o->kind == 'l') memset(in.p[i], 0, 16);
    }
    run_case(&iso_kern_ref, &g->k, &in, NULL, &out, NULL);
    const double *y = out.p[g->y];
    double got = out.op[g->y].kind == 'l' ? y[0] : checksum(y, out.op[g->y].n);
    if (!(fabs(got - g->want) < 1e-12)) fail_msg("%s, operand %d: %.17g, PyTorch says %.17g", iso_kslot_name(g->k.slot), g->y, got, g->want);
    if (out.op[g->y].kind == 'l') assert_true(y[1] == 2);
    bufs_close(&in);
    bufs_close(&out);
  }
}

// A backward slot and where its operands come from: "f1" forward operand 1, "dy" the cotangent of forward operand y,
// "g1" the gradient of forward operand 1, "--" NULL.
typedef struct gradient {
  kcase fwd, bwd;
  int y;
  const char *from;
} gradient;

static const gradient GRADIENTS[] = {
    {{.slot = ISO_K_embed, .d = {9, 5, 7, 4}}, {.slot = ISO_K_embed_bwd, .d = {9, 5, 7, 4}}, 3, "f0 dy g1 g2"},
    {{.slot = ISO_K_embed, .d = {9, 5, 7, 4}, .null = 4}, {.slot = ISO_K_embed_bwd, .d = {9, 5, 7, 4}, .null = 8}, 3, "f0 dy g1 --"},
    {{.slot = ISO_K_linear, .d = {4, 3, 5}}, {.slot = ISO_K_linear_bwd, .d = {4, 3, 5, 0}}, 4, "dy f0 f1 g1 g2 g0"},
    {{.slot = ISO_K_linear, .d = {4, 3, 5}}, {.slot = ISO_K_linear_bwd, .d = {4, 3, 5, 1}}, 4, "dy -- f1 -- -- g0"},
    {{.slot = ISO_K_linear, .d = {4, 3, 5}}, {.slot = ISO_K_linear_bwd, .d = {4, 3, 5}}, 4, "dy f0 -- g1 g2 --"},
    {{.slot = ISO_K_rmsnorm, .d = {4, 7}, .a = {1e-5}}, {.slot = ISO_K_rmsnorm_bwd, .d = {4, 7, 0}}, 2, "f0 f1 f3 dy g0 g1"},
    {{.slot = ISO_K_rmsnorm, .d = {4, 7}, .a = {0.5}}, {.slot = ISO_K_rmsnorm_bwd, .d = {4, 7, 1}}, 2, "f0 f1 f3 dy g0 g1"},
    {{.slot = ISO_K_layernorm, .d = {4, 7}, .a = {1e-5}}, {.slot = ISO_K_layernorm_bwd, .d = {4, 7, 0}}, 3, "f0 f1 f4 f5 dy g0 g1 g2"},
    {{.slot = ISO_K_layernorm, .d = {4, 7}, .a = {0.5}}, {.slot = ISO_K_layernorm_bwd, .d = {4, 7, 1}}, 3, "f0 f1 f4 f5 dy g0 g1 g2"},
    {{.slot = ISO_K_rope, .d = {6, 20, 3, 2, 8, 1}, .a = {100}, .null = 2},
     {.slot = ISO_K_rope, .d = {6, 20, 3, 2, 8, -1}, .a = {100}, .null = 2},
     2,
     "dy -- g0"},
    {{.slot = ISO_K_rope, .d = {3, 20, 3, 2, 8, -1}, .a = {100}}, {.slot = ISO_K_rope, .d = {3, 20, 3, 2, 8, 1}, .a = {100}}, 2, "dy f1 g0"},
    {{.slot = ISO_K_attention, .d = {2, 5, 4, 2, 6}}, {.slot = ISO_K_attention_bwd, .d = {2, 5, 4, 2, 6}}, 1, "f0 f1 f2 dy g0"},
    {{.slot = ISO_K_attention, .d = {1, 7, 3, 1, 4}, .a = {0.3}},
     {.slot = ISO_K_attention_bwd, .d = {1, 7, 3, 1, 4}, .a = {0.3}},
     1,
     "f0 f1 f2 dy g0"},
    {{.slot = ISO_K_swiglu, .d = {4, 5}}, {.slot = ISO_K_swiglu_bwd, .d = {4, 5}}, 1, "f0 dy g0"},
    {{.slot = ISO_K_gelu, .d = {4, 5}}, {.slot = ISO_K_gelu_bwd, .d = {4, 5}}, 1, "f0 dy g0"},
    {{.slot = ISO_K_relu2, .d = {4, 5}}, {.slot = ISO_K_relu2_bwd, .d = {4, 5}}, 1, "f0 dy g0"},
    {{.slot = ISO_K_softmax_xent, .d = {8, 7}, .null = 24}, {.slot = ISO_K_softmax_xent, .d = {8, 7}}, 2, "f0 f1 f2 g0 -- f5"},
    {{.slot = ISO_K_softmax_xent, .d = {8, 7}, .null = 56}, {.slot = ISO_K_softmax_xent, .d = {8, 7}}, 2, "f0 f1 f2 g0 -- --"},
    {{.slot = ISO_K_head_loss, .d = {8, 5, 7}, .null = 112}, {.slot = ISO_K_head_loss, .d = {8, 5, 7}}, 3, "f0 f1 f2 f3 g0 g1 -- f7"},
    {{.slot = ISO_K_head_loss, .d = {8, 5, 7}, .null = 112}, {.slot = ISO_K_head_loss, .d = {8, 5, 7}}, 3, "f0 f1 f2 f3 -- g1 -- f7"},
    {{.slot = ISO_K_head_loss, .d = {8, 5, 7}, .null = 240}, {.slot = ISO_K_head_loss, .d = {8, 5, 7}}, 3, "f0 f1 f2 f3 g0 -- -- --"},
};

// sum of cotangent * output of one forward run; for a loss, scale * nats.
static double weigh(const gradient *g, const bufs *in, const double *dy) {
  bufs out;
  run_case(&iso_kern_ref, &g->fwd, in, NULL, &out, NULL);
  const operand *o = &out.op[g->y];
  double s = 0;
  if (o->kind == 'l') {
    bool hyp = g->fwd.slot == ISO_K_head_loss ? out.p[7] != NULL : out.p[5] != NULL;
    s = (((double *)out.p[g->y])[0] - 3) * (hyp ? test_hyp().loss_scale : 1);
  }
  for (int64_t j = 0; o->kind == 'r' && j < o->n; j++) s += dy[j] * ((double *)out.p[g->y])[j];
  bufs_close(&out);
  return s;
}

// The bound is relative to the largest entry; every accumulated gradient starts at 0.25, every overwritten one at NaN.
static void check_gradient(const gradient *g, const bufs *in, int operand_no, const double *got, bool adds, const double *dy) {
  double *x = in->p[operand_no], top = 0, off = 0;
  int64_t n = in->op[operand_no].n;
  for (int64_t j = 0; j < n; j++) {
    double keep = x[j], h = 1e-5;
    x[j] = keep + h;
    double up = weigh(g, in, dy);
    x[j] = keep - h;
    double want = (up - weigh(g, in, dy)) / (2 * h), diff = fabs(got[j] - (adds ? 0.25 : 0) - want);
    x[j] = keep;
    if (fabs(want) > top) top = fabs(want);
    if (!(diff < INFINITY))
      fail_msg("%s, operand %d of the forward: gradient[%ld] is %g, not %g", iso_kslot_name(g->bwd.slot), operand_no, (long)j, got[j], want);
    if (diff > off) off = diff;
  }
  assert_true(top > 1e-3);
  if (!(off <= 1e-6 * top)) fail_msg("%s, operand %d of the forward: gradient is off by %g of %g", iso_kslot_name(g->bwd.slot), operand_no, off, top);
}

static void test_gradients(void **state) {
  (void)state;
  for (size_t n = 0; n < ISO_COUNT(GRADIENTS); n++) {
    const gradient *g = &GRADIENTS[n];
    kcase bwd = g->bwd;
    bufs in = bufs_open(&g->fwd), out, back = {.elem = ISO_DTYPE_f64}, got;
    run_case(&iso_kern_ref, &g->fwd, &in, NULL, &out, NULL);
    double *dy = calloc((size_t)out.op[g->y].n, 8);
    assert_non_null(dy);
    fill(dy, out.op[g->y].n, 1.7, 1);
    size_t operands = (strlen(g->from) + 1) / 3;
    for (size_t i = 0; i < operands; i++)
      if (g->from[3 * i] == '-') bwd.null |= 1u << i;
    layout(&bwd, back.op);
    for (size_t i = 0; i < operands; i++) {
      const operand *o = &back.op[i];
      if (!o->kind) continue;
      int which = g->from[3 * i + 1] - '0';
      char kind = g->from[3 * i];
      size_t bytes = operand_bytes(o, ISO_DTYPE_f64);
      back.p[i] = grab(bytes);
      if (kind == 'g')
        for (int64_t j = 0; j < o->n; j++) ((double *)back.p[i])[j] = o->role == 'a' ? 0.25 : NAN;
      else
        memcpy(back.p[i], kind == 'd' ? (void *)dy : out.p[which], bytes);
    }
    run_case(&iso_kern_ref, &bwd, &back, NULL, &got, NULL);
    for (size_t i = 0; i < operands; i++)
      if (g->from[3 * i] == 'g') check_gradient(g, &in, g->from[3 * i + 1] - '0', got.p[i], back.op[i].role == 'a', dy);
    free(dy);
    bufs_close(&in);
    bufs_close(&out);
    bufs_close(&back);
    bufs_close(&got);
  }
}

enum { B = 2, T = 7, H = 4, K = 2, HD = 8, ROW = (H + 2 * K) * HD };

// A prefill of four tokens of each sequence in one call, then one token of each at a time, equals attention over the whole.
static void test_cached_equals_whole(void **state) {
  (void)state;
  const kcase whole = {.slot = ISO_K_attention, .d = {B, T, H, K, HD}};
  bufs in = bufs_open(&whole), out;
  run_case(&iso_kern_ref, &whole, &in, NULL, &out, NULL);
  const double *qkv = in.p[0], *want = out.p[1];
  double kc[B][T][K * HD] = {0}, vc[B][T][K * HD] = {0}, x[2 * 4 * ROW], o[2 * 4 * H * HD], scratch[T];
  for (int t = 0; t < T; t += t ? 1 : 4) {
    int each = t ? 1 : 4, M = B * each;
    int32_t seq[8], pos[8];
    for (int m = 0; m < M; m++) {
      seq[m] = m % B;
      pos[m] = t + each - 1 - m / B;  // latest first: rows of one call see each other in any order
      memcpy(x + m * ROW, qkv + (seq[m] * T + pos[m]) * ROW, ROW * 8);
    }
    iso_kcall c = {.p = {x, kc, vc, seq, pos, o}, .d = {M, T, H, K, HD}, .a = {1 / sqrt(HD)}, .scratch = (unsigned char *)scratch};
    iso_kern_ref.fn[ISO_K_attention_cached](&c);
    for (int m = 0; m < M; m++)
      for (int i = 0; i < H * HD; i++) assert_true(fabs(o[m * H * HD + i] - want[(seq[m] * T + pos[m]) * H * HD + i]) < 1e-15);
  }
  for (int b = 0; b < B; b++)
    for (int t = 0; t < T; t++) {
      assert_memory_equal(kc[b][t], qkv + (b * T + t) * ROW + H * HD, sizeof kc[b][t]);
      assert_memory_equal(vc[b][t], qkv + (b * T + t) * ROW + (H + K) * HD, sizeof vc[b][t]);
    }
  bufs_close(&in);
  bufs_close(&out);
}

static void near(const double *got, const double *want, int n, double tol, const char *what) {
  for (int i = 0; i < n; i++)
    if (!(fabs(got[i] - want[i]) <= tol)) fail_msg("%s[%d]: %.17g, PyTorch says %.17g", what, i, got[i], want[i]);
}

/* torch.set_default_dtype(torch.float64); w = torch.tensor([0.5, -1.25, 2.0, 0.0], requires_grad=True)
   opt = torch.optim.AdamW([w], lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
   for g in ([0.1, -0.2, 0.3, 0.0], [3.0, -4.0, 1.0, 0.5], [-0.05, 0.02, 0.7, -1e-3]):
     w.grad = torch.tensor(g); torch.nn.utils.clip_grad_norm_([w], 1.0); opt.step(); print(w.tolist(), opt.state[w]) */
static void test_adamw(void **state) {
  (void)state;
  const double gs[3][4] = {{0.1, -0.2, 0.3, 0.0}, {3.0, -4.0, 1.0, 0.5}, {-0.05, 0.02, 0.7, -1e-3}};
  const double ws[3][4] = {{0.4895000009999999, -1.2387500005, 1.9880000003333334, 0.0},
                           {0.480646323100739, -1.2287365420533034, 1.976287129162044, -0.007349598971375494},
                           {0.4741774563608713, -1.22079833122665, 1.9653654478582399, -0.013031134190955428}};
  const double last_m[4] = {0.0557985936535085, -0.08446479153801133, 0.1118661978845028, 0.008683098942251416};
  const double last_v[4] = {0.016861957928424258, 0.030777369650532006, 0.030370773103158274, 0.00045243077578956256};
  double w[4] = {0.5, -1.25, 2.0, 0.0}, g[4], m[4] = {0}, v[4] = {0};
  for (int s = 0; s < 3; s++) {
    iso_hyp h = {.lr = 0.02,
                 .beta1 = 0.9,
                 .beta2 = 0.95,
                 .eps = 1e-8,
                 .weight_decay = 0.4,
                 .clip = 1,
                 .bias1 = 1 - pow(0.9, s + 1),
                 .bias2 = 1 - pow(0.95, s + 1)};
    memcpy(g, gs[s], sizeof g);
    iso_kcall sum = {.p = {g, &h}, .d = {4}}, step = {.p = {w, g, m, v, &h}, .d = {4}, .a = {0.25, 0.5}};  // 0.4 * 0.25, 0.02 * 0.5
    iso_kern_ref.fn[ISO_K_sumsq](&sum);
    iso_kern_ref.fn[ISO_K_adamw](&step);
    near(w, ws[s], 4, 1e-14, "w");
    for (int i = 0; i < 4; i++) assert_true(g[i] == 0);
  }
  near(m, last_m, 4, 1e-15, "m");
  near(v, last_v, 4, 1e-15, "v");
}

/* def muon(N, K, parts, mom=0.95, lr=0.02, wd=0.1):     # torch, f64
     i = torch.arange(N*K).reshape(N, K); w = torch.sin(0.7*i + 0.1); m = torch.zeros(N, K)
     for s in range(2):
       g = torch.cos(1.3*i + 0.5*s)*(1 + s); m = mom*m + g; u = mom*m + g; out = []
       for p in torch.split(u, parts):
         X = p/(p.norm() + 1e-7); t = X.shape[0] > X.shape[1]; X = X.T if t else X
         for _ in range(5): A = X@X.T; X = 3.4445*X + (-4.7750*A + 2.0315*A@A)@X
         out.append((X.T if t else X)*0.2*max(p.shape)**.5)
       w = w*(1 - lr*wd) - lr*torch.cat(out)
     return w.flatten()
   muon(6, 4, [6])[[0,5,11,18,23]], muon(8, 4, [4,2,2])[[0,9,17,22,31]] */
static void test_muon(void **state) {
  (void)state;
  const struct {
    int64_t n, part[3];
    int at[5];
    double want[5];
  } cases[] = {
      {6, {0}, {0, 5, 11, 18, 23}, {0.09188371407143306, -0.44773362697251046, 0.9973312791275267, 0.13235993974870225, -0.47252687897114537}},
      {8, {4, 2, 2}, {0, 9, 17, 22, 31}, {0.09252740026533708, 0.11067636391429292, -0.5245642065140989, 0.21468735402191041, 0.19669308193491322}}};
  for (size_t n = 0; n < ISO_COUNT(cases); n++) {
    const int64_t size = cases[n].n * 4, copies = 2;
    double w[64], g[64], m[64] = {0}, got[5];
    for (int64_t i = 0; i < copies * size; i++) w[i] = sin(0.7 * (double)(i % size) + 0.1);
    iso_hyp h = {.momentum = 0.95, .muon_lr = 0.04, .muon_decay = 0.4, .ns_steps = 5, .clip = 1e-3, .grad_sumsq = 1};  // clip must not matter
    iso_kcall c = {.p = {w, g, m, &h}, .d = {copies, cases[n].n, 4, cases[n].part[0], cases[n].part[1], cases[n].part[2]}, .a = {0.25, 0.5}};
    c.scratch = grab(iso_kern_ref.scratch(ISO_K_muon, c.d, 1));
    for (int s = 0; s < 2; s++) {
      for (int64_t i = 0; i < copies * size; i++) g[i] = cos(1.3 * (double)(i % size) + 0.5 * s) * (1 + s);
      iso_kern_ref.fn[ISO_K_muon](&c);
      for (int64_t i = 0; i < copies * size; i++) assert_true(g[i] == 0);
    }
    for (int64_t copy = 0; copy < copies; copy++) {
      for (int i = 0; i < 5; i++) got[i] = w[copy * size + cases[n].at[i]];
      near(got, cases[n].want, 5, 1e-13, "w");
    }
    free(c.scratch);
  }
}

static void test_clip(void **state) {
  (void)state;
  assert_true(iso_hyp_clip_factor(&(iso_hyp){.clip = 0, .grad_sumsq = 100}) == 1);
  assert_true(iso_hyp_clip_factor(&(iso_hyp){.clip = 1, .grad_sumsq = 0.25}) == 1);
  assert_true(fabs(iso_hyp_clip_factor(&(iso_hyp){.clip = 1, .grad_sumsq = 16}) - 1 / (4 + 1e-6)) < 1e-16);
}

// torch.tensor(x).bfloat16().view(torch.int16) for the first seven; infinities and NaN by definition.
static void test_bf16_rounding(void **state) {
  (void)state;
  const float x[] = {1.0f, 1.00390625f, 1.01171875f, -3.3895314e38f, 3.4e38f, 1e-40f, 3.14159265f, INFINITY, -INFINITY, -0.0f};
  const uint16_t want[] = {0x3f80, 0x3f80, 0x3f82, 0xff7f, 0x7f80, 0x0001, 0x4049, 0x7f80, 0xff80, 0x8000};
  for (size_t i = 0; i < ISO_COUNT(x); i++) assert_int_equal(iso_bf16_from_f32(x[i]), want[i]);
  uint32_t snan = 0x7F800001u;  // the payload lies in the half that is dropped
  float f;
  memcpy(&f, &snan, 4);
  assert_true(isnan(iso_f32_from_bf16(iso_bf16_from_f32(f))));
  for (uint32_t h = 0; h < 65536; h++) {  // every value that bf16 holds comes back
    float y = iso_f32_from_bf16((uint16_t)h);
    if (!isnan(y)) assert_int_equal(iso_bf16_from_f32(y), h);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_golden), cmocka_unit_test(test_gradients), cmocka_unit_test(test_cached_equals_whole), cmocka_unit_test(test_adamw),
      cmocka_unit_test(test_muon),   cmocka_unit_test(test_clip),      cmocka_unit_test(test_bf16_rounding),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
