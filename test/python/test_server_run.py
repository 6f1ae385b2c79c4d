"""`galvatron notebook run --server` on a real Jupyter server: the laptop's notebook on another machine's kernel."""

import json
import subprocess
import unittest
import urllib.request

import nbformat
from jupyter_place import KERNELSPEC, NODE, ROOT, JupyterPlace, JupyterServer, notebook

FIGURE = """({ data: [{ type: "bar", name: "a", orientation: "v", x: ["p"], y: [steps],
  marker: { color: "#0072b2" } }], layout: { height: 200, title: { text: "T" } } })"""
PLAN = """const plan = await model("gpt2-small").search("20GB", { on: cluster("hgx-h100"), globalBatch: 16 })
console.log(plan.report.gap)"""
LATE = """const shown = display({ "text/plain": "0" });
setTimeout(() => shown.update({ "text/plain": "late" }), 200);
await new Promise((resolve) => setTimeout(resolve, 400));"""
CELLS = [("let steps: number = 1", ["parameters"]), FIGURE, PLAN, LATE, "[{ a: 1 }]"]


def run(place: JupyterPlace, *words: str) -> subprocess.CompletedProcess:
    command = [NODE, str(ROOT / "dist/src/cli/main.js"), "notebook", "run", "study.ipynb", *words]
    return subprocess.run(command, cwd=place.work, capture_output=True, text=True, timeout=300)


class ServerRun(unittest.TestCase):
    def test_a_notebook_runs_on_the_server_as_it_does_here(self) -> None:
        with JupyterPlace() as place, JupyterServer(place, "jupyter_server") as server:
            (place.work / "study.ipynb").write_text(json.dumps(notebook(CELLS, KERNELSPEC)))
            there = run(place, "steps=7", "--server", server.url, "--token", server.token, "--output", "there.ipynb")
            self.assertEqual(there.returncode, 0, there.stdout + there.stderr)
            here = run(place, "steps=7", "--output", "here.ipynb")
            self.assertEqual(here.returncode, 0, here.stdout + here.stderr)
            mine, theirs = (
                nbformat.read(place.work / name, as_version=4) for name in ("here.ipynb", "there.ipynb")
            )
            manifest = json.loads((place.work / "there.manifest.json").read_text())
            page = (place.work / "there.html").read_text()
            with_wrong_token = run(place, "--server", server.url, "--token", "wrong")
            with urllib.request.urlopen(f"{server.url}api/kernels?token={server.token}") as answer:
                kernels = json.load(answer)
        nbformat.validate(theirs)
        self.assertEqual([cell.outputs for cell in mine.cells], [cell.outputs for cell in theirs.cells])
        self.assertEqual(theirs.cells[2].outputs[0].data["application/vnd.plotly.v1+json"]["data"][0]["y"], [7])
        self.assertEqual(theirs.cells[4].outputs[0].data["text/plain"], "late")
        self.assertEqual(manifest["kernel"]["place"], server.url)
        self.assertIn("<figure data-plot>", page)
        self.assertNotEqual(with_wrong_token.returncode, 0)
        self.assertIn("token", with_wrong_token.stdout + with_wrong_token.stderr)
        self.assertEqual(kernels, [], "a kernel was left on the server")

    def test_no_server_is_told_in_words(self) -> None:
        with JupyterPlace() as place:
            (place.work / "study.ipynb").write_text(json.dumps(notebook(["1"], KERNELSPEC)))
            failed = run(place, "--server", "http://127.0.0.1:9/", "--token", "x")
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn("127.0.0.1:9", failed.stdout + failed.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
