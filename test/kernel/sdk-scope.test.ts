import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { exportedNames } from "../../kernel/prelude.js";
import { type KernelClient, startKernel } from "./kernel-client.js";

let client: KernelClient;
beforeAll(async () => {
  client = await startKernel();
});
afterAll(async () => {
  await client?.close();
});

it("reads the names of a declaration file", () => {
  const text = `export { type A, b, c as d } from "./x.js";
export type { E, F as G } from "./y.js";
export declare function h(): void;
export declare const i: number;
export interface J {}
export { default } from "./z.js";`;
  expect(exportedNames(text)).toEqual(["A", "b", "d", "E", "G", "h", "i", "J"]);
});

it("every name of the door is in scope in the first cell", async () => {
  const values = Object.keys(await import("../../src/index.js"));
  expect(values.length).toBeGreaterThan(5);
  const { result } = await client.run(`[${values.join(", ")}].filter((value) => value === undefined).length`);
  expect(result?.["text/plain"]).toBe("0");
  const names = exportedNames(readFileSync("src/index.ts", "utf8"));
  expect(names).toContain("ModelSpec");
  expect((await client.run("let spec: ModelSpec | undefined")).reply.status).toBe("ok");
});

it("the SDK is typed, completed and documented", async () => {
  const wrong = await client.run("cluster({ gpus: 'many' as const, nonsense: 1 })");
  expect(wrong.error?.ename).toBe("TypeScriptError");
  const { content } = await client.kernel.requestInspect({ code: "cluster", cursor_pos: 4, detail_level: 0 });
  expect(JSON.stringify(content)).toContain("function cluster(");
  const { matches } = (await client.kernel.requestComplete({ code: "uniformP", cursor_pos: 8 })).content as {
    matches: string[];
  };
  expect(matches).toContain("uniformPlan");
});

it("may be imported by name, as elsewhere, and its names declared again", async () => {
  const report = await client.run('import { cluster as mine } from "galvatron-ts"; mine === cluster');
  expect(report.result?.["text/plain"]).toBe("true");
  expect((await client.run("const cluster = 3; cluster + 1")).result?.["text/plain"]).toBe("4");
});

it("errors of the SDK tell what to do, and show no frame of ours", async () => {
  const report = await client.run('model("no-such-model")');
  expect(report.error?.ename).toMatch(/GalvatronError|TypeScriptError/);
  const unchecked = await client.run('(model as any)("no-such-model")');
  expect(unchecked.error?.ename).toBe("GalvatronError");
  expect(unchecked.error?.traceback.join("\n")).not.toMatch(/dist[\\/]|node_modules/);
});

it("display() shows any value and redraws it", async () => {
  const report = await client.run(
    "const shown = display([{ a: 1 }]); shown.update({ 'text/plain': 'again' })",
  );
  expect(report.messages.map(({ type }) => type)).toEqual(
    expect.arrayContaining(["display_data", "update_display_data"]),
  );
});
