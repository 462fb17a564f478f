"""PyTorch's best GEMM rate over squares of 1,024, 2,048 and 4,096 on two threads, as one JSON line. usage: torch_gemm.py f32|bf16"""
import json, sys, time
import torch

torch.set_num_threads(2)
best = {}
for n in (1024, 2048, 4096):
    a, b = (torch.randn(n, n).to(torch.bfloat16 if sys.argv[1] == "bf16" else torch.float32) for _ in range(2))
    a @ b
    seconds = []
    for _ in range(8 if n < 4096 else 3):
        t = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - t)
    best[n] = 2 * n ** 3 / min(seconds)
print(json.dumps(dict(gemm_peak_flop_per_s=max(best.values()), by_size=best)))
