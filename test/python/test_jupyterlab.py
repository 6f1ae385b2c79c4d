"""A real JupyterLab 4 with our kernel, driven in Chromium: what a person would see."""

import json
import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import sys
import time
import unittest
import urllib.request

from jupyter_place import NODE, ROOT, JupyterPlace, notebook

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

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
  layout: { height: 260, yaxis: { range: [0, 10] } } }))"""
# The empty cell is for the endless loop that the driver types.
CELLS = [FIGURE, '[{ name: "<user>", n: 1 }]', LIVE, SLIDER, "", "`still here: ${kept}`"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class JupyterLab(unittest.TestCase):
    @unittest.skipIf(CHROMIUM is None, "there is no Chromium on this machine")
    def test_walk(self) -> None:
        with JupyterPlace() as place:
            (place.work / "small.ipynb").write_text(json.dumps(notebook(CELLS)))
            self.walk(place)

    def walk(self, place: JupyterPlace) -> None:
        token, port = secrets.token_hex(16), free_port()
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        command += [f"--port={port}", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={place.work}"]
        command += [f"--IdentityProvider.token={token}", "--LabApp.extension_manager=readonly"]
        command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
        command += ["--LabApp.news_url=", "--ServerApp.terminals_enabled=False"]
        log = place.folder / "server.log"
        with log.open("w") as out:
            server = subprocess.Popen(command, env=place.environment, stdout=out, stderr=out)
        try:
            url = f"http://127.0.0.1:{port}/"
            self.wait_for(f"{url}api?token={token}", server, log)
            shots = os.environ.get("GALVATRON_SCREENSHOTS", str(place.folder / "shots"))
            driver = subprocess.run(
                [NODE, "test/python/jupyterlab.mjs", url, token, shots, CHROMIUM],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=300,
            )
        finally:
            server.terminate()
            server.wait(20)
        seen = [json.loads(line) for line in driver.stdout.splitlines()]
        self.assertGreater(len(seen), 0, driver.stderr)
        for one in seen:
            print(f"  {'ok' if one['ok'] else 'FAILED'}: {one['name']} {one['detail']}")
            with self.subTest(one["name"]):
                self.assertTrue(one["ok"], one["detail"])

    def wait_for(self, url: str, server: subprocess.Popen, log: pathlib.Path) -> None:
        for _ in range(240):
            self.assertIsNone(server.poll(), log.read_text())
            try:
                urllib.request.urlopen(url, timeout=2).close()
                return
            except OSError:
                time.sleep(0.25)
        self.fail(f"JupyterLab did not start: {log.read_text()}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
