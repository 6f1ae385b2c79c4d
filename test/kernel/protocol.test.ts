import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type KernelClient, startKernel, until } from "./kernel-client.js";

let client: KernelClient;
beforeAll(async () => {
  client = await startKernel();
});
afterAll(async () => {
  await client?.close();
});

describe("help", () => {
  it("completes in the first cell, also names that are still being typed", async () => {
    const { content } = await client.kernel.requestComplete({ code: "Math.flo", cursor_pos: 8 });
    expect(content).toMatchObject({ status: "ok", cursor_start: 5, cursor_end: 8 });
    expect((content as { matches: string[] }).matches).toContain("floor");
    const all = await client.kernel.requestComplete({ code: "process.", cursor_pos: 8 });
    expect((all.content as { matches: string[] }).matches).toContain("versions");
  });

  it("completes names of earlier cells with their types", async () => {
    await client.run("const plan = { stages: 4, split: (n: number) => n }");
    const { content } = await client.kernel.requestComplete({ code: "plan.", cursor_pos: 5 });
    expect((content as { matches: string[] }).matches.sort()).toEqual(["split", "stages"]);
  });

  it("shows documentation on hover and in the pager", async () => {
    await client.run("/** Doubles a number. */\nfunction double(n: number): number { return 2 * n }");
    const { content } = await client.kernel.requestInspect({
      code: "double(2)",
      cursor_pos: 3,
      detail_level: 0,
    });
    const { found, data } = content as { found: boolean; data: Record<string, string> };
    expect(found).toBe(true);
    expect(data["text/plain"]).toContain("function double(n: number): number");
    expect(data["text/markdown"]).toContain("```typescript");
    const nothing = await client.kernel.requestInspect({ code: "  ", cursor_pos: 1, detail_level: 0 });
    expect(nothing.content).toMatchObject({ status: "ok", found: false });
    const paged = await client.run("Math.floor?");
    expect(paged.reply.payload).toMatchObject([{ source: "page" }]);
    expect((await client.run("nowhere?")).error?.evalue).toContain("nowhere");
  });

  it.each([
    ["1", "complete"],
    ["function f() {", "incomplete"],
    ["`abc", "incomplete"],
    ["/* abc", "incomplete"],
    ["const x = [1,", "incomplete"],
    ["await (async () => {", "incomplete"],
    ["x = = 2", "invalid"],
    ["'abc", "invalid"],
    ["if (true) {\n\n\n", "complete"],
  ])("%j is %s", async (code, status) => {
    const { content } = await client.kernel.requestIsComplete({ code });
    expect(content.status).toBe(status);
  });

  it("indents what comes next", async () => {
    const { content } = await client.kernel.requestIsComplete({ code: "  if (x) {" });
    expect(content).toMatchObject({ status: "incomplete", indent: "    " });
  });
});

describe("history", () => {
  it("is found by its tail, its range and its text", async () => {
    await client.run("'first of history'");
    await client.run("'second of history'");
    const ask = async (query: object): Promise<unknown[]> =>
      ((await client.kernel.requestHistory(query as never)).content as { history: unknown[] }).history;
    const common = { output: false, raw: true };
    const tail = await ask({ ...common, hist_access_type: "tail", n: 2 });
    expect(tail.map((entry) => (entry as unknown[])[2])).toEqual([
      "'first of history'",
      "'second of history'",
    ]);
    const found = await ask({
      ...common,
      hist_access_type: "search",
      pattern: "*sec?nd*",
      n: 5,
      unique: true,
    });
    expect(found.length).toBe(1);
    const [, count] = found[0] as [number, number];
    const range = await ask({
      ...common,
      output: true,
      hist_access_type: "range",
      session: 0,
      start: count,
      stop: count + 1,
    });
    expect(range).toEqual([[0, count, ["'second of history'", "'second of history'"]]]);
  });
});

