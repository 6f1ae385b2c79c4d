import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CellReport, type KernelClient, startKernel, until } from "./kernel-client.js";

let client: KernelClient;
beforeAll(async () => {
  client = await startKernel();
  await client.run("let survivor = 41; const wait = (ms: number) => new Promise((r) => setTimeout(r, ms))");
});
afterAll(async () => {
  await client?.close();
});

/** Starts a cell that prints "begun", and waits until it has: before that, an interrupt would meet the compiler. */
async function begin(code: string): Promise<{ readonly ended: Promise<CellReport> }> {
  let begun = false;
  const listen = (_: unknown, message: { header: { msg_type: string }; content: unknown }): void => {
    begun ||= message.header.msg_type === "stream" && JSON.stringify(message.content).includes("begun");
  };
  client.kernel.iopubMessage.connect(listen as never);
  const ended = client.run(code);
  await until(() => begun);
  client.kernel.iopubMessage.disconnect(listen as never);
  return { ended };
}

describe("an interrupt ends", () => {
  it.each([
    ["a loop", "while (true) {}"],
    ["a loop that catches everything", "while (true) { try { while (true) {} } catch {} }"],
    ["a loop after an await", "await wait(20); while (true) {}"],
    ["a loop in a timer", "await new Promise(() => setTimeout(() => { while (true) {} }, 20))"],
    ["a loop of microtasks", "const spin = (): Promise<void> => Promise.resolve().then(spin); await spin()"],
    ["a wait for what never comes", "await new Promise(() => {})"],
    ["a promise as last value", "new Promise(() => {})"],
    ["a wait for input", 'await (globalThis as any)[Symbol.for("galvatron.host")].input("never: ")'],
  ])("%s", async (_, code) => {
    const running = await begin(`console.log("begun");\n${code}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await client.kernel.interrupt();
    const report = await running.ended;
    expect(report.reply.status).toBe("error");
    expect(report.error?.ename).toBe("Interrupted");
    const after = await client.run("++survivor");
    expect(after.result?.["text/plain"]).toMatch(/^4\d$/);
  });

  it("nothing when nothing runs", async () => {
    await client.kernel.interrupt();
    expect((await client.run("'well'")).result?.["text/plain"]).toBe("'well'");
  });
});

it("a cell ended by force leaves old values of names that it did not reach", async () => {
  await client.run("const earlier = 7");
  const running = await begin('const begun = 1;\nconsole.log("begun");\nwhile (true) {}\nconst earlier = 8');
  await client.kernel.interrupt();
  expect((await running.ended).error?.ename).toBe("Interrupted");
  expect((await client.run("begun + earlier")).result?.["text/plain"]).toBe("8");
});

it("an interrupted cell keeps what it had declared", async () => {
  const running = await begin(
    'const partial = [1, 2, 3];\nconsole.log("begun");\nawait new Promise(() => {});\nconst never = 1',
  );
  await client.kernel.interrupt();
  expect((await running.ended).error?.ename).toBe("Interrupted");
  expect((await client.run("partial.length")).result?.["text/plain"]).toBe("3");
  expect((await client.run("never")).error?.evalue).toContain("never");
});

it("whoever asked is told of an interrupt, also while no cell runs", async () => {
  await client.run(
    'let told = 0; const forget = (globalThis as any)[Symbol.for("galvatron.host")].onInterrupt(() => { told++ }); 0',
  );
  // A signal that arrives late ends the cell that asks: then it is asked again.
  const asked = async (): Promise<unknown> => {
    const { result, error } = await client.run("await wait(100); told");
    return error?.ename === "Interrupted" ? asked() : result?.["text/plain"];
  };
  await client.kernel.interrupt();
  expect(await asked()).toBe("1");
  await client.run("forget(); 0");
  await client.kernel.interrupt();
  expect(await asked()).toBe("1");
});
