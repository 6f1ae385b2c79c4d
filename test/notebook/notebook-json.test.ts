import { describe, expect, it } from "vitest";
import { notebookText, parseNotebook } from "../../src/notebook/notebook-json.js";
import { withParameters } from "../../src/notebook/parameters.js";

const code = (source: string, more: object = {}): object => ({
  cell_type: "code",
  id: source.replace(/\W/g, "") || "x",
  metadata: {},
  execution_count: null,
  outputs: [],
  source: [source],
  ...more,
});
const file = (cells: object[], minor = 5): string =>
  JSON.stringify({ nbformat: 4, nbformat_minor: minor, metadata: { a: 1 }, cells });

describe("a notebook file", () => {
  it("reads and writes back the same, byte by byte", () => {
    const text = notebookText(
      parseNotebook(
        file([
          { cell_type: "markdown", id: "m", metadata: {}, source: ["# a\n", "b"] },
          code("1", {
            execution_count: 3,
            outputs: [
              { output_type: "stream", name: "stdout", text: ["a\n", "b\n"] },
              {
                output_type: "display_data",
                data: { "image/png": "AAA\n", "text/plain": ["x"] },
                metadata: {},
              },
              {
                output_type: "execute_result",
                execution_count: 3,
                data: { "application/json": [1, 2] },
                metadata: {},
              },
              { output_type: "error", ename: "E", evalue: "v", traceback: ["t"] },
            ],
          }),
          { cell_type: "raw", id: "r", metadata: {}, source: "raw" },
        ]),
        "a.ipynb",
      ),
    );
    expect(notebookText(parseNotebook(text, "a.ipynb"))).toBe(text);
    const written = JSON.parse(text);
    expect(written.nbformat_minor).toBe(5);
    expect(written.cells[0].source).toEqual(["# a\n", "b"]);
    expect(written.cells[1].outputs[2].data["application/json"]).toEqual([1, 2]);
  });

  it("of an older minor version gets cell ids, always the same", () => {
    const old = JSON.stringify({
      nbformat: 4,
      nbformat_minor: 2,
      metadata: {},
      cells: [{ cell_type: "code", metadata: {}, execution_count: null, outputs: [], source: "1" }],
    });
    const ids = [1, 2].map(() => parseNotebook(old, "o").cells[0]!.id);
    expect(ids[0]).toMatch(/^[\w-]+$/);
    expect(ids[0]).toBe(ids[1]);
  });

  it.each([
    ["not json", /is not JSON/],
    ['{"nbformat":3,"nbformat_minor":0,"metadata":{},"cells":[]}', /nbformat 4/],
    ['{"nbformat":4,"nbformat_minor":5,"metadata":{},"cells":[{"cell_type":"code"}]}', /source/],
  ])("%s is refused in words", (text, message) => {
    expect(() => parseNotebook(text, "bad.ipynb")).toThrow(message);
  });
});

describe("parameters", () => {
  const notebook = parseNotebook(
    file([
      code("first"),
      code("let steps = 1", { id: "p", metadata: { tags: ["parameters"] } }),
      code("last"),
    ]),
    "n",
  );
  const sources = (of: typeof notebook): string[] => of.cells.map(({ source }) => source);

  it("stand after the cell of defaults", () => {
    expect(sources(withParameters(notebook, { steps: 5, names: ["a"] }))).toEqual([
      "first",
      "let steps = 1",
      'let steps = 5;\nlet names = ["a"];',
      "last",
    ]);
  });

  it("replace those of an earlier run", () => {
    const twice = withParameters(withParameters(notebook, { steps: 5 }), { steps: 6 });
    expect(sources(twice)).toEqual(["first", "let steps = 1", "let steps = 6;", "last"]);
  });

  it("stand at the top where no cell holds defaults", () => {
    const plain = parseNotebook(file([code("a")]), "n");
    expect(sources(withParameters(plain, { x: null }))).toEqual(["let x = null;", "a"]);
  });

  it("cannot smuggle code in by their names", () => {
    expect(() => withParameters(notebook, { "x = 1; evil()": 1 })).toThrow(/identifier/);
  });
});
