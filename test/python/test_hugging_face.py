"""The stored answers of Hugging Face's models are what they answer on this machine too."""

import pathlib
import subprocess
import tempfile
import unittest

import numpy as np
import torch
import transformers

import hugging_face_models as models
import make_hugging_face
from golden_tensors import read, unpack


class Answers(unittest.TestCase):
    def setUp(self):
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()

    def assert_close(self, expected, actual, scale, what):
        self.assertEqual(expected.shape, actual.shape, what)
        self.assertLess(np.abs(expected - actual).max(), 1e-5 * scale, what)

    def test_answers(self):
        for name in models.CLASSES:
            with self.subTest(name):
                stored, made = read(name), make_hugging_face.answers(name)
                for key in ("config", "shapes", "data", "optimizer"):
                    self.assertEqual(stored[key], made[key])
                np.testing.assert_allclose(made["losses"], stored["losses"], rtol=1e-5)
                np.testing.assert_allclose(made["gradientNorms"], stored["gradientNorms"], rtol=1e-4)
                for at, entry in enumerate(stored["states"]):
                    expected = unpack(entry)
                    self.assert_close(expected, unpack(made["states"][at]), np.abs(expected).max(), f"border {at}")
                gradients = {key: unpack(entry) for key, entry in stored["gradients"].items()}
                self.assertEqual(gradients.keys(), made["gradients"].keys())
                largest = max(np.abs(value).max() for value in gradients.values())
                for key, expected in gradients.items():
                    # Tensors that are zero but for rounding are measured against the model.
                    scale = max(np.abs(expected).max(), 0.1 * largest)
                    self.assert_close(expected, unpack(made["gradients"][key]), scale, key)

    def test_exports(self):
        """What we write, transformers reads: the same tensors, none missing, none left over, the same loss."""
        for name in models.CLASSES:
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                source, back = pathlib.Path(folder) / "source", pathlib.Path(folder) / "back"
                tensors = models.write_random_model(name, source)
                here = pathlib.Path(__file__).parent
                subprocess.run(["node", here / "round_trip.cjs", source, back], check=True)
                model, info = models.CLASSES[name].from_pretrained(
                    back, attn_implementation="eager", dtype=torch.float32, output_loading_info=True
                )
                self.assertFalse(info["missing_keys"])
                self.assertFalse(info["unexpected_keys"])
                saved = models.saved_tensors(model)
                self.assertEqual(saved.keys(), tensors.keys())
                for key, value in tensors.items():
                    self.assertTrue(torch.equal(saved[key], value), key)
                given, _ = models.batch(name, 0)
                with torch.no_grad():
                    loss = models.loss_of(name, model, given).item()
                self.assertAlmostEqual(loss, read(name)["losses"][0], places=5)


if __name__ == "__main__":
    unittest.main()
