"""The product's own layer graphs (test/gpu/dump-graphs.mjs) on ONNX Runtime's CUDA provider with our custom ops:
gradients against PyTorch in float64, then times, uncaptured and captured, beside PyTorch's compiled block.

python3 test/gpu/blocks.py GRAPHS ONNXRUNTIME.so [--json FILE] [--no-peer] [--no-eager] [--breakdown] [--cases a,b]

Ours and the peer's compiled block are timed in turns: a device at its power limit is slower when it is warm.
"""
import ctypes
import json
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F

import gv

sys.path.insert(0, os.path.join(gv.ROOT, "test", "bench", "peers"))
from block import block_step  # noqa: E402
from kernel_shares import step_breakdown  # noqa: E402

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int64": torch.int64, "float64": torch.float64}
results = []


class Layer:
    def __init__(self, graphs, folder):
        with open(os.path.join(folder, "layer.json")) as file:
            self.spec = json.load(file)
        self.graphs, self.folder = graphs, folder
        self.tensors = {}
        for name, value in self.spec["values"].items():
            dtype, shape = DTYPES[value["dtype"]], value["shape"]
            if value["role"] == "parameter":
                centre = 1.0 if name.endswith("norm.weight") else 0.0
                self.tensors[name] = (torch.randn(shape, device="cuda") * 0.02 + centre).to(dtype)
            elif value["role"] == "data":
                self.tensors[name] = torch.randint(0, self.spec["vocabulary"], shape, device="cuda")
            elif value["role"] in ("borderInput", "borderOutputGradient"):
                self.tensors[name] = torch.randn(shape, device="cuda").to(dtype)
            else:
                self.tensors[name] = gv.poisoned(shape, dtype)
        for constant in self.spec["constants"]:
            self.tensors[constant["name"]] = torch.tensor(
                constant["perTensorRank"][0], dtype=DTYPES[constant["dtype"]], device="cuda").reshape(constant["shape"])
        self.bindings = {part: [self.bind(step) for step in self.spec[part]] for part in ("forward", "backward")}

    def describe(self, ports, names):
        described = (gv.Tensor * len(names))()
        for i, (port, name) in enumerate(zip(ports, names)):
            t = self.tensors[name]
            described[i] = gv.Tensor(port["name"].encode(), t.data_ptr(), t.numel() * t.element_size(), gv.ONNX_TYPES[t.dtype],
                                     t.dim(), (ctypes.c_int64 * 6)(*t.shape))
        return described

    def bind(self, step):
        with open(os.path.join(self.folder, step["file"]), "rb") as file:
            onnx = file.read()
        inputs = self.describe(step["graph"]["inputs"], step["inputs"])
        outputs = self.describe(step["graph"]["outputs"], step["outputs"])
        binding = gv.lib.gv_graphs_bind(self.graphs, (self.folder + step["file"]).encode(), onnx, gv.i64(len(onnx)), inputs,
                                        len(step["inputs"]), outputs, len(step["outputs"]))
        if binding < 0:
            raise RuntimeError(gv.lib.gv_last_error().decode())
        return binding

    def run(self, part):
        for binding in self.bindings[part]:
            gv.check(gv.lib.gv_graphs_run(self.graphs, binding))


def reference_gpt(layer):
    """The block in PyTorch, float64, sequence first; returns output and gradients by our names."""
    s, t = layer.spec, {k: v.double() for k, v in layer.tensors.items() if k in layer.spec["values"]
                        and layer.spec["values"][k]["role"] in ("parameter", "borderInput")}
    for x in t.values():
        x.requires_grad_()
    x = t["input"]
    sequence, batch, hidden = x.shape
    heads = s["heads"]
    width = hidden // heads

    def linear(name, value):
        return value @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def norm(name, value):
        return F.layer_norm(value, (hidden,), t[f"{name}.weight"], t[f"{name}.bias"], 1e-5)

    normed = norm("attention.norm", x)
    q, k, v = (linear(f"attention.{n}", normed).view(sequence, batch, heads, width).permute(1, 2, 0, 3)
               for n in ("query", "key", "value"))
    scores = (q @ k.transpose(-1, -2)) * width**-0.5
    mask = torch.ones(sequence, sequence, device="cuda", dtype=torch.bool).tril()
    context = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v
    middle = x + linear("attention.output", context.permute(2, 0, 1, 3).reshape(sequence, batch, hidden))
    inner = F.gelu(linear("feedForward.up", norm("feedForward.norm", middle)), approximate="tanh")
    out = middle + linear("feedForward.down", inner)
    out.backward(layer.tensors["hidden.gradient"].double())
    return out, {name: value.grad for name, value in t.items()}


