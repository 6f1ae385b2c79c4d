"""A real JupyterLab 4 with our kernel, driven in Chromium: what a person would see."""

import json
import os
import subprocess
import unittest

from jupyter_place import CHROMIUM, NODE, ROOT, JupyterPlace, JupyterServer, notebook

FIGURE = """const drawn = { data: [{ type: "bar", name: "a", orientation: "v", x: ["p", "q"], y: [1, 2],
  marker: { color: "rgb(0,114,178)" } }], layout: { height: 300, title: { text: "Figure" } } };
const kept: number = 41;
drawn"""
LIVE = """const shown = display({ "text/plain": "step 0" });
for (let step = 1; step <= 5; step++) {
  await new Promise((resolve) => setTimeout(resolve, 100));
  shown.update({ "text/plain": `step ${step} of 5` });
}"""
SLIDER = """slider({ min: 1, max: 10, value: 2 }, (value) => ({ data: [{ type: "bar", name: "a",
  orientation: "v", x: ["p"], y: [value], marker: { color: "rgb(213,94,0)" } }],
  layout: { height: 260, title: { text: "How many" }, yaxis: { range: [0, 10] } } }))"""
# The empty cell is for the endless loop that the driver types.
CELLS = [FIGURE, '[{ name: "<user>", n: 1 }]', LIVE, SLIDER, "", "`still here: ${kept}`"]


# Behind the quickstart's own cells: a what-if, a training to be interrupted, what is left of it, one to be restarted in.
EXTRA = [
    """const eight = cluster("hgx-h100")
const xl = model("gpt2-xl")
slider({ min: 10, max: 40, step: 2, value: 16, unit: "GB" }, async (memory) =>
  xl.search(`${memory}GB`, { on: eight, globalBatch: 32 }))""",
    "const long = plan.train({ data, steps: 100000, seed: 3 })\nconst ended = await long.done",
    "`${long.status} after ${long.records.length > 4 ? long.records.length : 'too few'} steps`",
    """const other = plan.train({ data, steps: 100000, seed: 4 })
for await (const step of other) if (step.step >= 2) break
`workers ${other.pids.join(", ")}`""",
]


class JupyterLab(unittest.TestCase):
    @unittest.skipIf(CHROMIUM is None, "there is no Chromium on this machine")
    def test_walk(self) -> None:
        with JupyterPlace() as place:
            (place.work / "small.ipynb").write_text(json.dumps(notebook(CELLS)))
            self.drive(place, "jupyterlab.mjs", 600)

    @unittest.skipIf(CHROMIUM is None, "there is no Chromium on this machine")
    def test_quickstart(self) -> None:
        with JupyterPlace() as place:
            # Its data lies in ../node_modules.
            (place.work / "node_modules").symlink_to(ROOT / "node_modules")
            (place.work / "package.json").write_text("{}")
            (place.work / "notebooks").mkdir()
            quickstart = json.loads((ROOT / "notebooks/quickstart.ipynb").read_text())
            for cell in quickstart["cells"]:
                if cell["metadata"].get("tags") == ["parameters"]:
                    cell["source"] = "let steps = 30"
                if cell["cell_type"] == "code":
                    cell["outputs"], cell["execution_count"] = [], None
            for number, source in enumerate(EXTRA):
                cell = notebook([source])["cells"][0]
                quickstart["cells"].append({**cell, "id": f"extra-{number}"})
            (place.work / "notebooks/quickstart.ipynb").write_text(json.dumps(quickstart))
            self.drive(place, "jupyterlab-quickstart.mjs", 900)

    def drive(self, place: JupyterPlace, driver: str, seconds: int) -> None:
        with JupyterServer(place, "jupyterlab") as server:
            shots = os.environ.get("GALVATRON_SCREENSHOTS", str(place.folder / "shots"))
            done = subprocess.run(
                [NODE, f"test/python/{driver}", server.url, server.token, shots, CHROMIUM],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=seconds,
            )
        seen = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertGreater(len(seen), 0, done.stderr)
        for one in seen:
            print(f"  {'ok' if one['ok'] else 'FAILED'}: {one['name']} {one['detail']}")
            with self.subTest(one["name"]):
                self.assertTrue(one["ok"], one["detail"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
