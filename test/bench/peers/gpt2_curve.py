"""GPT-2 trained by PyTorch from given weights on given batches (what test/bench/gpu/curve.mjs wrote): its loss curve.

    python3 gpt2_curve.py FOLDER [--eager] [--cpu] [--autocast | --float32]      prints one JSON line

Without a flag, as FSDP2's mixed precision and ours: graphs read a bfloat16 copy of all parameters, the masters and the
optimizer are float32. --autocast: torch.autocast, which keeps norms and the residual stream in float32.
"""
import copy
import json
import os
import sys
import time

import numpy
import torch

from models import Config, LanguageModel

folder = sys.argv[1]
device = "cpu" if "--cpu" in sys.argv else "cuda"
with open(os.path.join(folder, "curve.json")) as file:
    spec = json.load(file)
given, at = {}, 0
weights = numpy.fromfile(os.path.join(folder, "weights.bin"), dtype=numpy.float32)
for parameter in spec["parameters"]:
    given[parameter["name"]] = torch.from_numpy(weights[at : at + parameter["elements"]])
    at += parameter["elements"]

torch.set_float32_matmul_precision("high")
with torch.device(device):
    model = LanguageModel(Config("gpt", spec["hidden"], spec["layers"], spec["heads"], spec["feed_forward"], spec["vocabulary"],
                                 spec["sequence"], tied=True))


def put(target, *names):
    whole = torch.cat([given.pop(name) for name in names])
    with torch.no_grad():
        target.copy_(whole.view(target.shape))


put(model.token.weight, "embedding.token.weight")
put(model.position.weight, "embedding.position.weight")
for i, block in enumerate(model.blocks):
    for part in ("weight", "bias"):
        ours = f"layers.{i}"
        put(getattr(block.norm1, part), f"{ours}.attention.norm.{part}")
        put(getattr(block.qkv, part), *(f"{ours}.attention.{name}.{part}" for name in ("query", "key", "value")))
        put(getattr(block.output, part), f"{ours}.attention.output.{part}")
        put(getattr(block.norm2, part), f"{ours}.feedForward.norm.{part}")
        put(getattr(block.up, part), f"{ours}.feedForward.up.{part}")
        put(getattr(block.down, part), f"{ours}.feedForward.down.{part}")
for part in ("weight", "bias"):
    put(getattr(model.norm, part), f"head.norm.{part}")
assert not given, f"weights without a place: {sorted(given)}"
for module in model.modules():
    if isinstance(module, torch.nn.LayerNorm):
        module.eps = spec["epsilon"]

decayed = [p for p in model.parameters() if p.dim() > 1]
others = [p for p in model.parameters() if p.dim() <= 1]
optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": spec["weight_decay"]}, {"params": others, "weight_decay": 0.0}],
                              lr=1e-4, betas=(spec["beta1"], spec["beta2"]), eps=spec["adam_epsilon"], fused=device == "cuda")
autocast, copied = "--autocast" in sys.argv, not {"--autocast", "--float32"} & set(sys.argv)
worker = copy.deepcopy(model).to(torch.bfloat16) if copied else model
run = worker if "--eager" in sys.argv else torch.compile(worker)
shape = (spec["steps"], 2, spec["sequence"], spec["batch"])
batches = numpy.memmap(os.path.join(folder, "batches.bin"), dtype=numpy.int64, mode="r", shape=shape)
losses, norms = [], []
begin = time.perf_counter()
for step in range(spec["steps"]):
    tokens, labels = (torch.from_numpy(numpy.ascontiguousarray(part.T)).to(device) for part in batches[step])
    for group in optimizer.param_groups:
        group["lr"] = spec["rates"][step]
    if copied:
        with torch.no_grad():
            for own, master in zip(worker.parameters(), model.parameters()):
                own.copy_(master)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=autocast):
        loss = run(tokens, labels)
    loss.backward()
    if copied:
        for own, master in zip(worker.parameters(), model.parameters()):
            master.grad, own.grad = own.grad.float(), None
    norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), spec["max_norm"]).detach())
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    losses.append(loss.detach())
print(json.dumps({"peer": "pytorch", "compile": run is not worker, "autocast": autocast, "seconds": time.perf_counter() - begin,
                  "losses": torch.stack(losses).tolist(), "norms": torch.stack(norms).tolist()}))
