"""GPT 1.42 B and LLaMA 6.74 B steps with FSDP2 + torch.compile on all GPUs of the host: bf16 parameters and reduction,
float32 masters, fused AdamW, clipping.

    torchrun --nproc-per-node=N whole_models.py gpt|llama [--micro 8] [--accumulate 1] [--steps 8] [--layers N] [--eager] [--breakdown]
"""
import argparse
import json
import os
import statistics
import time

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from kernel_shares import step_breakdown
from models import GPT_1_4B, LLAMA_6_7B, LanguageModel, rotary_tables, step_flops_per_token

parser = argparse.ArgumentParser()
parser.add_argument("model", choices=["gpt", "llama"])
parser.add_argument("--micro", type=int, default=0)
parser.add_argument("--accumulate", type=int, default=1)
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--eager", action="store_true")
parser.add_argument("--layers", type=int, default=0)
parser.add_argument("--breakdown", action="store_true", help="where two further steps went, by the profiler")
arguments = parser.parse_args()
rank = int(os.environ.get("LOCAL_RANK", "0"))
torch.cuda.set_device(rank)
dist.init_process_group("nccl", device_id=torch.device("cuda", rank))
world = dist.get_world_size()
mesh = init_device_mesh("cuda", (world,))
c = GPT_1_4B if arguments.model == "gpt" else LLAMA_6_7B
c.layers = arguments.layers or c.layers
micro = arguments.micro or (8 if arguments.model == "gpt" else 4)
torch.manual_seed(0)
with torch.device("meta"):
    model = LanguageModel(c)
parameters = sum(p.numel() for p in model.parameters())
if not arguments.eager:
    for block in model.blocks:
        block.compile()
policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16)
for block in model.blocks:
    fully_shard(block, mesh=mesh, mp_policy=policy)
fully_shard(model, mesh=mesh, mp_policy=policy)
model.to_empty(device="cuda")
for p in model.parameters():
    torch.nn.init.normal_(p, std=0.02)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
tables = rotary_tables(c.sequence, c.hidden // c.heads, torch.bfloat16) if c.family == "llama" else (None, None)


def step():
    for i in range(arguments.accumulate):
        tokens = torch.randint(0, c.vocabulary, (micro, c.sequence), device="cuda")
        labels = torch.randint(0, c.vocabulary, (micro, c.sequence), device="cuda")
        model.set_requires_gradient_sync(i == arguments.accumulate - 1)
        (model(tokens, labels, *tables) / arguments.accumulate).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


result = {"peer": "pytorch-fsdp2", "case": arguments.model, "gpus": world, "micro": micro,
          "accumulate": arguments.accumulate, "compile": not arguments.eager}
try:
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    dist.barrier()
    times = []
    for _ in range(arguments.steps):
        begin = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) * 1e3)
    ms = statistics.median(times)
    tokens = micro * arguments.accumulate * world * c.sequence
    if arguments.breakdown:
        try:
            result["breakdown"] = step_breakdown(step, 2)
        except Exception as error:  # the times stand without it
            result["breakdown_error"] = str(error)[:300]
    result |= {"step_ms": ms, "tokens_per_s": tokens / ms * 1e3, "parameters": parameters,
               "mfu": step_flops_per_token(c, parameters) * tokens / (ms / 1e3) / world / 989e12,
               "peak_gb": torch.cuda.max_memory_allocated() / 2**30}
except torch.OutOfMemoryError:
    result["out_of_memory"] = True
if rank == 0:
    print(json.dumps(result), flush=True)
dist.destroy_process_group()
