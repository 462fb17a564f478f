// The pre-norm decoder as a graph: embedding, repeated layers, final norm and head.
#include <math.h>
#include <stdio.h>

#include "graph/op.h"
#include "model/arch.h"

typedef struct builder {
  const iso_decoder *k;
  const iso_model_config *c;
  const iso_build *b;
  iso_graph *g;
  iso_graph_io *io;
  int block, embed, stream;
  iso_sym sym;  // what counts the rows of the nodes that are built now: M, or R behind the choice of rows with logits
  bool failed;
} builder;

static iso_dim rows(const builder *s) { return iso_dim_sym(s->sym); }

static int tensor(builder *s, iso_tensor t) {
  int i = iso_graph_tensor(s->g, &t);
  s->failed = s->failed || i < 0;
  return i;
}

// Rows of `cols` elements, or of one when cols is 0; col: the letter of that axis.
static int act(builder *s, const char *path, char col, int64_t cols) {
  const char axes[] = {"BTMR"[s->sym], col, 0};
  return tensor(
      s, (iso_tensor){
             .path = path, .axes = axes, .role = ISO_ROLE_ACT, .rank = cols > 0 ? 2 : 1, .dim = {rows(s), iso_dim_of(cols)}, .block = s->block});
}

static int input(builder *s, const char *path, int64_t raw) {
  const char axes[] = {"BTMR"[s->sym], 0};
  return tensor(
      s,
      (iso_tensor){.path = path, .axes = axes, .role = ISO_ROLE_INPUT, .i32 = raw == 0, .raw_bytes = raw, .rank = 1, .dim = {rows(s)}, .block = -1});
}

static int matrix(builder *s, const char *path, const char *axes, int64_t n, int64_t k, double std, int parts, const iso_part *part, int block) {
  iso_tensor t = {.path = path,
                  .axes = axes,
                  .role = ISO_ROLE_WEIGHT,
                  .rank = 2,
                  .dim = {iso_dim_of(n), iso_dim_of(k)},
                  .block = block,
                  .group = ISO_GROUP_MATRIX,
                  .init_std = std,
                  .n_parts = parts};
  for (int i = 0; i < parts; i++) t.part[i] = part[i];
  return tensor(s, t);
}

static int vector(builder *s, const char *path, int64_t n, bool one, const char *name, int block) {
  return tensor(s, (iso_tensor){.path = path,
                                .axes = "D",
                                .role = ISO_ROLE_WEIGHT,
                                .rank = 1,
                                .dim = {iso_dim_of(n)},
                                .block = block,
                                .group = ISO_GROUP_VECTOR,
                                .init_one = one,
                                .n_parts = 1,
                                .part = {{name, n}}});
}

static void node(builder *s, iso_node n, iso_err *err) {
  if (!s->failed && iso_graph_node(s->g, s->block, &n, err) != ISO_OK) s->failed = true;
}

// Norm of x into a new activation; returns it.
static int norm(builder *s, const char *path, iso_ref x, const char *gain_name, const char *bias_name, int block, iso_err *err) {
  char p[64];
  int64_t d = s->c->width;
  (void)snprintf(p, sizeof p, "%s.gain", path);
  int g = vector(s, p, d, true, gain_name, block);
  int y = act(s, path, 'D', d);
  if (s->k->layernorm) {
    (void)snprintf(p, sizeof p, "%s.bias", path);
    int b = vector(s, p, d, false, bias_name, block);
    (void)snprintf(p, sizeof p, "%s.mean", path);
    int mean = act(s, p, 0, 0);
    (void)snprintf(p, sizeof p, "%s.rstd", path);
    int rstd = act(s, p, 0, 0);
    node(s,
         (iso_node){.op = &iso_op_layernorm,
                    .arg = {x, iso_this(g), iso_this(b), iso_this(y), iso_this(mean), iso_this(rstd)},
                    .d = {rows(s), iso_dim_of(d)},
                    .a = {s->c->norm_eps}},
         err);
  } else {
    (void)snprintf(p, sizeof p, "%s.rstd", path);
    int rstd = act(s, p, 0, 0);
    node(
        s,
        (iso_node){.op = &iso_op_rmsnorm, .arg = {x, iso_this(g), iso_this(y), iso_this(rstd)}, .d = {rows(s), iso_dim_of(d)}, .a = {s->c->norm_eps}},
        err);
  }
  return y;
}

