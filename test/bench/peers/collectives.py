"""NCCL through PyTorch: times in ms of each collective by size in bytes.   torchrun ... collectives.py SIZE ..."""
import json
import os
import sys

import torch
import torch.distributed as dist

rank = int(os.environ["LOCAL_RANK"])
torch.cuda.set_device(rank)
dist.init_process_group("nccl", device_id=torch.device("cuda", rank))
world = dist.get_world_size()
times = {name: {} for name in ("allReduce", "allGather", "reduceScatter", "allToAll")}
for size in map(int, sys.argv[1:]):
    whole = torch.zeros(size // 4, device="cuda")
    piece = torch.zeros(size // 4 // world, device="cuda")
    other = torch.zeros_like(whole)
    runs = {
        "allReduce": lambda: dist.all_reduce(whole),
        "allGather": lambda: dist.all_gather_into_tensor(whole, piece),
        "reduceScatter": lambda: dist.reduce_scatter_tensor(piece, whole),
        "allToAll": lambda: dist.all_to_all_single(other, whole),
    }
    count = 2 if size >= 2**20 else 8
    for name, run in runs.items():
        samples = []
        for i in range(16):
            dist.barrier()
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            for _ in range(count):
                run()
            end.record()
            torch.cuda.synchronize()
            if i >= 4:
                samples.append(begin.elapsed_time(end) / count)
        # As ours: the slowest rank of a round, then the lower quartile of rounds.
        all_samples = torch.tensor(samples, device="cuda")
        dist.all_reduce(all_samples, dist.ReduceOp.MAX)
        times[name][str(size)] = all_samples.sort().values[len(samples) // 4].item()
if rank == 0:
    print(json.dumps({"peer": "pytorch-nccl", "gpus": world, "times": times}), flush=True)
dist.destroy_process_group()
