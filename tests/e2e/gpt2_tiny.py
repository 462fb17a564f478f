"""A GPT-2 of random weights as Hugging Face's transformers stores it, and its greedy continuation by whole passes in f64.

gpt2_tiny.py DIR          writes DIR/config.json and DIR/model.safetensors for the tokenizer in DIR
gpt2_tiny.py DIR IDS N    prints N ids after those in the file IDS, one a line
"""
import array, json, math, random, struct, sys

D, HEADS, LAYERS, MLP, POSITIONS, EPS = 16, 2, 2, 64, 12, 1e-5


def layout(vocab):
    """(name, shape), linear weights as [in, out]."""
    yield "wte.weight", (vocab, D)
    yield "wpe.weight", (POSITIONS, D)
    for i in range(LAYERS):
        for name, shape in (("ln_1.weight", (D,)), ("ln_1.bias", (D,)), ("attn.c_attn.weight", (D, 3 * D)), ("attn.c_attn.bias", (3 * D,)),
                            ("attn.c_proj.weight", (D, D)), ("attn.c_proj.bias", (D,)), ("ln_2.weight", (D,)), ("ln_2.bias", (D,)),
                            ("mlp.c_fc.weight", (D, MLP)), ("mlp.c_fc.bias", (MLP,)), ("mlp.c_proj.weight", (MLP, D)), ("mlp.c_proj.bias", (D,))):
            yield f"h.{i}.{name}", shape
    yield "ln_f.weight", (D,)
    yield "ln_f.bias", (D,)


def write(folder):
    tok = json.load(open(f"{folder}/tokenizer.json", encoding="utf-8"))
    special = [t["id"] for t in tok["added_tokens"]]
    vocab = 1 + max(special + list(tok["model"]["vocab"].values()))
    draw, header, data = random.Random(3), {}, b""
    for name, shape in layout(vocab):
        # Biases are small, or the last one alone would choose the token; positions are large, so that each moves the choice.
        gain = len(shape) == 1 and name.endswith(".weight")
        spread = 0.1 if len(shape) == 1 else 1.0 if name == "wpe.weight" else 0.5
        x = array.array("f", (draw.gauss(gain, spread) for _ in range(math.prod(shape))))
        if name == "wte.weight":  # special tokens print nothing: none is ever the likeliest
            for i in special:
                x[i * D:(i + 1) * D] = array.array("f", [0] * D)
        header["transformer." + name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * len(x)]}
        data += x.tobytes()
    head = json.dumps(header).encode()
    with open(f"{folder}/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + data)
    json.dump({"model_type": "gpt2", "vocab_size": vocab, "n_embd": D, "n_layer": LAYERS, "n_head": HEADS, "n_positions": POSITIONS, "n_inner": None,
               "layer_norm_epsilon": EPS, "activation_function": "gelu_new"}, open(f"{folder}/config.json", "w"))


def read(folder):
    raw = open(f"{folder}/model.safetensors", "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    w = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        a, b = t["data_offsets"]
        x, cols = list(array.array("f", raw[8 + n + a:8 + n + b])), t["shape"][-1]
        w[name.split(".", 1)[1]] = x if len(t["shape"]) == 1 else [x[i:i + cols] for i in range(0, len(x), cols)]
    return w


def norm(w, name, x):
    mean = sum(x) / D
    scale = 1 / math.sqrt(sum((v - mean) ** 2 for v in x) / D + EPS)
    return [(v - mean) * scale * g + b for v, g, b in zip(x, w[name + ".weight"], w[name + ".bias"])]


def linear(w, name, x):
    return [b + sum(v * row[j] for v, row in zip(x, w[name + ".weight"])) for j, b in enumerate(w[name + ".bias"])]


def gelu(v):
    return 0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v ** 3)))


def attention(qkv):
    out, hd = [], D // HEADS
    for t, row in enumerate(qkv):
        y = []
        for h in range(HEADS):
            q, k, v = (slice(part * D + h * hd, part * D + (h + 1) * hd) for part in range(3))
            e = [math.exp(sum(a * b for a, b in zip(row[q], qkv[s][k])) / math.sqrt(hd)) for s in range(t + 1)]
            y += [sum(p * qkv[s][v][j] for s, p in enumerate(e)) / sum(e) for j in range(hd)]
        out.append(y)
    return out


def likeliest(w, ids):
    add = lambda a, b: [x + y for x, y in zip(a, b)]
    x = [add(w["wte.weight"][i], w["wpe.weight"][t]) for t, i in enumerate(ids)]
    for l in range(LAYERS):
        p = f"h.{l}."
        o = attention([linear(w, p + "attn.c_attn", norm(w, p + "ln_1", r)) for r in x])
        x = [add(r, linear(w, p + "attn.c_proj", y)) for r, y in zip(x, o)]
        x = [add(r, linear(w, p + "mlp.c_proj", [gelu(v) for v in linear(w, p + "mlp.c_fc", norm(w, p + "ln_2", r))])) for r in x]
    end = norm(w, "ln_f", x[-1])
    logits = [sum(a * b for a, b in zip(end, row)) for row in w["wte.weight"]]
    return logits.index(max(logits))


if len(sys.argv) == 2:
    write(sys.argv[1])
else:
    weights, seen = read(sys.argv[1]), [int(i) for i in open(sys.argv[2]).read().split()]
    for _ in range(int(sys.argv[3])):
        seen.append(likeliest(weights, seen))
        print(seen[-1])
