"""A Jupyter of our own for one test: our kernel installed where only that test looks."""

import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class JupyterPlace:
    def __enter__(self) -> "JupyterPlace":
        self._scratch = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self._scratch.name)
        prefix = self.folder / "prefix"
        subprocess.run(
            [NODE, "dist/src/cli/main.js", "kernel", "install", "--prefix", str(prefix)],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        self.work = self.folder / "work"
        self.work.mkdir()
        self.environment = {
            **os.environ,
            "JUPYTER_PATH": str(prefix / "share" / "jupyter"),
            "JUPYTER_CONFIG_DIR": str(self.folder / "config"),
            "JUPYTER_DATA_DIR": str(self.folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.folder / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(self.folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self.folder / "workspaces"),
        }
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()


class JupyterServer:
    """A real Jupyter server ("jupyterlab" or "jupyter_server") on the folder of a place, on this machine only."""

    def __init__(self, place: JupyterPlace, module: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.token = secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{port}/"
        self._log = place.folder / "server.log"
        self._environment = place.environment
        self._command = [sys.executable, "-m", module, "--no-browser", "--allow-root"]
        self._command += [f"--port={port}", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={place.work}"]
        self._command += [f"--IdentityProvider.token={self.token}", "--ServerApp.terminals_enabled=False"]
        if module == "jupyterlab":
            self._command += ["--LabApp.extension_manager=readonly", "--LabApp.news_url="]
            self._command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]

    def __enter__(self) -> "JupyterServer":
        with self._log.open("w") as out:
            self.process = subprocess.Popen(self._command, env=self._environment, stdout=out, stderr=out)
        for _ in range(480):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended: {self._log.read_text()}")
            try:
                urllib.request.urlopen(f"{self.url}api?token={self.token}", timeout=2).close()
                return self
            except OSError:
                time.sleep(0.25)
        self.process.kill()
        raise RuntimeError(f"the server did not start: {self._log.read_text()}")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)


def notebook(cells: list, metadata: dict | None = None) -> dict:
    """A notebook of code cells; a cell is its source, or (source, tags)."""

    def cell(index: int, given: object) -> dict:
        source, tags = given if isinstance(given, tuple) else (given, [])
        return {
            "cell_type": "code",
            "id": f"c{index}",
            "metadata": {"tags": tags} if tags else {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }

    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": metadata or {},
        "cells": [cell(index, given) for index, given in enumerate(cells)],
    }


KERNELSPEC = {
    "kernelspec": {"name": "galvatron", "display_name": "Galvatron", "language": "typescript"}
}