def reference_llama(layer):
    """As reference_gpt: RMS norm, rotary halves, SwiGLU, no biases."""
    s, t = layer.spec, {k: v.double() for k, v in layer.tensors.items() if k in layer.spec["values"]
                        and layer.spec["values"][k]["role"] in ("parameter", "borderInput")}
    for x in t.values():
        x.requires_grad_()
    x = t["input"]
    sequence, batch, hidden = x.shape
    heads = s["heads"]
    width = hidden // heads

    def norm(name, value):
        return value * (value.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * t[f"{name}.weight"]

    frequency = 10000.0 ** (-torch.arange(0, width, 2, device="cuda").double() / width)
    angle = torch.outer(torch.arange(sequence, device="cuda").double(), frequency)[:, None, None, :]
    cosine, sine = angle.cos(), angle.sin()

    def rotate(value):
        a, b = value.chunk(2, -1)
        return torch.cat([a * cosine - b * sine, b * cosine + a * sine], -1)

    normed = norm("attention.norm", x)
    q, k, v = ((normed @ t[f"attention.{n}.weight"].T).view(sequence, batch, heads, width) for n in ("query", "key", "value"))
    q, k, v = (value.permute(1, 2, 0, 3) for value in (rotate(q), rotate(k), v))
    scores = (q @ k.transpose(-1, -2)) * width**-0.5
    mask = torch.ones(sequence, sequence, device="cuda", dtype=torch.bool).tril()
    context = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v
    middle = x + context.permute(2, 0, 1, 3).reshape(sequence, batch, hidden) @ t["attention.output.weight"].T
    inner = norm("feedForward.norm", middle)
    inner = F.silu(inner @ t["feedForward.gate.weight"].T) * (inner @ t["feedForward.up.weight"].T)
    out = middle + inner @ t["feedForward.down.weight"].T
    out.backward(layer.tensors["hidden.gradient"].double())
    return out, {name: value.grad for name, value in t.items()}


def check_block(graphs, folder):
    layer = Layer(graphs, folder)
    layer.run("forward")
    layer.run("backward")
    torch.cuda.synchronize()
    out, gradients = (reference_gpt if layer.spec["family"] == "gpt" else reference_llama)(layer)
    errors = {"hidden": gv.relative_error(layer.tensors["hidden"], out)}
    for name, gradient in gradients.items():
        errors[name] = gv.relative_error(layer.tensors[f"{name}.gradient"], gradient)
    # The gradient of the key bias is zero but for rounding: softmax does not see a shift.
    errors.pop("attention.key.bias", None)
    worst = max(errors, key=lambda k: errors[k] if errors[k] == errors[k] else 1e9)
    ok = errors[worst] < 2e-2
    results.append({"name": layer.spec["name"], "ok": ok, "errors": errors})
    print(f"{'ok  ' if ok else 'FAIL'} {layer.spec['name']}: worst {worst} {errors[worst]:.1e}", flush=True)
    if not ok:
        print(errors)


def time_case(graphs, folder, with_peer):
    layer = Layer(graphs, folder)
    s = layer.spec
    row = {"name": s["name"], "kind": s["kind"]}
    begin = time.perf_counter()
    layer.run("forward")
    layer.run("backward")
    torch.cuda.synchronize()
    row["first_run_ms"] = (time.perf_counter() - begin) * 1e3
    row["peak_mb"] = gv.lib.gv_graphs_peak_bytes(graphs) / 2**20

    def both():
        layer.run("forward")
        layer.run("backward")

    row["uncaptured_ms"] = gv.time_ms(both)
    begin = time.perf_counter()
    for _ in range(20):
        both()
    row["host_enqueue_ms"] = (time.perf_counter() - begin) * 1e3 / 20
    torch.cuda.synchronize()
    for part in ("forward", "backward"):
        row[f"{part}_ms"] = gv.time_ms(lambda: layer.run(part))
    best = both
    try:
        side = torch.cuda.current_stream()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side, capture_error_mode="relaxed"):
            both()
        best = graph.replay
        row["captured_ms"] = gv.time_ms(best)
    except Exception as error:
        row["capture_error"] = str(error)[:300]
    breakdown = step_breakdown if "--breakdown" in sys.argv else lambda *_: None
    row["breakdown"] = breakdown(both, 4)
    if with_peer and s["kind"] == "decoder":
        block = [s[name] for name in ("family", "samples", "sequence", "hidden", "heads", "feedForward")]
        try:
            if "--no-eager" not in sys.argv:
                row["peer_eager_ms"] = gv.time_ms(block_step(*block, False))
            peer = block_step(*block, True)
            rounds = gv.time_turns([best, peer])
            ours_ms, peer_ms = (statistics.median(own) for own in rounds)
            row.update(ours_ms=ours_ms, peer_compiled_ms=peer_ms, ratio=peer_ms / ours_ms, rounds=rounds)
            row["peer_breakdown"] = breakdown(peer, 4)
        except Exception as error:
            print("  peer:", str(error)[:300], flush=True)
        h, f, tokens = s["hidden"], s["feedForward"], s["samples"] * s["sequence"]
        flops = 3 * (2 * tokens * (4 * h * h + (2 if s["family"] == "gpt" else 3) * h * f) + 2 * tokens * s["sequence"] * h)
        row["tflops"] = flops / row.get("ours_ms", row["uncaptured_ms"]) / 1e9
    layer.tensors.clear()
    results.append(row)
    short = {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items() if not k.endswith(("breakdown", "rounds"))}
    print(json.dumps(short), flush=True)
    for side in ("breakdown", "peer_breakdown"):
        if row.get(side):
            print(" ", side, json.dumps({k: round(v, 3) for k, v in row[side].items() if k != "kernels"}), flush=True)


