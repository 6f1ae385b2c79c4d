import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, expect, it } from "vitest";
import { type KernelClient, startKernel, until } from "./kernel-client.js";

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** A training of two worker processes that would go on for hours, and the processes that do it. */
const TRAINING = `const host = cluster({ device: "host", ranks: 2 });
const tiny = model("gpt", { layers: 2, hidden: 32, heads: 2, sequence: 32 });
const plan = await tiny.plan(uniformPlan(tiny.spec, { ranks: 2, globalBatch: 4 }), { on: host });
const run = plan.train({ data: synthetic(), steps: 1_000_000 });
for await (const step of run) if (step.step >= 2) break;
run.pids.join(" ")`;

let client: KernelClient;
// Kept from test to test, so that machine and model are profiled once.
const folder = mkdtempSync(path.join(tmpdir(), "galvatron-training-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(async () => {
  await client?.close();
});

async function startTraining(): Promise<number[]> {
  client = await startKernel(folder);
  const { result, error } = await client.run(TRAINING);
  expect(error).toBeUndefined();
  const pids = String(result!["text/plain"]).match(/\d+/g)!.map(Number);
  expect(pids.length).toBe(2);
  expect(pids.every(isAlive)).toBe(true);
  return pids;
}

it("a restart in the middle of a training leaves no process behind", { timeout: 240_000 }, async () => {
  const pids = await startTraining();
  await client.kernel.restart();
  await until(() => !pids.some(isAlive), 20_000);
  expect((await client.run("typeof run")).error?.evalue).toContain("run");
});

it("a kernel that is killed takes its workers with it", { timeout: 240_000 }, async () => {
  const pids = await startTraining();
  const { result } = await client.run("process.pid");
  process.kill(Number(result!["text/plain"]), "SIGKILL");
  await until(() => !pids.some(isAlive), 20_000);
});

it("a worker that dies is told in the picture and by the run, and the kernel goes on", {
  timeout: 240_000,
}, async () => {
  const pids = await startTraining();
  process.kill(pids[1]!, "SIGKILL");
  const told = await client.run("await run.done");
  expect(told.error?.ename).toBe("GalvatronError");
  expect(told.error?.evalue).toMatch(/Rank 1/);
  await until(() => !pids.some(isAlive), 20_000);
  const after = await client.run("[run.status, run.records.length > 4]");
  expect(after.result?.["text/plain"]).toBe("[ 'failed', true ]");
});

it("an interrupt stops a training and keeps its steps", { timeout: 240_000 }, async () => {
  const pids = await startTraining();
  const waiting = client.run("await run.done");
  await new Promise((resolve) => setTimeout(resolve, 500));
  await client.kernel.interrupt();
  await waiting;
  await until(() => !pids.some(isAlive), 30_000);
  const after = await client.run("[run.status, run.records.length > 4]");
  expect(after.result?.["text/plain"]).toBe("[ 'stopped', true ]");
});

it("an exception in a callback of a cell that has ended is told, and the kernel goes on", async () => {
  client = await startKernel();
  const heard: string[] = [];
  client.kernel.iopubMessage.connect((_, message) => heard.push(JSON.stringify(message.content)));
  await client.run("setTimeout(() => { throw new Error('from a timer') }, 50); 1");
  await until(() => heard.some((text) => text.includes("from a timer")), 10_000);
  await client.run("Promise.reject(new Error('from a promise')); 2");
  await until(() => heard.some((text) => text.includes("from a promise")), 10_000);
  expect((await client.run("1 + 1")).result?.["text/plain"]).toBe("2");
});

it("a huge output arrives whole and does not block the kernel", { timeout: 120_000 }, async () => {
  client = await startKernel();
  const many = await client.run("for (let i = 0; i < 200_000; i++) console.log(i); 'done'");
  const lines = many.stream("stdout").trimEnd().split("\n");
  expect(lines.length).toBe(200_000);
  expect(lines.at(-1)).toBe("199999");
  const long = await client.run("process.stdout.write('x'.repeat(20_000_000)); 0");
  expect(long.stream("stdout").length).toBe(20_000_000);
  const value = await client.run("'y'.repeat(5_000_000)");
  expect(String(value.result?.["text/plain"]).length).toBeGreaterThan(90_000);
  expect((await client.run("1 + 1")).result?.["text/plain"]).toBe("2");
});