static void linear(builder *s, int x, int w, int bias, iso_ref residual, iso_ref y, int64_t n, int64_t k, iso_err *err) {
  iso_ref b = bias >= 0 ? iso_this(bias) : iso_none();
  node(s, (iso_node){.op = &iso_op_linear, .arg = {iso_this(x), iso_this(w), b, residual, y}, .d = {rows(s), iso_dim_of(n), iso_dim_of(k)}}, err);
}

// Deviation of a hidden matrix at the start: 1/sqrt(fan_in), output projections divided by sqrt(2 L) (Radford et al. 2019).
static double hidden_std(int64_t fan_in) { return 1.0 / sqrt((double)fan_in); }

// Rows of a table of n; `along`: what is added to a row by its number, or none.
static void look_up(builder *s, int ids, iso_ref table, iso_ref along, iso_dim n, iso_ref y, iso_err *err) {
  node(s,
       (iso_node){.op = &iso_op_embed, .arg = {iso_this(ids), table, along, y}, .d = {rows(s), iso_dim_of(s->c->width), n, iso_dim_sym(ISO_SYM_T)}},
       err);
}

static void embedding(builder *s, iso_err *err) {
  const iso_model_config *c = s->c;
  s->block = iso_graph_block(s->g, "embed", ISO_SECTION_FORWARD, 1, -1);
  iso_tensor e = {.path = "embed",
                  .axes = "VD",
                  .role = ISO_ROLE_WEIGHT,
                  .rank = 2,
                  .dim = {iso_dim_of(c->vocab), iso_dim_of(c->width)},
                  .block = -1,
                  .group = c->tied ? ISO_GROUP_HEAD : ISO_GROUP_EMBED,
                  .init_std = 0.02,
                  .n_parts = 1,
                  .part = {{s->k->n_embed, c->vocab}}};
  s->embed = tensor(s, e);
  int pos = -1;
  if (s->k->learned_pos)
    pos = tensor(s, (iso_tensor){.path = "positions",
                                 .axes = "TD",
                                 .role = ISO_ROLE_WEIGHT,
                                 .rank = 2,
                                 .dim = {iso_dim_of(c->ctx), iso_dim_of(c->width)},
                                 .block = -1,
                                 .group = ISO_GROUP_EMBED,
                                 .init_std = 0.02,
                                 .n_parts = 1,
                                 .part = {{s->k->n_pos, c->ctx}}});
  s->io->ids = input(s, "ids", 0);
  // The stream belongs to the layers, whose block comes next.
  s->stream = tensor(s, (iso_tensor){.path = "stream",
                                     .axes = "MD",
                                     .role = ISO_ROLE_ACT,
                                     .rank = 2,
                                     .dim = {rows(s), iso_dim_of(c->width)},
                                     .block = s->block + 1,
                                     .stream = true});
  // Rows of training stand in the order of their positions; those of decoding have positions of their own, looked up as tokens are.
  bool apart = pos >= 0 && s->b->mode == ISO_MODE_DECODE;
  iso_ref x = {s->stream, ISO_FIRST}, along = pos >= 0 && !apart ? iso_this(pos) : iso_none();
  look_up(s, s->io->ids, iso_this(s->embed), along, iso_dim_of(c->vocab), x, err);
  if (!apart) return;
  iso_ref p = iso_this(act(s, "position", 'D', c->width));
  look_up(s, s->io->pos, iso_this(pos), iso_none(), iso_dim_of(c->ctx), p, err);
  node(s, (iso_node){.op = &iso_op_add, .arg = {x, p, x}, .d = {iso_dim_mul(rows(s), iso_dim_of(c->width))}}, err);
}

