"""Our kernel under the programs that people run notebooks with: nbclient, nbconvert, papermill, VS Code."""

import json
import os
import subprocess
import sys
import unittest
import unittest.mock

import nbformat
from jupyter_place import KERNELSPEC, ROOT, JupyterPlace, notebook
from nbclient import NotebookClient

FIGURE = """({ data: [{ type: "bar", name: "a", orientation: "v", x: ["p"], y: [1],
  marker: { color: "#0072b2" } }], layout: { height: 200, title: { text: "T" } } })"""
LATE = """const shown = display({ "text/plain": "0" });
setTimeout(() => shown.update({ "text/plain": "late" }), 200);"""
WAIT = "await new Promise((resolve) => setTimeout(resolve, 400)); console.log('waited')"


class Clients(unittest.TestCase):
    def test_nbclient_runs_a_notebook_to_a_valid_file(self) -> None:
        with JupyterPlace() as place, unittest.mock.patch.dict(os.environ, place.environment):
            cells = ["const x: number = 6", "console.log(x * 7)", FIGURE, LATE, WAIT]
            document = nbformat.from_dict(notebook(cells, KERNELSPEC))
            NotebookClient(document, timeout=60).execute(cwd=str(place.work))
        nbformat.validate(document)
        outputs = [cell.outputs for cell in document.cells]
        self.assertEqual(outputs[1][0].text, "42\n")
        self.assertEqual(
            sorted(outputs[2][0].data),
            ["application/vnd.plotly.v1+json", "image/svg+xml", "text/html", "text/plain"],
        )
        self.assertEqual(outputs[3][0].data["text/plain"], "late")

    def test_what_our_runner_writes_is_valid_and_the_same(self) -> None:
        with JupyterPlace() as place:
            source = place.work / "a.ipynb"
            source.write_text(json.dumps(notebook([FIGURE, "[{ a: 1 }]", "throw 1"], KERNELSPEC)))
            ours = subprocess.run(
                ["node", str(ROOT / "dist/src/cli/main.js"), "notebook", "run", str(source), "--quiet"],
                capture_output=True,
                text=True,
            )
            self.assertEqual(ours.returncode, 1, ours.stderr)
            mine = nbformat.read(place.work / "a.executed.ipynb", as_version=4)
            nbformat.validate(mine)
            with unittest.mock.patch.dict(os.environ, place.environment):
                theirs = nbformat.read(source, as_version=4)
                client = NotebookClient(theirs, timeout=60, allow_errors=True)
                client.execute(cwd=str(place.work))
        self.assertEqual(
            [cell.outputs for cell in mine.cells], [cell.outputs for cell in theirs.cells]
        )

    def test_nbconvert_executes_and_exports_a_page_with_a_picture(self) -> None:
        with JupyterPlace() as place:
            (place.work / "a.ipynb").write_text(json.dumps(notebook([FIGURE], KERNELSPEC)))
            subprocess.run(
                [sys.executable, "-m", "jupyter", "nbconvert", "--to", "html", "--execute", "a.ipynb"],
                cwd=place.work,
                env=place.environment,
                check=True,
                capture_output=True,
            )
            page = (place.work / "a.html").read_text()
        self.assertIn("data:image/svg+xml;base64,", page)

    def test_papermill_passes_parameters_by_our_plugin(self) -> None:
        with JupyterPlace() as place:
            plugin = place.folder / "plugin"
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            install += ["--disable-pip-version-check", "--target", str(plugin)]
            subprocess.run([*install, str(ROOT / "kernel/papermill")], check=True)
            cells = [("let steps: number = 1;", ["parameters"]), "`${steps}`"]
            (place.work / "a.ipynb").write_text(json.dumps(notebook(cells, KERNELSPEC)))
            environment = {**place.environment, "PYTHONPATH": str(plugin)}
            run = [sys.executable, "-m", "papermill", "a.ipynb", "b.ipynb", "-p", "steps", "7"]
            done = subprocess.run(
                [*run, "-y", 'names: ["a", \'b"c\']'],
                cwd=place.work,
                env=environment,
                capture_output=True,
                text=True,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            result = nbformat.read(place.work / "b.ipynb", as_version=4)
        injected = result.cells[1]
        self.assertIn("let steps = 7;", injected.source)
        self.assertIn('let names = ["a", "b\\"c"];', injected.source)
        self.assertEqual(result.cells[2].outputs[0].data["text/plain"], "'7'")

    def test_every_request_that_vs_code_sends_is_answered(self) -> None:
        from jupyter_client.manager import start_new_kernel

        with JupyterPlace() as place, unittest.mock.patch.dict(os.environ, place.environment):
            manager, client = start_new_kernel(kernel_name="galvatron", cwd=str(place.work))
            try:
                for channel, kind, content in VS_CODE:
                    with self.subTest(kind, channel=channel):
                        socket = getattr(client, f"{channel}_channel")
                        message = client.session.msg(kind, content)
                        message["metadata"] = {"cellId": "vscode-cell-1"}
                        socket.send(message)
                        reply = self.reply_to(client, channel, message)
                        self.assertEqual(reply["msg_type"], kind.replace("_request", "_reply"))
                        states = self.states_of(client, message)
                        self.assertEqual(states, ["busy", "idle"])
            finally:
                client.stop_channels()
                manager.shutdown_kernel(now=True)

    def reply_to(self, client: object, channel: str, message: dict) -> dict:
        while True:
            reply = getattr(client, f"get_{channel}_msg")(timeout=30)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return reply

    def states_of(self, client: object, message: dict) -> list:
        states = []
        while "idle" not in states:
            heard = client.get_iopub_msg(timeout=30)
            mine = heard["parent_header"].get("msg_id") == message["header"]["msg_id"]
            if mine and heard["msg_type"] == "status":
                states.append(heard["content"]["execution_state"])
        return states


def execute(code: str, silent: bool = False) -> dict:
    return {
        "code": code,
        "silent": silent,
        "stop_on_error": False,
        "allow_stdin": True,
        "store_history": not silent,
        "user_expressions": {},
    }


# What its Jupyter extension asks of a kernel from opening a notebook to closing it, in order.
VS_CODE = [
    ("shell", "kernel_info_request", {}),
    ("control", "kernel_info_request", {}),
    ("shell", "comm_info_request", {}),
    ("shell", "execute_request", execute("process.cwd()", silent=True)),
    ("shell", "execute_request", execute("const answer: number = 42\nanswer")),
    ("shell", "complete_request", {"code": "answer.toF", "cursor_pos": 10}),
    ("shell", "inspect_request", {"code": "answer", "cursor_pos": 3, "detail_level": 0}),
    ("shell", "is_complete_request", {"code": "answer"}),
    ("shell", "history_request", {"output": False, "raw": True, "hist_access_type": "tail", "n": 10}),
    ("shell", "execute_request", execute("throw new Error('shown in the editor')")),
    ("control", "interrupt_request", {}),
    ("control", "debug_request", {"seq": 1, "type": "request", "command": "debugInfo"}),
    ("control", "shutdown_request", {"restart": False}),
]


if __name__ == "__main__":
    unittest.main(verbosity=2)
