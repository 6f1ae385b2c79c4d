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
  readonly html: string;
  readonly figure?: { readonly data: readonly { readonly y: readonly number[] }[] };
}

/** Does what the page's script does. */
async function join(
  id: string,
): Promise<{ states: State[]; move(values: object, settled?: boolean): Promise<State> }> {
  const states: State[] = [];
  const comm = client.kernel.createComm("galvatron.interact");
  comm.onMsg = (message) => void states.push(message.content.data as unknown as State);
  await comm.open({ id }).done;
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
  expect(state.figure?.data).toMatchObject([{ y: [5], name: "gpipe" }]);
  expect(state.html).toContain("<img");
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
    expect((await page.move({ value })).html).toBe("<pre>0.5</pre>");
  }
  expect((await page.move({ value: 1 })).html).toBe("<pre>1</pre>");
});

it("a picture that cannot be drawn says why, escaped, and the next movement is drawn again", async () => {
  await client.run(
    "const fragile = slider({ min: 0, max: 3, value: 0 }, (value) => { if (value === 2) throw new Error('<b>two</b>'); return value })",
  );
  const { result } = await client.run("(fragile as any).id");
  const page = await join(String(result?.["text/plain"]).replaceAll("'", ""));
  expect((await page.move({ value: 2 })).html).toBe("<pre>Error: &lt;b&gt;two&lt;/b&gt;</pre>");
  expect((await page.move({ value: 3 })).html).toBe("<pre>3</pre>");
});

it("a page from before a restart is told so", async () => {
  const states: State[] = [];
  const comm = client.kernel.createComm("galvatron.interact");
  comm.onMsg = (message) => void states.push(message.content.data as unknown as State);
  await comm.open({ id: "long-gone" }).done;
  await until(() => states.length === 1);
  expect(states[0]!.html).toContain("run its cell again");
});

it.each([
  "slider({ min: 2, max: 1 })",
  "slider({ min: 0, max: 1, value: 3 })",
  "choice([])",
  "choice(['a'], 'b' as 'a')",
])("%s is refused in words", async (code) => {
  expect((await client.run(code)).error).toMatchObject({ ename: "GalvatronError" });
});
