"""The stored answers of Hugging Face's models are what they answer on this machine too."""

import unittest

import numpy as np
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


if __name__ == "__main__":
    unittest.main()