static int attention(builder *s, iso_err *err) {
  const iso_model_config *c = s->c;
  int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, n = q + 2 * kv;
  int x = norm(s, "layers.*.norm1", (iso_ref){s->stream, ISO_THIS}, s->k->n_norm1, s->k->n_norm1_b, s->block, err);
  iso_part parts[3] = {{s->k->n_q, q}, {s->k->n_k, kv}, {s->k->n_v, kv}}, packed = {s->k->n_qkv, n};
  int w = matrix(s, "layers.*.attn.qkv", "ND", n, c->width, hidden_std(c->width), s->k->n_qkv ? 1 : 3, s->k->n_qkv ? &packed : parts, s->block);
  int bias = s->k->bias ? vector(s, "layers.*.attn.qkv.bias", n, false, s->k->n_qkv_b, s->block) : -1;
  int qkv = act(s, "layers.*.qkv", 'N', n), o = act(s, "layers.*.o", 'Q', q);
  linear(s, x, w, bias, iso_none(), iso_this(qkv), n, c->width, err);
  iso_ref pos = s->b->mode == ISO_MODE_DECODE ? iso_this(s->io->pos) : iso_none();
  if (!s->k->learned_pos)
    node(s,
         (iso_node){.op = &iso_op_rope,
                    .arg = {iso_this(qkv), pos, iso_this(qkv)},
                    .d = {rows(s), iso_dim_of(n), iso_dim_sym(ISO_SYM_T), iso_dim_of(c->heads + c->kv_heads), iso_dim_of(c->head_dim), iso_dim_of(1)},
                    .a = {c->rope_theta}},
         err);
  double scale = 1.0 / sqrt((double)c->head_dim);
  if (s->b->mode == ISO_MODE_DECODE) {
    node(s,
         (iso_node){.op = &iso_op_attention_cached,
                    .arg = {iso_this(qkv), iso_this(s->io->kcache), iso_this(s->io->vcache), iso_this(s->io->seq), pos, iso_this(o)},
                    .d = {rows(s), iso_dim_of(s->b->cache_len), iso_dim_of(c->heads), iso_dim_of(c->kv_heads), iso_dim_of(c->head_dim)},
                    .a = {scale}},
         err);
  } else {
    int lse = tensor(
        s, (iso_tensor){
               .path = "layers.*.lse", .axes = "HM", .role = ISO_ROLE_ACT, .rank = 2, .dim = {iso_dim_of(c->heads), rows(s)}, .block = s->block});
    node(s,
         (iso_node){.op = &iso_op_attention,
                    .arg = {iso_this(qkv), iso_this(o), iso_this(lse)},
                    .d = {iso_dim_sym(ISO_SYM_B), iso_dim_sym(ISO_SYM_T), iso_dim_of(c->heads), iso_dim_of(c->kv_heads), iso_dim_of(c->head_dim)},
                    .a = {scale}},
         err);
  }
  iso_part po = {s->k->n_o, c->width};
  int wo = matrix(s, "layers.*.attn.out", "DQ", c->width, q, hidden_std(q) / sqrt(2.0 * (double)c->layers), 1, &po, s->block);
  int bo = s->k->bias ? vector(s, "layers.*.attn.out.bias", c->width, false, s->k->n_o_b, s->block) : -1;
  int mid = act(s, "layers.*.mid", 'D', c->width);
  linear(s, o, wo, bo, (iso_ref){s->stream, ISO_THIS}, iso_this(mid), c->width, q, err);
  return mid;
}

static void feed_forward(builder *s, int mid, iso_err *err) {
  const iso_model_config *c = s->c;
  bool gated = s->k->act == ISO_ACT_SWIGLU;
  int64_t n = gated ? 2 * c->mlp : c->mlp;
  int x = norm(s, "layers.*.norm2", iso_this(mid), s->k->n_norm2, s->k->n_norm2_b, s->block, err);
  iso_part parts[2] = {{s->k->n_gate, c->mlp}, {s->k->n_up, c->mlp}}, one = {s->k->n_up, c->mlp}, pd = {s->k->n_down, c->width};
  int w = matrix(s, "layers.*.mlp.up", "FD", n, c->width, hidden_std(c->width), gated ? 2 : 1, gated ? parts : &one, s->block);
  int bias = s->k->bias ? vector(s, "layers.*.mlp.up.bias", n, false, s->k->n_up_b, s->block) : -1;
  int u = act(s, "layers.*.up", 'F', n), h = act(s, "layers.*.hidden", 'F', c->mlp);
  linear(s, x, w, bias, iso_none(), iso_this(u), n, c->width, err);
  const iso_op *op = gated ? &iso_op_swiglu : s->k->act == ISO_ACT_GELU ? &iso_op_gelu : &iso_op_relu2;
  node(s, (iso_node){.op = op, .arg = {iso_this(u), iso_this(h)}, .d = {rows(s), iso_dim_of(c->mlp)}}, err);
  int wd = matrix(s, "layers.*.mlp.down", "DF", c->width, c->mlp, hidden_std(c->mlp) / sqrt(2.0 * (double)c->layers), 1, &pd, s->block);
  int bd = s->k->bias ? vector(s, "layers.*.mlp.down.bias", c->width, false, s->k->n_down_b, s->block) : -1;
  linear(s, h, wd, bd, iso_this(mid), (iso_ref){s->stream, ISO_NEXT}, c->width, c->mlp, err);
}

