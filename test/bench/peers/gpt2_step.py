"""GPT-2 124M training steps on one GPU, as a tuned PyTorch script runs them: bf16 autocast, torch.compile, fused
AdamW, clipping.   python3 gpt2_step.py [--batch 32] [--steps 20]   prints one JSON line."""
import argparse
import json
import statistics
import time

import torch

from models import GPT2_124M, LanguageModel

parser = argparse.ArgumentParser()
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--eager", action="store_true")
arguments = parser.parse_args()
torch.manual_seed(0)
torch.set_float32_matmul_precision("high")
c = GPT2_124M
with torch.device("cuda"):
    model = LanguageModel(c)
run = model if arguments.eager else torch.compile(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)


def step():
    tokens = torch.randint(0, 50257, (arguments.batch, c.sequence), device="cuda")
    labels = torch.randint(0, 50257, (arguments.batch, c.sequence), device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = run(tokens, labels)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss


for _ in range(4):
    step()
torch.cuda.synchronize()
times = []
for _ in range(arguments.steps):
    begin = time.perf_counter()
    step()
    torch.cuda.synchronize()
    times.append((time.perf_counter() - begin) * 1e3)
ms = statistics.median(times)
print(json.dumps({"peer": "pytorch", "case": "gpt2-124m", "compile": not arguments.eager, "batch": arguments.batch,
                  "step_ms": ms, "tokens_per_s": arguments.batch * c.sequence / ms * 1e3,
                  "peak_gb": torch.cuda.max_memory_allocated() / 2**30}))
