"""PyTorch peer of the host benchmark: a GPT trained on CPU ranks with DistributedDataParallel over gloo.

    python host_gpt.py --ranks 2 --threads 1 --steps 20 [--compile]

Prints one JSON object: tokens per second from the median step, and every step's time in ms.
"""

import argparse
import json
import os
import statistics
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.projection = nn.Linear(hidden, hidden)
        self.norm2 = nn.LayerNorm(hidden)
        self.up = nn.Linear(hidden, 4 * hidden)
        self.down = nn.Linear(4 * hidden, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, sequence, hidden = x.shape
        q, k, v = self.qkv(self.norm1(x)).split(hidden, dim=2)
        q, k, v = (t.view(batch, sequence, self.heads, -1).transpose(1, 2) for t in (q, k, v))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(a.transpose(1, 2).reshape(batch, sequence, hidden))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, vocabulary: int, layers: int, hidden: int, heads: int, sequence: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, hidden)
        self.positions = nn.Embedding(sequence, hidden)
        self.blocks = nn.ModuleList(Block(hidden, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)

    def forward(self, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def train(rank: int, args: argparse.Namespace, results) -> None:
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = Gpt(args.vocabulary, args.layers, args.hidden, args.heads, args.sequence)
    parameters = list(model.parameters())
    if args.ranks > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(args.port))
        dist.init_process_group("gloo", rank=rank, world_size=args.ranks)
        model = nn.parallel.DistributedDataParallel(model)
    if args.compile:
        model = torch.compile(model)
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    samples = args.batch // args.ranks
    times = []
    for step in range(args.warmup + args.steps):
        tokens = torch.randint(0, args.vocabulary, (samples, args.sequence + 1))
        started = time.perf_counter()
        loss = model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        if step >= args.warmup:
            times.append((time.perf_counter() - started) * 1000)
    if rank == 0:
        results.put(times)
    if args.ranks > 1:
        dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in dict(
        ranks=1, threads=2, batch=8, layers=8, hidden=512, heads=8, sequence=256, vocabulary=256, steps=20, warmup=3, port=29511
    ).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    results = mp.get_context("spawn").SimpleQueue()
    if args.ranks == 1:
        train(0, args, results)
    else:
        mp.spawn(train, args=(args, results), nprocs=args.ranks)
    times = results.get()
    tokens = args.batch * args.sequence
    print(json.dumps({"peer": "torch", "torch": torch.__version__, "compile": args.compile, "tokensPerSecond": tokens / statistics.median(times) * 1000, "stepMs": times}))


if __name__ == "__main__":
    main()
