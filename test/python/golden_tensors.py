"""Random inputs by our rules (test/graph/simulate-layer.ts), and tensors as compact JSON."""

import base64
import json
import pathlib

import numpy as np
import torch

from galvatron_random import normal

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "graph"


def parameter(name, shape):
    noise = normal(5, name, shape, 0.3)
    if name.endswith("norm.weight"):
        noise = (1 + noise.astype(np.float64)).astype(np.float32)
    return torch.tensor(noise, requires_grad=True)


def activation(name, shape):
    return torch.tensor(normal(5, name, shape, 1.0), requires_grad=True)


def ids(name, shape, limit):
    values = normal(3, name, shape, 1000.0).astype(np.float64)
    result = np.abs(np.floor(values + 0.5)).astype(np.int64) % limit
    if name == "labels" and result.size > 2:
        result.reshape(-1)[1] = -100
    return torch.tensor(result)


def pack(tensor):
    array = np.ascontiguousarray(tensor.detach().numpy().astype("<f4"))
    return {"shape": list(array.shape), "float32": base64.b64encode(array.tobytes()).decode()}


def unpack(entry):
    array = np.frombuffer(base64.b64decode(entry["float32"]), dtype="<f4")
    return array.reshape(entry["shape"])


def gradients(outputs, upstream, inputs):
    """Packed outputs and gradients of sum(output * upstream), or of the loss itself."""
    objective = sum((outputs[name] * upstream[name]).sum() for name in outputs if name != "loss")
    if "loss" in outputs:
        objective = objective + outputs["loss"]
    objective.backward()
    packed = {name: pack(value.reshape(1) if name == "loss" else value) for name, value in outputs.items()}
    for name, value in inputs.items():
        packed[f"{name}.gradient"] = pack(value.grad)
    return packed


def write(name, content):
    GOLDEN.mkdir(parents=True, exist_ok=True)
    (GOLDEN / name).write_text(json.dumps(content, sort_keys=True) + "\n")


def read(name):
    return json.loads((GOLDEN / name).read_text())
