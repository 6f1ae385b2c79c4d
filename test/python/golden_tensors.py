"""Tensors as compact JSON, and where the stored references lie."""

import base64
import json
import pathlib

import numpy as np

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "hugging-face"


def pack(tensor):
    array = np.ascontiguousarray(tensor.detach().numpy().astype("<f4"))
    return {"shape": list(array.shape), "float32": base64.b64encode(array.tobytes()).decode()}


def unpack(entry):
    array = np.frombuffer(base64.b64decode(entry["float32"]), dtype="<f4")
    return array.reshape(entry["shape"])


def write(name, content):
    GOLDEN.mkdir(parents=True, exist_ok=True)
    (GOLDEN / f"{name}.json").write_text(json.dumps(content, sort_keys=True) + "\n")


def read(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())
