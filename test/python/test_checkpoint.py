"""Checkpoints are safetensors files that anyone reads: here Python's package does, and puts whole parameters together."""

import hashlib
import json
import math
import pathlib
import subprocess
import tempfile
import unittest

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

HERE = pathlib.Path(__file__).parent


def assemble(checkpoint):
    """Whole parameters and moments by (state, name), from the manifest's blocks."""
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    whole = {}
    for file in manifest["files"]:
        tensors = list(load_file(checkpoint / file["name"]).values())
        by_shape = {}
        with safe_open(checkpoint / file["name"], "np") as opened:
            for key in opened.keys():
                by_shape[key] = opened.get_tensor(key)
        assert len(tensors) == len(file["blocks"])
        for block in file["blocks"]:
            shape = manifest["parameters"][block["name"]]
            name = block["name"] + ("" if block["state"] == "parameter" else "." + block["state"])
            if block["extent"] != shape:
                ends = [start + extent for start, extent in zip(block["start"], block["extent"])]
                name += "[" + ",".join(f"{start}:{end}" for start, end in zip(block["start"], ends)) + "]"
            place = tuple(slice(s, s + e) for s, e in zip(block["start"], block["extent"]))
            target = whole.setdefault((block["state"], block["name"]), np.full(shape, np.nan, np.float32))
            target[place] = by_shape[name]
    return manifest, whole


class Checkpoints(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.folder.name)
        subprocess.run(["node", str(HERE / "write_checkpoint.cjs"), str(cls.root)], check=True)
        cls.paths = {name: next((cls.root / name).iterdir()) for name in ("mixed", "pipeline", "one")}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_checksums_and_sizes(self):
        for path in self.paths.values():
            manifest = json.loads((path / "manifest.json").read_text())
            for file in manifest["files"]:
                data = (path / file["name"]).read_bytes()
                self.assertEqual(len(data), file["sizeBytes"])
                self.assertEqual(hashlib.sha256(data).hexdigest(), file["sha256"])

    def test_blocks_fill_whole_parameters(self):
        for path in self.paths.values():
            manifest, whole = assemble(path)
            self.assertEqual(len(whole), 3 * len(manifest["parameters"]))
            for key, values in whole.items():
                self.assertFalse(np.isnan(values).any(), key)
            elements = sum(math.prod(shape) for shape in manifest["parameters"].values())
            self.assertEqual(sum(values.size for values in whole.values()), 3 * elements)

    def test_step_and_plan_are_there(self):
        self.assertEqual(json.loads((self.paths["mixed"] / "manifest.json").read_text())["step"], 2)
        manifest = json.loads((self.paths["pipeline"] / "manifest.json").read_text())
        self.assertEqual((manifest["step"], manifest["plan"]["stageLayers"]), (3, [1, 1]))

    def test_one_rank_holds_the_weights_whole_and_by_name(self):
        tensors = load_file(next(self.paths["one"].glob("*.safetensors")))
        weights = json.loads((self.root / "weights.json").read_text())
        for name, values in weights.items():
            np.testing.assert_array_equal(tensors[name].ravel(), np.array(values, np.float32))
        self.assertGreater(np.abs(tensors["layers.1.attention.query.weight.moment1"]).max(), 0)

    def test_plans_agree(self):
        _, one = assemble(self.paths["one"])
        _, pipeline = assemble(self.paths["pipeline"])
        for key, values in one.items():
            np.testing.assert_allclose(pipeline[key], values, rtol=1e-4, atol=1e-7, err_msg=str(key))


if __name__ == "__main__":
    unittest.main()