// The rows of x that get logits: a lookup with x as the table. All that follows works on R rows.
static iso_ref choose(builder *s, iso_ref x, iso_err *err) {
  const iso_dim m = rows(s);
  s->sym = ISO_SYM_R;
  s->io->last = input(s, "last", 0);
  iso_ref y = iso_this(act(s, "chosen", 'D', s->c->width));
  look_up(s, s->io->last, x, iso_none(), m, y, err);
  return y;
}

static void head(builder *s, iso_err *err) {
  const iso_model_config *c = s->c;
  bool decode = s->b->mode == ISO_MODE_DECODE;
  s->block = iso_graph_block(s->g, "head", ISO_SECTION_FORWARD, 1, -1);
  iso_ref end = {s->stream, ISO_LAST};
  if (decode) end = choose(s, end, err);
  int x = norm(s, "norm", end, s->k->n_norm, s->k->n_norm_b, -1, err);
  int w = s->embed;
  if (!c->tied)
    w = tensor(s, (iso_tensor){.path = "head",
                               .axes = "VD",
                               .role = ISO_ROLE_WEIGHT,
                               .rank = 2,
                               .dim = {iso_dim_of(c->vocab), iso_dim_of(c->width)},
                               .block = -1,
                               .group = ISO_GROUP_HEAD,
                               .init_std = 0.02,
                               .n_parts = 1,
                               .part = {{s->k->n_head, c->vocab}}});
  if (decode) {
    s->io->logits = act(s, "logits", 'V', c->vocab);
    linear(s, x, w, -1, iso_none(), iso_this(s->io->logits), c->vocab, c->width, err);
    return;
  }
  s->io->targets = input(s, "targets", 0);
  s->io->loss = input(s, "loss", 16);
  s->io->hyp = input(s, "hyp", (int64_t)sizeof(iso_hyp));
  if (s->b->row_loss)
    s->io->row_loss = tensor(s, (iso_tensor){.path = "row_loss", .axes = "M", .role = ISO_ROLE_INPUT, .rank = 1, .dim = {rows(s)}, .block = -1});
  iso_ref row = s->b->row_loss ? iso_this(s->io->row_loss) : iso_none();
  node(s,
       (iso_node){
           .op = &iso_op_head_loss,
           .arg = {iso_this(x), iso_this(w), iso_this(s->io->targets), iso_this(s->io->loss), iso_none(), iso_none(), row, iso_this(s->io->hyp)},
           .d = {rows(s), iso_dim_of(c->width), iso_dim_of(c->vocab)}},
       err);
}

iso_status iso_decoder_build(const iso_decoder *k, const iso_model_config *c, const iso_build *b, iso_graph *g, iso_graph_io *io, iso_err *err) {
  *io = (iso_graph_io){-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
  builder s = {.k = k, .c = c, .b = b, .g = g, .io = io, .sym = ISO_SYM_M};
  if (b->mode == ISO_MODE_DECODE) {
    if (k->learned_pos && b->cache_len > c->ctx)
      return iso_fail(err, ISO_EINVAL, "%s: a cache of %lld tokens, the model has learned %lld positions", c->arch, (long long)b->cache_len,
                      (long long)c->ctx);
    io->seq = input(&s, "seq", 0);
    io->pos = input(&s, "pos", 0);
  }
  embedding(&s, err);
  s.block = iso_graph_block(g, "layers", ISO_SECTION_FORWARD, (int)c->layers, -1);
  if (b->mode == ISO_MODE_DECODE) {
    iso_tensor kv = {.path = "layers.*.kcache",
                     .axes = "BSK",
                     .role = ISO_ROLE_KV,
                     .rank = 3,
                     .dim = {iso_dim_of(b->cache_seqs), iso_dim_of(b->cache_len), iso_dim_of(c->kv_heads * c->head_dim)},
                     .block = s.block};
    io->kcache = tensor(&s, kv);
    kv.path = "layers.*.vcache";
    io->vcache = tensor(&s, kv);
  }
  int mid = attention(&s, err);
  feed_forward(&s, mid, err);
  head(&s, err);
  if (!s.failed) return ISO_OK;
  return err && err->status != ISO_OK ? err->status : iso_fail(err, ISO_ENOMEM, "no memory for the graph of a model");
}
