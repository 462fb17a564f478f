"""Makes torch_llama.json: PyTorch CPU losses and gradient norms of a tiny Llama and a tiny GPT-2 over 20 AdamW steps.

usage: python torch_llama.py [--check]      (torch 2.13, numpy; --check also needs transformers: it compares the
first loss of both models with LlamaForCausalLM and GPT2LMHeadModel holding the same weights)

Weights and tokens come from integer formulas (FORMULA below), so a C program repeats them without torch's generator.
The same run in f64 is stored beside the f32 one: the distance between them is the rounding noise of the comparison.
"""
import json, os, sys
import numpy as np, torch, torch.nn.functional as F

SEED, STEPS, B, T, V, D, L, H, HD = 1, 20, 4, 32, 256, 64, 2, 4, 16
OPT = dict(name="adamw", lr=3e-3, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, decay="tensors of two dimensions only",
           clip="global norm, g *= min(1, 1.0 / (norm + 1e-6)) before the update", schedule="constant")
FORMULA = """All integers are unsigned 64-bit and wrap.
mix(z): z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9; z = (z ^ (z >> 27)) * 0x94D049BB133111EB; return z ^ (z >> 31)
hash(a, b) = mix(mix(seed + (a + 1) * 0x9E3779B97F4A7C15) + (b + 1) * 0x9E3779B97F4A7C15)
u(a, b) = (double)(hash(a, b) >> 11) * 2^-52 - 1, in [-1, 1)
tensor number a (from 0, in the order of "tensors"), element number b (row-major): gains ("init": "one") are 1; all others are (float)(0.08 * u(a, b)), the product in double.
token(step, row, t), step from 0, row 0..batch-1, t 0..seq: n = hash(1000000 + step, row * 64 + t); if n mod 8 = 0 the token is (n >> 8) mod 256 (noise); otherwise k = (hash(2000000 + step, row) mod 24 + 5 * t) mod 24 and the token is (7 * k * k + 11 * k + 3) mod 256.
Inputs are t = 0..seq-1, targets t = 1..seq. A matrix is stored (out, in): y = x W^T + b."""
GOLD = np.uint64(0x9E3779B97F4A7C15)
U = np.uint64


def mix(z):
    z = (z ^ (z >> U(30))) * U(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U(27))) * U(0x94D049BB133111EB)
    return z ^ (z >> U(31))


def hash64(a, b):
    """a: integer, b: array of integers"""
    with np.errstate(over="ignore"):
        return mix(mix(U(SEED) + U(a + 1) * GOLD) + (np.asarray(b, U) + U(1)) * GOLD)


def weight(a, shape, init):
    n = int(np.prod(shape))
    if init == "one":
        return np.ones(shape, np.float32)
    u = (hash64(a, np.arange(n)) >> U(11)).astype(np.float64) * 2.0 ** -52 - 1.0
    return (0.08 * u).astype(np.float32).reshape(shape)


def tokens(step):
    out = np.empty((B, T + 1), np.int64)
    for r in range(B):
        t = np.arange(T + 1)
        n = hash64(1000000 + step, r * 64 + t)
        k = (int(hash64(2000000 + step, [r])[0]) % 24 + 5 * t) % 24
        out[r] = np.where(n % U(8) == 0, (n >> U(8)) % U(256), (7 * k * k + 11 * k + 3) % 256).astype(np.int64)
    return out


