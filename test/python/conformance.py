"""Runs PyPI's jupyter_kernel_test against our kernel: `npm run conformance`.

`conformance.py tslab` runs the same samples against plain tslab, for the table in kernel/README.md.
Ends with `N passed, N failed, N skipped`.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import jupyter_kernel_test

ROOT = pathlib.Path(__file__).resolve().parents[2]
NODE = shutil.which("node")
KERNEL = sys.argv[1] if len(sys.argv) > 1 else "galvatron"


FIGURE = "{ data: [], layout: { height: 100 } }"
PLOTLY = "application/vnd.plotly.v1+json"
# Each kernel's own way of displaying.
DISPLAY_SAMPLES = {
    "galvatron": [
        {"code": 'display({ "text/html": "<b>x</b>" })', "mime": "text/html"},
        {"code": 'display({ "image/svg+xml": "<svg/>" })', "mime": "image/svg+xml"},
        {"code": f"display({FIGURE})", "mime": PLOTLY},
    ],
    "tslab": [
        {"code": 'import * as a from "tslab"; a.display.html("<b>x</b>")', "mime": "text/html"},
        {"code": 'import * as b from "tslab"; b.display.svg("<svg/>")', "mime": "image/svg+xml"},
        {
            "code": f'import * as c from "tslab"; c.display.raw("{PLOTLY}", {FIGURE} as any)',
            "mime": PLOTLY,
        },
    ],
}[KERNEL]


class KernelConformance(jupyter_kernel_test.KernelTests):
    kernel_name = KERNEL
    language_name = "typescript"
    file_extension = ".ts"
    code_hello_world = 'console.log("hello, world")'
    code_stderr = 'console.error("oops")'
    completion_samples = [
        {"text": "Math.flo", "matches": {"floor"}},
        {"text": "process.versi", "matches": {"version", "versions"}},
    ]
    complete_code_samples = [
        "1",
        "let x = 1",
        "function f(a: number) { return a * 2 }",
        "const y: number[] = [1, 2]",
        "for (const i of [1]) {}",
        "await Promise.resolve(1)",
    ]
    incomplete_code_samples = [
        "function f(a: number) {",
        "const o = {",
        "[1, 2",
        "if (true) {",
        "`abc",
        "/* abc",
    ]
    invalid_code_samples = ["let let = 1 )", "x = = 2", "function )(", "const 1a = 2;"]
    code_page_something = "Math?"
    code_generate_error = 'throw new Error("boom")'
    code_execute_result = [
        {"code": "1 + 2", "result": "3"},
        {"code": '"a" + "b"', "result": "'ab'"},
        {"code": "[1, 2, 3]", "result": "[ 1, 2, 3 ]"},
        {"code": "await Promise.resolve(42)", "result": "42"},
        {"code": '[{ a: 1 }]', "mime": "text/html"},
    ]
    code_display_data = DISPLAY_SAMPLES
    code_history_pattern = "1?+?2"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "Math.floor"
    code_clear_output = "clearOutput()"


class WelcomeConformance(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = KERNEL
    support_iopub_welcome = True


def install(kernel: str, prefix: str) -> None:
    """Puts the kernel where only this run looks."""
    if kernel == "galvatron":
        command = [NODE, "dist/src/cli/main.js", "kernel", "install", "--prefix", prefix]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return
    folder = pathlib.Path(prefix, "share", "jupyter", "kernels", kernel)
    folder.mkdir(parents=True)
    program = str(ROOT / "node_modules" / "tslab" / "bin" / "tslab")
    argv = [NODE, program, "kernel", "--config-path={connection_file}"]
    spec = {"argv": argv, "display_name": kernel, "language": "typescript"}
    (folder / "kernel.json").write_text(json.dumps(spec))


def main() -> int:
    with tempfile.TemporaryDirectory() as prefix:
        install(KERNEL, prefix)
        os.environ["JUPYTER_PATH"] = str(pathlib.Path(prefix, "share", "jupyter"))
        os.environ["JUPYTER_RUNTIME_DIR"] = str(pathlib.Path(prefix, "runtime"))
        load = unittest.defaultTestLoader.loadTestsFromTestCase
        suite = unittest.TestSuite([load(KernelConformance)])
        if KERNEL == "galvatron":  # the suite waits for the welcome without end where none comes
            suite.addTests(load(WelcomeConformance))
        result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(suite)
    # A test with subtests may fail or skip several times; it counts once, and a failure counts most.
    names = lambda cases: {case.id().split(" ")[0] for case, _ in cases}
    failures = names(result.failures + result.errors)
    failed, skipped = len(failures), len(names(result.skipped) - failures)
    for case, reason in result.skipped:
        print(f"skipped: {case.id()}: {reason}")
    print(f"{result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or result.testsRun == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
