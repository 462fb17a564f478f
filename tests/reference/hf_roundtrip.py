"""Opens our model folders with transformers and theirs with ours: both must give the same loss to 1e-5 relative.

usage, from the project's root (needs torch and transformers; seen with 2.13 and 5.24):
  cmake -S . -B build && make -C build isoflop_static
  cc -D_GNU_SOURCE -O2 -Isrc tests/reference/hf_roundtrip.c build/libisoflop.a -o /tmp/hf_roundtrip \\
     -ldnnl -ljansson -lsqlite3 -lz -lzstd -lpcre2-8 -lnlopt -lpthread -lm
  python tests/reference/hf_roundtrip.py /tmp/hf_roundtrip
"""
import os, subprocess, sys, tempfile
import torch, transformers
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

PROGRAM, N, V = sys.argv[1], 100, 300
IDS = torch.randint(V, (N,), generator=torch.Generator().manual_seed(3)).tolist()
worst = 0.0


def ours(*args):
    return float(subprocess.run([PROGRAM, *args, *map(str, IDS)], check=True, stdout=subprocess.PIPE, text=True).stdout)


def theirs(model):
    x = torch.tensor([IDS])
    with torch.no_grad():
        logits = model.float().eval()(x).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits.double(), x[0, 1:]).item()


def compare(what, a, b):
    global worst
    gap = abs(a - b) / b
    worst = max(worst, gap)
    print(f"{what:44s} ours {a:.7f}  transformers {b:.7f}  relative {gap:.1e}")


def shake(model):
    """Random weights far from the start; returns the model"""
    g = torch.Generator().manual_seed(4)
    for p in model.parameters():
        p.data += 0.1 * torch.randn(p.shape, generator=g)
    return model


with tempfile.TemporaryDirectory() as top:
    for arch, cls in (("llama", LlamaForCausalLM), ("gpt2", GPT2LMHeadModel)):
        for tied in (1, 0):
            for dtype in ("f32", "bf16"):
                where = os.path.join(top, f"{arch}{tied}{dtype}")
                a = ours("save", arch, str(tied), dtype, where)
                model, info = cls.from_pretrained(where, output_loading_info=True)
                assert not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
                assert type(AutoModelForCausalLM.from_pretrained(where)) is cls
                assert model.config.tie_word_embeddings == bool(tied) and model.config.eos_token_id == 0 and model.generation_config.eos_token_id == 0
                assert model.dtype == (torch.bfloat16 if dtype == "bf16" else torch.float32), model.dtype
                compare(f"{arch} tied={tied} {dtype}, saved by us", a, theirs(model))
    size = dict(vocab_size=V, bos_token_id=0, eos_token_id=0)
    for tied in (True, False):
        size["tie_word_embeddings"] = tied
        for name, model in (
            ("llama", LlamaForCausalLM(LlamaConfig(hidden_size=64, intermediate_size=176, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=4, head_dim=12,
                                                   rms_norm_eps=1e-4, rope_parameters={"rope_type": "default", "rope_theta": 300.0}, **size))),
            ("gpt2", GPT2LMHeadModel(GPT2Config(n_embd=60, n_layer=2, n_head=5, n_positions=128, layer_norm_epsilon=1e-4, **size)))):
            for dtype, shard in ((torch.float32, "5GB"), (torch.bfloat16, "5GB"), (torch.float16, "5GB"), (torch.float32, "60KB")):
                where = os.path.join(top, f"{name}{tied}{dtype}{shard}".replace("torch.", ""))
                m = shake(model.float()).to(dtype)
                m.save_pretrained(where, max_shard_size=shard)
                shards = len([f for f in os.listdir(where) if f.endswith(".safetensors")])
                assert (shards > 1) == (shard == "60KB"), shards
                # Read back by them too: .to(bfloat16) has rounded the rotary frequencies of the model in memory, which no file stores.
                compare(f"{name} tied={tied} {dtype} {shards} shards, saved by them", ours("load", where), theirs(type(m).from_pretrained(where)))
print(f"worst {worst:.1e}, bound 1e-5")
sys.exit(worst > 1e-5)