def attention(q, k, v):
    """q (B,H,T,HD), k and v (B,KV,T,HD): query head h reads KV head h / (H / KV); scale HD^-1/2; causal"""
    k, v = (z.repeat_interleave(H // z.shape[1], 1) for z in (k, v))
    s = (q @ k.transpose(2, 3)) / HD ** 0.5
    s = s.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf"))
    return (s.softmax(-1) @ v).transpose(1, 2).reshape(B, T, H * HD)


def heads(z):
    return z.view(B, T, -1, HD).transpose(1, 2)


class Llama:
    KV, FF = 2, 160
    about = dict(arch="llama", layers=L, width=D, heads=H, kv_heads=KV, head_dim=HD, mlp=FF, vocab=V, seq=T, batch=B, norm="rmsnorm",
                 norm_eps=1e-5, rope_theta=10000.0, rope="pairs (i, i + head_dim/2), rotate-half; frequency theta^(-2i/head_dim)",
                 mlp_form="down(silu(gate(x)) * up(x))", tied_head=True, loss="mean cross-entropy over batch * seq")

    def tensors(self):
        yield "embed", (V, D), "hash"
        for i in range(L):
            yield f"layer{i}.input_norm", (D,), "one"
            for n, s in (("q", (H * HD, D)), ("k", (self.KV * HD, D)), ("v", (self.KV * HD, D)), ("o", (D, H * HD))):
                yield f"layer{i}.{n}", s, "hash"
            yield f"layer{i}.post_norm", (D,), "one"
            for n, s in (("gate", (self.FF, D)), ("up", (self.FF, D)), ("down", (D, self.FF))):
                yield f"layer{i}.{n}", s, "hash"
        yield "final_norm", (D,), "one"

    def loss(self, p, x, y):
        f = 10000.0 ** (-torch.arange(0, HD, 2, dtype=torch.float64) / HD)
        a = torch.outer(torch.arange(T, dtype=torch.float64), f)
        c, s = a.cos().to(p["embed"].dtype), a.sin().to(p["embed"].dtype)

        def norm(h, g):
            return h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-5) * g

        def rope(z):
            u, w = z.chunk(2, -1)
            return torch.cat([u * c - w * s, w * c + u * s], -1)

        h = F.embedding(x, p["embed"])
        for i in range(L):
            w = lambda n: p[f"layer{i}.{n}"]
            z = norm(h, w("input_norm"))
            q, k, v = (heads(F.linear(z, w(n))) for n in "qkv")
            h = h + F.linear(attention(rope(q), rope(k), v), w("o"))
            z = norm(h, w("post_norm"))
            h = h + F.linear(F.silu(F.linear(z, w("gate"))) * F.linear(z, w("up")), w("down"))
        return F.cross_entropy(F.linear(norm(h, p["final_norm"]), p["embed"]).flatten(0, 1), y.flatten())

    def hf(self, p):
        from transformers import LlamaConfig, LlamaForCausalLM
        m = LlamaForCausalLM(LlamaConfig(vocab_size=V, hidden_size=D, intermediate_size=self.FF, num_hidden_layers=L, num_attention_heads=H,
                                         num_key_value_heads=self.KV, head_dim=HD, rms_norm_eps=1e-5, tie_word_embeddings=True))
        names = dict(input_norm="input_layernorm", post_norm="post_attention_layernorm", q="self_attn.q_proj", k="self_attn.k_proj",
                     v="self_attn.v_proj", o="self_attn.o_proj", gate="mlp.gate_proj", up="mlp.up_proj", down="mlp.down_proj")
        sd = {"model.embed_tokens.weight": p["embed"], "lm_head.weight": p["embed"], "model.norm.weight": p["final_norm"]}
        sd |= {f"model.layers.{i}.{names[n]}.weight": p[f"layer{i}.{n}"] for i in range(L) for n in names}
        m.load_state_dict(sd)
        return m


class GPT2:
    FF = 256
    about = dict(arch="gpt2", layers=L, width=D, heads=H, kv_heads=H, head_dim=HD, mlp=FF, vocab=V, seq=T, batch=B, norm="layernorm with bias",
                 norm_eps=1e-5, positions="learned, added to the embedding", mlp_form="down(gelu_tanh(up(x) + b)) + b",
                 biases="on q, k, v, o, up, down", tied_head=True, loss="mean cross-entropy over batch * seq",
                 note="the gradient of k's bias is zero in exact arithmetic, so AdamW moves it by rounding noise; no loss depends on it")

    def tensors(self):
        yield "embed", (V, D), "hash"
        yield "positions", (T, D), "hash"
        for i in range(L):
            for n, s in (("norm1", None), ("q", (D, D)), ("k", (D, D)), ("v", (D, D)), ("o", (D, D)), ("norm2", None), ("up", (self.FF, D)), ("down", (D, self.FF))):
                yield f"layer{i}.{n}", s or (D,), "hash" if s else "one"
                yield f"layer{i}.{n}.bias", (s[0] if s else D,), "hash"
        yield "final_norm", (D,), "one"
        yield "final_norm.bias", (D,), "hash"

    def loss(self, p, x, y):
        def norm(h, n):
            return F.layer_norm(h, (D,), p[n], p[n + ".bias"], 1e-5)

        h = F.embedding(x, p["embed"]) + p["positions"]
        for i in range(L):
            lin = lambda z, n: F.linear(z, p[f"layer{i}.{n}"], p[f"layer{i}.{n}.bias"])
            z = norm(h, f"layer{i}.norm1")
            h = h + lin(attention(*(heads(lin(z, n)) for n in "qkv")), "o")
            h = h + lin(F.gelu(lin(norm(h, f"layer{i}.norm2"), "up"), approximate="tanh"), "down")
        return F.cross_entropy(F.linear(norm(h, "final_norm"), p["embed"]).flatten(0, 1), y.flatten())

    def hf(self, p):
        from transformers import GPT2Config, GPT2LMHeadModel
        m = GPT2LMHeadModel(GPT2Config(vocab_size=V, n_positions=T, n_embd=D, n_layer=L, n_head=H, bos_token_id=0, eos_token_id=0, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
        sd = {"transformer.wte.weight": p["embed"], "lm_head.weight": p["embed"], "transformer.wpe.weight": p["positions"],
              "transformer.ln_f.weight": p["final_norm"], "transformer.ln_f.bias": p["final_norm.bias"]}
        for i in range(L):  # transformers stores these matrices (in, out), q, k and v side by side
            w, t = (lambda n: p[f"layer{i}.{n}"]), f"transformer.h.{i}."
            for n, h in (("norm1", "ln_1"), ("norm2", "ln_2")):
                sd[t + h + ".weight"], sd[t + h + ".bias"] = w(n), w(n + ".bias")
            sd[t + "attn.c_attn.weight"] = torch.cat([w(n) for n in "qkv"]).T
            sd[t + "attn.c_attn.bias"] = torch.cat([w(n + ".bias") for n in "qkv"])
            for n, h in (("o", "attn.c_proj"), ("up", "mlp.c_fc"), ("down", "mlp.c_proj")):
                sd[t + h + ".weight"], sd[t + h + ".bias"] = w(n).T, w(n + ".bias")
        m.load_state_dict(sd)
        return m


def init(model, dtype):
    return {n: torch.from_numpy(weight(a, s, i)).to(dtype).requires_grad_() for a, (n, s, i) in enumerate(model.tensors())}


def batch(step):
    z = torch.from_numpy(tokens(step))
    return z[:, :-1], z[:, 1:]


def train(model, dtype):
    p = init(model, dtype)
    groups = [dict(params=[w for w in p.values() if w.ndim > 1], weight_decay=OPT["weight_decay"]), dict(params=[w for w in p.values() if w.ndim < 2], weight_decay=0.0)]
    opt = torch.optim.AdamW(groups, lr=OPT["lr"], betas=(OPT["beta1"], OPT["beta2"]), eps=OPT["eps"])
    losses, norms, first = [], [], None
    for step in range(STEPS):
        loss = model.loss(p, *batch(step))
        loss.backward()
        first = first or [w.grad.norm().item() for w in p.values()]
        norms.append(torch.nn.utils.clip_grad_norm_(p.values(), 1.0).item())
        losses.append(loss.item())
        opt.step()
        opt.zero_grad()
    return losses, norms, first, [w.detach().norm().item() for w in p.values()]


def golden(model, check):
    losses, norms, _, _ = train(model, torch.float32)
    l64, n64, f64, last64 = train(model, torch.float64)
    noise = max(abs(a - b) / b for a, b in zip(losses, l64))
    print(f"{model.about['arch']}: loss {losses[0]:.6f} -> {losses[-1]:.6f}, f32 against f64: {noise:.1e} relative in the loss, {max(abs(a - b) / b for a, b in zip(norms, n64)):.1e} in the norm")
    if check:
        x, y = batch(0)
        p = init(model, torch.float32)
        with torch.no_grad():
            hf = F.cross_entropy(model.hf({n: w.detach() for n, w in p.items()})(x).logits.flatten(0, 1), y.flatten()).item()
        print(f"  transformers gives {hf:.8f} for the first loss, this script {losses[0]:.8f}")
        assert abs(hf - losses[0]) < 1e-6 * hf
    tensors = [dict(name=n, shape=list(s), init=i, grad_norm_step0_f64=f64[a], norm_after_f64=last64[a], head=[float(v) for v in weight(a, s, i).ravel()[:2]])
               for a, (n, s, i) in enumerate(model.tensors())]
    return dict(config=model.about, tensors=tensors, losses=losses, grad_norms=norms, losses_f64=l64, grad_norms_f64=n64, f32_noise=noise)


def dump(v, ind=""):
    """JSON with one line per small item; repr of a float round-trips (17 digits at most)"""
    if isinstance(v, dict) and any(isinstance(x, (dict, list)) for x in v.values()):
        return "{\n" + ",\n".join(f"{ind} {json.dumps(k)}: {dump(x, ind + ' ')}" for k, x in v.items()) + f"\n{ind}}}"
    if isinstance(v, list) and v and isinstance(v[0], dict):
        return "[\n" + ",\n".join(f"{ind} {json.dumps(x)}" for x in v) + f"\n{ind}]"
    return json.dumps(v)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    out = dict(about=__doc__.splitlines()[0], torch=torch.__version__, seed=SEED, steps=STEPS, formula=FORMULA.splitlines(), optimizer=OPT,
               tokens_step0=[[int(t) for t in r] for r in tokens(0)], grad_norm="before clipping")
    out |= {m.about["arch"]: golden(m, "--check" in sys.argv) for m in (Llama(), GPT2())}
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_llama.json"), "w") as f:
        f.write(dump(out) + "\n")
