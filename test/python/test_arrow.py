"""Profiles are Arrow files that anyone reads: here pyarrow does, and finds types, nulls, values and metadata."""

import json
import pathlib
import subprocess
import tempfile
import unittest

import pyarrow as pa
import pyarrow.feather
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


class CompressedColumns(unittest.TestCase):
    """Feather files as pandas and pyarrow write them: LZ4 by default."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.folder.name) / "data.feather"
        # Long enough for several linked blocks of LZ4, with a part that does not compress.
        words = [f"line {i}: {'galvatron ' * (i % 7)}{i * 2654435761 % 2**32:x}" for i in range(20000)]
        tokens = [[(i * j * 40503) % 65521 for j in range(i % 5)] for i in range(20000)]
        cls.table = pa.table({"text": words, "tokens": tokens})

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def read(self):
        done = subprocess.run(
            ["node", str(HERE / "read_table.cjs"), str(self.path), "text", "tokens"], capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr

    def test_every_compression(self):
        for compression in ("lz4", "zstd", "uncompressed"):
            with self.subTest(compression):
                pyarrow.feather.write_feather(self.table, str(self.path), compression=compression, chunksize=7000)
                code, out, error = self.read()
                self.assertEqual(error, "")
                self.assertEqual(code, 0)
                text, tokens = json.loads(out)
                self.assertEqual(text, self.table.column("text").to_pylist())
                self.assertEqual(tokens, self.table.column("tokens").to_pylist())

    def test_stream(self):
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_stream(str(self.path), self.table.schema, options=options) as writer:
            writer.write_table(self.table)
        _, out, _ = self.read()
        self.assertEqual(json.loads(out)[0], self.table.column("text").to_pylist())

    def test_broken_columns_are_refused(self):
        # Neither codec has a checksum here: what can be seen is what breaks its format.
        for compression, magic in (("lz4", 0x184D2204), ("zstd", 0xFD2FB528)):
            with self.subTest(compression):
                pyarrow.feather.write_feather(self.table, str(self.path), compression=compression)
                whole = self.path.read_bytes()
                at = whole.index(magic.to_bytes(4, "little"))
                self.path.write_bytes(whole[:at] + bytes(4) + whole[at + 4 :])
                code, out, error = self.read()
                self.assertEqual((code, out), (1, ""))
                self.assertRegex(error, "DATA_INVALID: .*data.feather is no Arrow file that can be read")


if __name__ == "__main__":
    unittest.main()
