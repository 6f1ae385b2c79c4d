"""A Jupyter of our own for one test: our kernel installed where only that test looks."""

import os
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
NODE = shutil.which("node")


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
