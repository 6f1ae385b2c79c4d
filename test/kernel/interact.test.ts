import { afterAll, beforeAll, expect, it } from "vitest";
import { type KernelClient, startKernel, until } from "./kernel-client.js";

let client: KernelClient;
beforeAll(async () => {
  client = await startKernel();
});
afterAll(async () => {
  await client?.close();
});

interface State {
  readonly parts: readonly {
    readonly html: string;
    readonly figure?: { readonly data: readonly { readonly y: readonly number[] }[] };
  }[];
  readonly moved?: boolean;
}

const words = ({ parts }: State): string => parts.map(({ html }) => html).join("");

/** Does what the page's script does. */
async function join(
  id: string,
): Promise<{ states: State[]; move(values: object, settled?: boolean): Promise<State> }> {
  const states: State[] = [];
  const comm = client.kernel.createComm("galvatron.interact");
  comm.onMsg = (message) => void states.push(message.content.data as unknown as State);
  await comm.open({ id }).done;
  // What stands there already comes at once, so that the page's figures are live before anything is moved.
  expect(states.map(({ moved }) => moved)).toEqual([undefined]);
  return {
    states,
    move: async (values, settled = false) => {
      const before = states.length;
      comm.send({ values: values as never, settled });
      await until(() => states.length > before);
      return states.at(-1)!;
    },
  };
}

const idOf = (html: unknown): string => /data-galvatron-interact="(\w+)"/.exec(String(html))![1]!;

it("controls redraw their picture with every movement, and the notebook follows once they rest", async () => {
  const updates: string[] = [];
  client.kernel.iopubMessage.connect((_, message) => {
    if (message.header.msg_type !== "update_display_data") return;
    updates.push(String((message.content as { data: Record<string, unknown> }).data["text/html"]));
  });
  const report = await client.run(`const picture = interact(
  { memory: slider({ min: 1, max: 8, value: 2, unit: "GB" }), way: choice(["1f1b", "gpipe"]) },
  ({ memory, way }) => ({ data: [{ type: "bar", name: way, orientation: "v", x: [1], y: [memory], marker: { color: "#0072b2" } }], layout: { height: 200 } }))
picture`);
  expect(report.error).toBeUndefined();
  expect(report.result).toBeUndefined();
  await until(() => updates.length === 1);
  expect(updates[0]).toContain('type="range"');
  expect(updates[0]).toContain("data:image/svg+xml");
  expect(updates[0]).toContain("disabled");

  const page = await join(idOf(updates[0]));
  const state = await page.move({ memory: 5, way: "gpipe" });
  expect(page.states[0]!.parts[0]!.figure?.data).toMatchObject([{ y: [2], name: "1f1b" }]);
  expect(state.moved).toBe(true);
  expect(state.parts.length).toBe(1);
  expect(state.parts[0]!.figure?.data).toMatchObject([{ y: [5], name: "gpipe" }]);
  expect(words(state)).toContain("<img");
  expect((await client.run("picture.values")).result?.["text/plain"]).toBe("{ memory: 5, way: 'gpipe' }");

  await page.move({ memory: 7, way: "1f1b" }, true);
  await until(() => updates.length === 2);
  expect(updates[1]).toContain('value="7"');
});

it("what a page cannot have meant is not taken", async () => {
  await client.run("const bounded = slider({ min: 0, max: 1, step: 0.5 }, (value) => value)");
  const { result } = await client.run("[bounded.values.value, (bounded as any).id]");
  const id = /'(\w+)'/.exec(String(result?.["text/plain"]))![1]!;
  const page = await join(id);
  for (const value of [7, -1, "0.5", null, { a: 1 }]) {
    expect(words(await page.move({ value }))).toBe("<pre>0.5</pre>");
  }
  expect(words(await page.move({ value: 1 }))).toBe("<pre>1</pre>");
});

it("a picture that cannot be drawn says why, escaped, and the next movement is drawn again", async () => {
  await client.run(
    "const fragile = slider({ min: 0, max: 3, value: 0 }, (value) => { if (value === 2) throw new Error('<b>two</b>'); return value })",
  );
  const { result } = await client.run("(fragile as any).id");
  const page = await join(String(result?.["text/plain"]).replaceAll("'", ""));
  expect(words(await page.move({ value: 2 }))).toBe("<pre>Error: &lt;b&gt;two&lt;/b&gt;</pre>");
  expect(words(await page.move({ value: 3 }))).toBe("<pre>3</pre>");
});

it("a page from before a restart is told so", async () => {
  const states: State[] = [];
  const comm = client.kernel.createComm("galvatron.interact");
  comm.onMsg = (message) => void states.push(message.content.data as unknown as State);
  await comm.open({ id: "long-gone" }).done;
  await until(() => states.length === 1);
  expect(words(states[0]!)).toContain("run its cell again");
});

it("a page that had joined before a restart is told so when it is moved", async () => {
  const comm = client.kernel.createComm("galvatron.interact");
  let reason = "";
  comm.onClose = (message) => {
    reason = String(message.content.data.reason);
  };
  // Never opened in this kernel.
  comm.send({ values: { value: 1 }, settled: false });
  await until(() => reason !== "");
  expect(reason).toContain("run its cell again");
});

it("every figure of a value is redrawn as plotly's, with its words between", async () => {
  const { error } = await client.run(`const several = slider({ min: 1, max: 8, value: 2 }, async (micro) => {
  const gpt = model("gpt", { layers: 2, hidden: 64, heads: 2, sequence: 32 });
  const on = cluster("hgx-h100", { ranksPerNode: 2 });
  return gpt.plan(uniformPlan(gpt.spec, { ranks: 2, globalBatch: 16, microBatches: micro, precision: "bfloat16" }), { on });
})
await several.drawn`);
  expect(error).toBeUndefined();
  const { result } = await client.run("(several as any).id");
  const page = await join(String(result?.["text/plain"]).replaceAll("'", ""));
  const forms = (state: State): string[] => state.parts.map(({ figure }) => (figure ? "figure" : "words"));
  expect(forms(page.states[0]!)).toEqual(["words", "figure", "figure", "figure"]);
  const moved = await page.move({ value: 4 });
  expect(forms(moved)).toEqual(forms(page.states[0]!));
  expect(words(moved)).toContain("in 4 micro-batch(es)");
  expect(JSON.stringify(moved.parts[2]!.figure)).not.toBe(JSON.stringify(page.states[0]!.parts[2]!.figure));
});

it.each([
  "slider({ min: 2, max: 1 })",
  "slider({ min: 0, max: 1, value: 3 })",
  "choice([])",
  "choice(['a'], 'b' as 'a')",
])("%s is refused in words", async (code) => {
  expect((await client.run(code)).error).toMatchObject({ ename: "GalvatronError" });
});