describe("display", () => {
  const show = (code: string): string =>
    `const host = (globalThis as any)[Symbol.for("galvatron.host")]; ${code}`;

  it("is redrawn in place after its cell has ended, while another runs", async () => {
    const made = await client.run(show('const live = host.display({ "text/plain": "0" })'));
    const { transient } = made.messages.find(({ type }) => type === "display_data")!.content;
    expect(made.messages.map(({ type }) => type)).not.toContain("update_display_data");
    const updates: unknown[] = [];
    const listen = (_: unknown, message: { header: { msg_type: string }; content: unknown }): void => {
      if (message.header.msg_type === "update_display_data") updates.push(message.content);
    };
    client.kernel.iopubMessage.connect(listen as never);
    await client.run('live.update({ "text/plain": "1" })');
    await until(() => updates.length > 0);
    client.kernel.iopubMessage.disconnect(listen as never);
    expect(updates).toEqual([{ data: { "text/plain": "1" }, metadata: {}, transient }]);
  });

  it("clears what the cell has shown", async () => {
    const report = await client.run(show("host.clearOutput(true)"));
    expect(report.messages.find(({ type }) => type === "clear_output")?.content).toEqual({ wait: true });
  });
});

describe("input", () => {
  const ask =
    '(await (globalThis as any)[Symbol.for("galvatron.host")].input("name: ", false)).toUpperCase()';

  it("is asked of the front end", async () => {
    const future = client.kernel.requestExecute({ code: ask, allow_stdin: true });
    let result: unknown;
    future.onStdin = (message) => {
      expect(message.content).toMatchObject({ prompt: "name: ", password: false });
      client.kernel.sendInputReply({ value: "ada", status: "ok" }, message.header as never);
    };
    future.onIOPub = (message) => {
      if (message.header.msg_type === "execute_result")
        result = (message.content as { data: Record<string, unknown> }).data["text/plain"];
    };
    await future.done;
    expect(result).toBe("'ADA'");
  });

  it("is refused, in words, where there is none", async () => {
    const { error } = await client.run(ask, { allow_stdin: false });
    expect(error?.evalue).toContain("no input");
  });
});

describe("comms", () => {
  it("answer what a front end opens, and close what nobody answers", async () => {
    await client.run(
      '(globalThis as any)[Symbol.for("galvatron.host")].onComm("echo", (comm: any) => { comm.send({ opened: comm.data }); comm.onMessage((data: any) => comm.send({ heard: data })); }); 0',
    );
    const heard: unknown[] = [];
    const comm = client.kernel.createComm("echo");
    comm.onMsg = (message) => void heard.push(message.content.data);
    await comm.open({ a: 1 }).done;
    await comm.send({ b: 2 }).done;
    await until(() => heard.length === 2);
    expect(heard).toEqual([{ opened: { a: 1 } }, { heard: { b: 2 } }]);
    const { content } = await client.kernel.requestCommInfo({ target_name: "echo" });
    expect(Object.values((content as { comms: object }).comms)).toEqual([{ target_name: "echo" }]);
    await comm.close().done;

    const lost = client.kernel.createComm("nobody");
    let reason: unknown;
    lost.onClose = (message) => {
      reason = message.content.data;
    };
    lost.open();
    await until(() => reason !== undefined);
    expect(reason).toMatchObject({ reason: expect.stringContaining("nobody") });
  });
});

describe("requests", () => {
  it("evaluate expressions of a front end", async () => {
    const { reply } = await client.run("const seven = 7", {
      user_expressions: { good: "seven * 6", bad: "seven.nothing" },
    });
    expect(reply.user_expressions).toMatchObject({
      good: { status: "ok", data: { "text/plain": "42" } },
      bad: { status: "error", ename: "TypeScriptError" },
    });
  });

  it("of kernel_info are answered before the compiler is warm", async () => {
    const other = await startKernel();
    const order: string[] = [];
    const compiler = other.kernel.requestIsComplete({ code: "1" }).then(() => order.push("compiler"));
    const info = other.kernel.requestKernelInfo().then(() => order.push("info"));
    await Promise.all([compiler, info]);
    await other.close();
    expect(order).toEqual(["info", "compiler"]);
  });
});
