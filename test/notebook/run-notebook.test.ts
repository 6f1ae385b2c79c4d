import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkNotebook } from "../../src/notebook/check-notebook.js";
import type { CellProgress } from "../../src/notebook/execute-cells.js";
import type { CodeCell } from "../../src/notebook/notebook-json.js";
import { readNotebook, runNotebook } from "../../src/notebook/run-notebook.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "galvatron-notebook-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, cells: (string | { source: string; tags: string[] })[]): string {
  const file = path.join(folder, name);
  const notebook = {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: {},
    cells: cells.map((cell, index) => ({
      cell_type: "code",
      id: `cell-${index}`,
      metadata: typeof cell === "string" ? {} : { tags: cell.tags },
      execution_count: null,
      outputs: [],
      source: typeof cell === "string" ? cell : cell.source,
    })),
  };
  writeFileSync(file, JSON.stringify(notebook));
  return file;
}

describe("a notebook run on the embedded kernel", () => {
  it("writes the executed notebook, the page and the manifest", async () => {
    const source = write("study.ipynb", [
      { source: "let steps = 1;", tags: ["parameters"] },
      'const curve: number[] = Array.from({ length: steps }, (_, i) => 1 / (i + 1));\nconsole.log(curve.length);\n({ data: [{ type: "scatter", name: "loss", mode: "lines", x: curve.map((_, i) => i), y: curve, line: { color: "#0072b2" } }], layout: { height: 240, title: { text: "Loss" } } })',
      '(globalThis as any)[Symbol.for("galvatron.provenance")] = new Map([["seed:data", { kind: "seed", name: "data", value: "7" }]]); 0',
    ]);
    const at = (name: string): string => path.join(folder, "out", name);
    const progress: CellProgress[] = [];
    const result = await runNotebook({
      path: source,
      parameters: { steps: 4 },
      outputPath: at("study.ipynb"),
      htmlPath: at("study.html"),
      manifestPath: at("study.json"),
      onProgress: (one) => progress.push(one),
    });
    expect(result.ok).toBe(true);
    expect(progress.filter(({ ended }) => ended).map(({ number, total }) => `${number}/${total}`)).toEqual([
      "1/4",
      "2/4",
      "3/4",
      "4/4",
    ]);
    const written = await readNotebook(at("study.ipynb"));
    const figure = (written.cells[2] as CodeCell).outputs;
    expect(figure[0]).toEqual({ kind: "stream", name: "stdout", text: "4\n" });
    expect(figure[1]).toMatchObject({ kind: "result", executionCount: 3 });
    expect(readFileSync(at("study.html"), "utf8")).toContain("<figure data-plot>");
    const manifest = JSON.parse(readFileSync(at("study.json"), "utf8"));
    expect(manifest).toMatchObject({
      notebook: { file: "study.ipynb" },
      parameters: { steps: 4 },
      package: { name: "galvatron-ts" },
      kernel: { place: "embedded", node: process.version },
      provenance: [{ kind: "seed", name: "data", value: "7" }],
    });
    expect(manifest.notebook.sourceSha256).toMatch(/^[0-9a-f]{64}$/);
  });

  it("stops at a cell that fails and says so, but not at one that should fail", async () => {
    const source = write("failing.ipynb", [
      { source: "throw new Error('a lesson')", tags: ["raises-exception"] },
      "throw new Error('a mistake')",
      "1",
    ]);
    const result = await runNotebook({ path: source });
    expect(result.ok).toBe(false);
    expect(result.cells.map(({ status }) => status)).toEqual(["expected-error", "error", "skipped"]);
    expect(result.cells[1]!.error).toEqual({ name: "Error", message: "a mistake" });
  });

  it("says so when the kernel dies", async () => {
    const result = await runNotebook({
      path: write("dying.ipynb", ["process.kill(process.pid, 'SIGKILL'); await new Promise(() => {})"]),
    });
    expect(result.cells[0]!.error?.name).toBe("KernelDied");
  });

  it("can be stopped", async () => {
    const controller = new AbortController();
    const result = await runNotebook({
      path: write("endless.ipynb", ["const kept = 1", "await new Promise(() => {})", "1"]),
      signal: controller.signal,
      onProgress: ({ number, ended }) => {
        if (number === 2 && !ended) setTimeout(() => controller.abort(), 200);
      },
    });
    expect(result.cells.map(({ status }) => status)).toEqual(["ok", "error", "skipped"]);
  });
});

describe("a notebook checked", () => {
  it("is as it was, until something changes", async () => {
    const source = write("checked.ipynb", [
      "import { readFileSync } from 'node:fs'; readFileSync('number.txt', 'utf8')",
      { source: "Math.round(performance.now()) % 2 + 1", tags: ["measured"] },
    ]);
    writeFileSync(path.join(folder, "number.txt"), "3");
    await runNotebook({ path: source, outputPath: source });
    expect(await checkNotebook({ path: source })).toMatchObject({ ok: true, changes: [] });
    writeFileSync(path.join(folder, "number.txt"), "4");
    expect(await checkNotebook({ path: source })).toMatchObject({
      ok: false,
      changes: [{ number: 1, what: "output 1: text/plain", stored: "'3'", now: "'4'" }],
    });
  });

  it("of a file that is not there is told in words", async () => {
    await expect(checkNotebook({ path: path.join(folder, "nowhere.ipynb") })).rejects.toThrow(
      /nowhere\.ipynb/,
    );
  });
});