def main():
    folder, runtime = sys.argv[1], sys.argv[2]
    only = sys.argv[sys.argv.index("--cases") + 1].split(",") if "--cases" in sys.argv else None
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        # PyTorch sizes its workspaces now: ours asks cuBLAS for small ones from the next line on.
        F.linear(*(torch.randn(64, 64, device="cuda", dtype=torch.bfloat16) for _ in "xw"),
                 torch.randn(64, device="cuda", dtype=torch.bfloat16))
        gv.lib.gv_graphs_bind.restype = ctypes.c_int
        graphs = ctypes.c_void_p(gv.lib.gv_graphs_open(runtime.encode(), 0, gv.stream()))
        if not graphs:
            print("FAIL no CUDA provider:", gv.lib.gv_last_error().decode())
            return 1
        for name in sorted(os.listdir(folder), key=lambda n: (not n.startswith("small"), n)):
            if only and name not in only:
                continue
            try:
                if name.startswith("small"):
                    check_block(graphs, os.path.join(folder, name))
                else:
                    time_case(graphs, os.path.join(folder, name), "--no-peer" not in sys.argv)
            except Exception as error:
                results.append({"name": name, "ok": False, "error": str(error)[:500]})
                print(f"FAIL {name}: {str(error)[:500]}", flush=True)
            torch.cuda.empty_cache()
    if "--json" in sys.argv:
        with open(sys.argv[sys.argv.index("--json") + 1], "w") as file:
            json.dump(results, file, indent=1)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # ONNX Runtime's and PyTorch's teardown order is not ours to settle
