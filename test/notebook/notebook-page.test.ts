import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { plotBundle } from "../../src/display/plot-bundle.js";
import type { CellOutput, Notebook, NotebookCell } from "../../src/notebook/notebook-json.js";
import { notebookPage } from "../../src/notebook/notebook-page.js";

const page = (cells: NotebookCell[]): string =>
  notebookPage({ metadata: {}, cells } satisfies Notebook, "name");
const code = (source: string, outputs: CellOutput[]): NotebookCell => ({
  kind: "code",
  id: "c",
  source,
  metadata: {},
  executionCount: 1,
  outputs,
});
const text = (source: string): NotebookCell => ({ kind: "markdown", id: "m", source, metadata: {} });
const shown = (data: Record<string, unknown>): CellOutput => ({ kind: "display", data, metadata: {} });
const figure = (name: string): CellOutput =>
  shown({
    ...plotBundle({ data: [], layout: { height: 100, title: { text: name } } }, "<svg/>"),
  });

describe("an exported page", () => {
  it("allows no script when it has no figure", () => {
    expect(page([text("# Title")])).toContain("script-src 'none'");
    expect(page([text("# Title")])).toContain("<title>Title</title>");
  });

  it("holds plotly.js once, whole, and runs nothing but it and the page's own script", () => {
    const html = page([code("a", [figure("one")]), code("b", [figure("two")])]);
    const packed = [...html.matchAll(/<script id="plotly-gz" type="text\/plain">([^<]+)</g)];
    expect(packed.length).toBe(1);
    const source = gunzipSync(Buffer.from(packed[0]![1]!, "base64"));
    const policy = /script-src ([^;]+);/.exec(html)![1]!;
    expect(policy).toContain(createHash("sha256").update(source).digest("base64"));
    const run = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)];
    expect(run.length).toBe(1);
    expect(policy).toContain(createHash("sha256").update(run[0]![1]!).digest("base64"));
    expect(policy).not.toContain("unsafe");
    expect(html.match(/<figure data-plot>/g)?.length).toBe(2);
  });

  it("shows what users wrote, and runs none of it", () => {
    const bad = '<script>alert(1)</script><img src=x onerror="alert(2)"><a href="javascript:alert(3)">y</a>';
    const html = page([
      text(`# a ${bad}\n\n[link](javascript:alert(4)) [good](https://example.org)`),
      code(`// ${bad}`, [
        { kind: "stream", name: "stdout", text: bad },
        { kind: "error", ename: "E", evalue: bad, traceback: [`\u001b[31m${bad}\u001b[0m`] },
        shown({ "text/html": `<table>${bad}</table>` }),
        shown({ "text/markdown": bad }),
        shown({ "text/plain": bad }),
      ]),
    ]);
    const body = html.slice(html.indexOf("<body>"));
    expect(body).not.toMatch(/<script(?! type="application\/json")/);
    expect(body).not.toMatch(/<[^>]+\son\w+=/);
    expect(body).not.toMatch(/href="?javascript:/);
    expect(body).toContain('href="https://example.org"');
    expect(body).toContain('<span class="ansi-red">&lt;script&gt;');
  });

  it("finds the plots inside a value's own page, and takes nothing else for one", () => {
    const plot = String(plotBundle({ data: [], layout: { height: 90 } }, "<svg/>")["text/html"]);
    const html = page([
      code("a", [shown({ "text/html": `<p>words</p>${plot}<p>between</p>${plot}<script>x()</script>` })]),
    ]);
    expect(html.match(/<figure data-plot><img [^>]*><script type="application\/json">\{/g)?.length).toBe(2);
    expect(html).toContain("<p>between</p>");
    expect(html).not.toContain("x()");
    const forged = plot.replace("<img ", '<img onerror="alert(1)" ');
    expect(page([code("a", [shown({ "text/html": forged })])])).not.toContain("onerror");
  });

  it("cannot be broken out of by a figure's data", () => {
    const html = page([code("a", [figure("</script><script>alert(1)</script>")])]);
    expect(html).not.toContain("<script>alert(1)");
  });

  it("shows progress bars as they ended", () => {
    const html = page([code("a", [{ kind: "stream", name: "stdout", text: "10%\r50%\r100%\ndone\n" }])]);
    expect(html).toContain('<pre class="stdout">100%\ndone\n</pre>');
  });

  it("draws the figures of a notebook that an earlier version wrote, and runs nothing of its scripts", () => {
    const bundle = figure("old") as Extract<CellOutput, { kind: "display" }>;
    const html = String(bundle.data["text/html"]);
    const old = html.replace(/<script>[\s\S]*?\("/, '<script>(function(id,figure){alert(1)})("');
    expect(old).not.toBe(html);
    const exported = page([code("a", [shown({ "text/html": `<p>words</p>${old}` })])]);
    expect(exported).toContain("<figure data-plot>");
    expect(exported).not.toContain("alert(1)");
  });
});
