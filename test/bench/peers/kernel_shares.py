"""Where GPU time goes, by kind of kernel, from PyTorch's profiler: of any code in this process, ours too."""
import time

import torch
from torch.profiler import ProfilerActivity, profile

MATRIX = ("gemm", "nvjet", "cutlass", "xmma", "cublas", "splitk")
ATTENTION = ("attention", "flash", "fmha", "sdpa", "cudnn")


def kind_of(name):
    name = name.lower()
    if "nccl" in name:
        return "communication"
    if any(word in name for word in ATTENTION):
        return "attention"
    if any(word in name for word in MATRIX):
        return "matrix"
    return "other"


def union_ms(spans):
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total / 1e3


def step_breakdown(step, steps):
    """ms a step: kernels by kind, communication that nothing hides, time without any kernel; the longest kernels."""
    step()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
        wall_ms = (time.perf_counter() - begin) * 1e3
    spans, sums = {}, {}
    for event in profiler.events():
        if event.device_type != torch.autograd.DeviceType.CUDA:
            continue
        span = (event.time_range.start, event.time_range.end)
        kind = kind_of(event.name)
        spans.setdefault(kind, []).append(span)
        sums[(kind, event.name)] = sums.get((kind, event.name), 0.0) + span[1] - span[0]
    every = [span for own in spans.values() for span in own]
    computing = [span for kind, own in spans.items() if kind != "communication" for span in own]
    longest = sorted(sums.items(), key=lambda item: -item[1])[:24]
    return {
        "wall_ms": wall_ms / steps,
        **{f"{kind}_ms": sum(end - start for start, end in own) / 1e3 / steps for kind, own in spans.items()},
        "exposed_communication_ms": (union_ms(every) - union_ms(computing)) / steps,
        "idle_ms": (wall_ms - union_ms(every)) / steps,
        "kernels": [{"name": name[:120], "kind": kind, "ms": us / 1e3 / steps} for (kind, name), us in longest],
    }
