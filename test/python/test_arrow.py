"""Profiles are Arrow files that anyone reads: here pyarrow does, and finds types, nulls, values and metadata."""

import json
import pathlib
import subprocess
import tempfile
import unittest

import pyarrow as pa
import pyarrow.ipc

HERE = pathlib.Path(__file__).parent


def read(path):
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


class Profiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(cls.folder.name)
        subprocess.run(["node", str(HERE / "write_profiles.cjs"), str(folder)], check=True)
        cls.hardware = read(folder / "hardware.arrow")
        cls.model = read(folder / "model.arrow")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_hardware_rows_and_nulls(self):
        rows = self.hardware.to_pylist()
        self.assertEqual([row["measurement"] for row in rows], ["matmul", "collective", "collective"])
        self.assertEqual([rows[0][name] for name in ("m", "k", "n", "dtype")], [128, 256, 512, "float32"])
        self.assertIsNone(rows[0]["collective"])
        self.assertIsNone(rows[1]["m"])
        self.assertEqual(rows[0]["timeMs"], 0.1 + 0.2)
        self.assertEqual(rows[1]["timeMs"], 1 / 3)
        self.assertEqual(rows[2]["sizeBytes"], 2.0**40)

    def test_types(self):
        self.assertEqual(self.hardware.schema.field("m").type, pa.int32())
        self.assertEqual(self.hardware.schema.field("timeMs").type, pa.float64())
        self.assertEqual(self.hardware.schema.field("collective").type, pa.string())
        self.assertFalse(self.hardware.schema.field("timeMs").nullable)
        self.assertTrue(self.hardware.schema.field("m").nullable)

    def test_metadata(self):
        summary = json.loads(self.hardware.schema.metadata[b"galvatron.hardware"])
        self.assertEqual(summary["cluster"]["ranksPerNode"], 2)
        self.assertEqual(summary["reservedBytes"], 123456789)
        model = json.loads(self.model.schema.metadata[b"galvatron.model"])["model"]
        self.assertEqual(model["layers"], ["decoder", "decoder"])

    def test_model_columns(self):
        self.assertEqual(self.model.column("samples").to_pylist(), [1, 2, 4])
        self.assertEqual(self.model.column("forwardMs").to_pylist(), [1 / 3, 2 / 3, 4 / 3])
        self.assertEqual(self.model.column("activationBytes").to_pylist(), [2.0**33, 2.0**34, 2.0**35])
        self.assertEqual(set(self.model.column("tensorSplit").to_pylist()), {"weights"})

    def test_pyarrow_agrees_that_files_are_valid(self):
        self.hardware.validate(full=True)
        self.model.validate(full=True)


if __name__ == "__main__":
    unittest.main()
