import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type KernelClient, startKernel } from "./kernel-client.js";

let client: KernelClient;
beforeAll(async () => {
  client = await startKernel();
});
afterAll(async () => {
  await client?.close();
});

const text = (result: Record<string, unknown> | undefined): unknown => result?.["text/plain"];
// biome-ignore lint/suspicious/noControlCharactersInRegex: terminal colours are control characters
const plain = (lines: readonly string[]): string => lines.join("\n").replace(/\u001b\[[\d;]*m/g, "");

describe("the last value of a cell", () => {
  it.each([
    ["6 * 7", "42"],
    ["'a' + 'b'", "'ab'"],
    ["[1, 2, 3]", "[ 1, 2, 3 ]"],
    ["false", "false"],
    ["new Map([[1, 2]])", "Map(1) { 1 => 2 }"],
    ["Promise.resolve(5)", "5"],
    ["await Promise.resolve(6)", "6"],
    ["await (Promise.resolve(7))", "7"],
    ["await (async () => 8)()", "8"],
  ])("%s shows %s", async (code, shown) => {
    expect(text((await client.run(code)).result)).toBe(shown);
  });

  it.each(["undefined", "null", "const quiet = 1", "console.log()", "if (true) { 3 }"])(
    "%s shows no result",
    async (code) => {
      const report = await client.run(code);
      expect(report.reply.status).toBe("ok");
      expect(report.result).toBeUndefined();
    },
  );

  it("is not awaited when it is a handle of ongoing work", async () => {
    const code = `const handle = { done: new Promise(() => {}), [Symbol.for("Jupyter.display")]: () => ({ "text/plain": "under way" }) };
handle`;
    expect(text((await client.run(code)).result)).toBe("under way");
  });

  it("shows itself by Symbol.for('Jupyter.display'), also asynchronously", async () => {
    const code = `({ [Symbol.for("Jupyter.display")]: async () => ({ "text/html": "<b>x</b>" }) })`;
    const { result } = await client.run(code);
    expect(result?.["text/html"]).toBe("<b>x</b>");
    expect(result).toHaveProperty(["text/plain"]);
  });

  it("shows records as a table, with everything of the user escaped", async () => {
    const { result } = await client.run(`[{ name: "<script>alert(1)</script>", n: 1 }, { n: 2.5 }]`);
    expect(result?.["text/html"]).toContain("<table>");
    expect(result?.["text/html"]).toContain("&lt;script&gt;");
    expect(result?.["text/html"]).not.toContain("<script>");
    expect(result?.["text/plain"]).toContain("2.5");
  });

  it("shows an Arrow table that the cell made itself", async () => {
    const { result } = await client.run(
      `import { tableFromArrays } from "apache-arrow"; tableFromArrays({ rank: Int32Array.of(0, 1), load: Float64Array.of(0.25, 0.5) })`,
    );
    expect(result?.["text/html"]).toContain("2 rows × 2 columns");
    expect(result?.["text/html"]).toContain("rank: Int32");
    expect(result?.["text/plain"]).toContain("0.25");
  });

  it("draws a plotly figure in every form a viewer may want", async () => {
    const { result } = await client.run(
      `({ data: [{ type: "bar", name: "a", orientation: "v", x: ["p"], y: [1], marker: { color: "#123456" } }], layout: { height: 200, title: { text: "</script><b>" } } })`,
    );
    expect(Object.keys(result ?? {}).sort()).toEqual([
      "application/vnd.plotly.v1+json",
      "image/svg+xml",
      "text/html",
      "text/plain",
    ]);
    expect(result?.["image/svg+xml"]).toContain("#123456");
    expect((String(result?.["text/html"]).match(/<\/script>/g) ?? []).length).toBe(1);
  });

  it("is nothing when a front end asks silently", async () => {
    const report = await client.run("11", { silent: true });
    expect(report.reply.status).toBe("ok");
    expect(report.messages.filter(({ type }) => type !== "status")).toEqual([]);
  });
});

describe("scope", () => {
  it("holds across cells, and names may be declared again with another type", async () => {
    await client.run("const size: number = 3");
    expect(text((await client.run("size + 1")).result)).toBe("4");
    await client.run("const size: string = 'big'");
    expect(text((await client.run("size.toUpperCase()")).result)).toBe("'BIG'");
  });

  it.each(["({ earlier })", "await Promise.resolve({ earlier })"])(
    "is seen by shorthand properties of later cells: %s",
    async (code) => {
      await client.run("const earlier = 5");
      expect(text((await client.run(code)).result)).toBe("{ earlier: 5 }");
    },
  );

  it("lets functions see what later cells declare", async () => {
    await client.run("let base = 1; function add(n: number) { return base + n }");
    await client.run("base = 10");
    expect(text((await client.run("add(1)")).result)).toBe("11");
  });

  it("keeps what a cell declared before it failed, and the old value of what it did not reach", async () => {
    await client.run("const old = 'kept'; const twice = 1");
    const failed = await client.run(
      "const reached = [1, 2];\nconst twice = 2;\nthrow new Error('half way');\nconst old = 5",
    );
    expect(failed.reply.status).toBe("error");
    expect(text((await client.run("reached.length + twice")).result)).toBe("4");
    expect(text((await client.run("old.length")).result)).toBe("4");
  });

  it("takes for await at the top of a cell", async () => {
    const report = await client.run(
      "async function* steps() { yield 1; yield 2; }\nlet sum = 0;\nfor await (const step of steps()) sum += step;\nsum",
    );
    expect(text(report.result)).toBe("3");
  });

  it("imports modules and JSON of the notebook's folder, and packages installed there", async () => {
    writeFileSync(path.join(client.folder, "lesson.ts"), "export const title: string = 'shards';");
    writeFileSync(path.join(client.folder, "data.json"), '{"values":[1,2]}');
    const package_ = path.join(client.folder, "node_modules", "tiny");
    mkdirSync(package_, { recursive: true });
    writeFileSync(
      path.join(package_, "package.json"),
      '{"name":"tiny","version":"1.0.0","exports":{".":{"types":"./t.d.ts","default":"./t.js"}}}',
    );
    writeFileSync(path.join(package_, "t.d.ts"), "export declare const tiny: 7;");
    writeFileSync(path.join(package_, "t.js"), "exports.tiny = 7;");
    const report = await client.run(
      'import { title } from "./lesson";\nimport data from "./data.json";\nimport { tiny } from "tiny";\ntitle + " " + data.values.length + " " + tiny',
    );
    expect(report.error).toBeUndefined();
    expect(text(report.result)).toBe("'shards 2 7'");
  });
});

describe("errors", () => {
  it("of types name the line and show it", async () => {
    const { error } = await client.run('const fine = 1;\nconst wrong: number = "x";');
    expect(error?.ename).toBe("TypeScriptError");
    expect(error?.evalue).toBe("Type 'string' is not assignable to type 'number'.");
    expect(plain(error?.traceback ?? [])).toContain(
      "(line 2): Type 'string' is not assignable to type 'number'.\n  const wrong: number = \"x\";\n        ^^^^^",
    );
  });

  it("of types on the first line of a cell that awaits point at the right column", async () => {
    const { error } = await client.run('const late: number = await (Promise.resolve("x"));');
    expect(plain(error?.traceback ?? [])).toContain("\n        ^^^^");
  });

  it("thrown far below name the cell, line and column that threw, and no frame of ours", async () => {
    await client.run(
      "interface Shape { size: number }\n\nfunction fail(shape: Shape): never {\n  throw new RangeError('size ' + shape.size);\n}",
    );
    const { error, reply } = await client.run("\nfail({ size: 3 })");
    expect(error?.ename).toBe("RangeError");
    expect(error?.evalue).toBe("size 3");
    const shown = plain(error?.traceback ?? []);
    expect(shown).toMatch(/> 4 \| {3}throw new RangeError/);
    expect(shown).toContain(`at fail in cell ${Number(reply.execution_count) - 1}, line 4:9`);
    expect(shown).toContain(`at cell ${reply.execution_count}, line 2:1`);
    expect(shown).not.toMatch(/node:|node_modules|dist[\\/]/);
  });

  it("of anything else than an Error show the value", async () => {
    const { error } = await client.run("throw { code: 3 }");
    expect(error?.evalue).toContain("code: 3");
  });

  it("stay short, however long a line", async () => {
    const { error } = await client.run("throw new Error('x'.repeat(50_000))");
    expect(plain(error?.traceback ?? []).length).toBeLessThan(10_000);
  });

  it("stop the cells sent with them, and none sent later", async () => {
    // Fails late enough that the next cell is surely waiting by then.
    const first = client.run("await new Promise((go) => setTimeout(go, 500)); throw new Error('stop')", {
      stop_on_error: true,
    });
    const second = client.run("'never'");
    expect((await first).reply.status).toBe("error");
    expect((await second).reply.status).toBe("aborted");
    expect((await client.run("'again'")).reply.status).toBe("ok");
  });

  it("that nobody catches are told, and the kernel lives on", async () => {
    const report = await client.run(
      "setTimeout(() => { throw new Error('from a timer') }, 10); void Promise.reject(new Error('from a promise')); await new Promise((r) => setTimeout(r, 100))",
    );
    expect(report.stream("stderr")).toContain("from a timer");
    expect(report.stream("stderr")).toContain("from a promise");
    expect(text((await client.run("1")).result)).toBe("1");
  });
});

describe("printing", () => {
  it("loses nothing of 100,000 lines, in few messages", async () => {
    const report = await client.run("for (let i = 0; i < 100_000; i++) console.log(i)");
    const lines = report.stream("stdout").split("\n");
    expect(lines.length).toBe(100_001);
    expect(lines.every((line, index) => line === (index < 100_000 ? String(index) : ""))).toBe(true);
    expect(report.messages.length).toBeLessThan(1000);
  });

  it("keeps the order of stdout, stderr and displays", async () => {
    const report = await client.run(
      "console.log('a'); console.error('b'); process.stdout.write('c'); console.log('d'); 'e'",
    );
    const kinds = report.messages.filter(({ type }) => type === "stream" || type === "execute_result");
    expect(kinds.map(({ content }) => content.text ?? "result")).toEqual(["a\n", "b\n", "cd\n", "result"]);
  });

  it("arrives while a cell still blocks the thread", async () => {
    const seen: number[] = [];
    const future = client.kernel.requestExecute({
      code: "console.log('first'); const end = Date.now() + 800; while (Date.now() < end) {} console.log(Date.now())",
    });
    let firstAt = 0;
    future.onIOPub = (message) => {
      if (message.header.msg_type !== "stream") return;
      if (firstAt === 0) firstAt = Date.now();
      seen.push(Date.now());
    };
    await future.done;
    expect(seen.length).toBe(2);
    expect(seen[1]! - firstAt).toBeGreaterThan(500);
  });
});
