"""The stored PyTorch references are what their scripts make, on this machine's PyTorch too."""

import unittest

import numpy as np

import make_family_gradients
import make_family_training
import make_gradients
from golden_tensors import read, unpack


class Gradients(unittest.TestCase):
    def assert_same_layers(self, stored, made):
        self.assertEqual(stored["model"], made["model"])
        self.assertEqual(stored["layers"].keys(), made["layers"].keys())
        for kind, tensors in stored["layers"].items():
            self.assertEqual(tensors.keys(), made["layers"][kind].keys())
            largest = max(np.abs(unpack(entry)).max() for entry in tensors.values())
            for name, entry in tensors.items():
                expected, actual = unpack(entry), unpack(made["layers"][kind][name])
                # Tensors that are zero but for rounding are measured against the layer.
                scale = max(np.abs(expected).max(), 0.1 * largest)
                self.assertLess(np.abs(expected - actual).max(), 1e-5 * scale, f"{kind} {name}")

    def test_gpt(self):
        self.assert_same_layers(read("gpt-gradients.json"), make_gradients.layer_gradients())

    def test_families(self):
        for name, make in make_family_gradients.FAMILIES.items():
            with self.subTest(name):
                self.assert_same_layers(read(f"{name}-gradients.json"), make())

    def test_family_training(self):
        stored, made = read("family-training.json"), make_family_training.trainings()
        for name, family in made["families"].items():
            with self.subTest(name):
                self.assertEqual(stored["families"][name]["data"], family["data"])
                np.testing.assert_allclose(family["losses"], stored["families"][name]["losses"], rtol=1e-5)

    def test_training(self):
        stored, made = read("gpt-training.json"), make_gradients.training()
        self.assertEqual(stored["tokens"], made["tokens"])
        np.testing.assert_allclose(made["losses"], stored["losses"], rtol=1e-5)
        np.testing.assert_allclose(made["gradientNorms"], stored["gradientNorms"], rtol=1e-4)


if __name__ == "__main__":
    unittest.main()
