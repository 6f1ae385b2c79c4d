"""The notebooks' pages in a real Chromium, in light and dark: every figure is drawn, nothing is asked of the network."""

import json
import os
import subprocess
import tempfile
import unittest

from jupyter_place import CHROMIUM, NODE, ROOT


class ExportedPages(unittest.TestCase):
    @unittest.skipIf(CHROMIUM is None, "there is no Chromium on this machine")
    def test_every_figure_of_every_notebook_is_drawn(self) -> None:
        files = sorted((ROOT / "notebooks").glob("*.ipynb"))
        self.assertEqual(len(files), 8)
        fresh = ROOT / "out/quickstart/quickstart.html"
        if fresh.exists():
            files.append(fresh)
        with tempfile.TemporaryDirectory() as scratch:
            shots = os.environ.get("GALVATRON_SCREENSHOTS", scratch)
            driver = subprocess.run(
                [NODE, "test/python/exported-page.mjs", shots, CHROMIUM, *map(str, files)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=900,
            )
        seen = [json.loads(line) for line in driver.stdout.splitlines()]
        self.assertEqual(len(seen), 2 * len(files), driver.stderr)
        for one in seen:
            print(f"  {'ok' if one['ok'] else 'FAILED'}: {one['name']}: {one['detail']}")
            with self.subTest(one["name"]):
                self.assertTrue(one["ok"], one["detail"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
