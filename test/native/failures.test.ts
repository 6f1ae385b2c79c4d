import { readdirSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import { loadAddon } from "../../src/device/load-addon.js";
import type { Program } from "../../src/program/program.js";
import { draftProgram } from "../support/native-program.js";
import { type NativeRanks, type RankError, startNativeRanks } from "../support/native-ranks.js";

let opened: NativeRanks | undefined;
afterEach(async () => {
  await opened?.close();
  opened = undefined;
});

const ELEMENTS = 40_000;

/** Rank 0 receives from rank 1 on one stream while its compute stream waits for that; `rank 1` sends nothing if silent. */
function waitingPrograms(ranks: number, silent: number): Program[] {
  return Array.from({ length: ranks }, (_, rank) => {
    const draft = draftProgram(rank);
    const x = draft.tensor("float32", [ELEMENTS]);
    const group = draft.group(Array.from({ length: ranks }, (_, member) => member));
    draft.add({ op: "fill", value: rank, output: x });
    if (rank !== silent) {
      const reduced = draft.add({ op: "allReduce", group, reduction: "sum", input: x, output: x }, "reduce");
      draft.add({ op: "copy", input: x, output: x }, "compute", [reduced]);
    }
    return draft.build();
  });
}

const failed = async (step: Promise<unknown>): Promise<RankError> => {
  try {
    await step;
  } catch (error) {
    return error as RankError;
  }
  throw new Error("the step should have failed");
};

test("a wait for a rank that never comes ends at the deadline and names rank, instruction, peer and label", async () => {
  opened = await startNativeRanks({ ranks: 3, deadlineMs: 300 });
  await opened.load(waitingPrograms(3, 2));
  const start = performance.now();
  const [first, second, third] = await Promise.all([
    failed(opened.ranks[0]!.step()),
    failed(opened.ranks[1]!.step()),
    opened.ranks[2]!.step(),
  ]);
  expect(performance.now() - start).toBeLessThan(5_000);
  expect(third.stepMs).toBeGreaterThanOrEqual(0);
  const [told] = [first, second].filter((error) => error.code === "WORKER_LOST");
  expect(told?.message).toMatch(
    /^rank [01], instruction 1 \(allReduce, forward layer 3 micro-batch 1, stream reduce\): waited \d+ ms for rank 2, longer than the deadline of 300 ms/,
  );
  expect(told?.context).toMatchObject({
    instruction: 1,
    op: "allReduce",
    peer: 2,
    label: "forward layer 3 micro-batch 1",
  });
  // The others, and all later steps, fail at once with the same news.
  expect((await failed(opened.ranks[2]!.step())).message).toContain("deadline of 300 ms");
});

test("an abort ends the step of every rank at once, with its reason", async () => {
  opened = await startNativeRanks({ ranks: 3, deadlineMs: 60_000 });
  await opened.load(waitingPrograms(3, 2));
  const steps = [failed(opened.ranks[0]!.step()), failed(opened.ranks[1]!.step())];
  await new Promise((resolve) => setTimeout(resolve, 200));
  const start = performance.now();
  await opened.ranks[0]!.ask("abort", "the user said stop");
  const errors = await Promise.all(steps);
  expect(performance.now() - start).toBeLessThan(2_000);
  for (const error of errors) {
    expect(error.code).toBe("RUN_STOPPED");
    expect(error.message).toContain("the user said stop");
    expect(error.context.instruction).toBe(1);
  }
});

test("a rank that is killed is noticed by who waits for it, and nothing stays in /dev/shm", async () => {
  opened = await startNativeRanks({ ranks: 3, deadlineMs: 60_000 });
  await opened.load(waitingPrograms(3, 2));
  const steps = [failed(opened.ranks[0]!.step()), failed(opened.ranks[1]!.step())];
  await new Promise((resolve) => setTimeout(resolve, 100));
  const start = performance.now();
  opened.ranks[2]!.process.kill("SIGKILL");
  const errors = await Promise.all(steps);
  expect(performance.now() - start).toBeLessThan(5_000);
  expect(errors.map((error) => error.code)).toContain("WORKER_LOST");
  for (const error of errors) expect(error.message).toMatch(/rank 2, whose process \d+ is gone/);
  expect(readdirSync("/dev/shm")).not.toContain(opened.sharedName);
});

test("ranks whose programs do not fit together are told so", async () => {
  opened = await startNativeRanks({ ranks: 2, deadlineMs: 5_000 });
  const programs = [0, 1].map((rank) => {
    const draft = draftProgram(rank);
    const tensor = draft.tensor("float32", [rank === 0 ? 100 : 60]);
    draft.add(rank === 0 ? { op: "send", peer: 1, tensor } : { op: "receive", peer: 0, tensor });
    return draft.build();
  });
  await opened.load(programs);
  const [, error] = await Promise.all([
    opened.ranks[0]!.step().catch(() => {}),
    failed(opened.ranks[1]!.step()),
  ]);
  expect(error.message).toContain("rank 0 sent 400 bytes where 240 were expected");
});

test("process.exit in the middle of a step ends the process, without a crash", async () => {
  opened = await startNativeRanks({ ranks: 2, deadlineMs: 60_000 });
  await opened.load(waitingPrograms(2, 1));
  const child = opened.ranks[0]!.process;
  const code = await new Promise((resolve) => {
    child.once("exit", (exitCode, signal) => resolve(exitCode ?? signal));
    opened!.ranks[0]!.ask("exitMidStep").catch(() => {});
  });
  expect(code).toBe(7);
});

describe("arguments", () => {
  const addon = loadAddon();
  const code = (body: () => unknown): unknown => {
    try {
      body();
    } catch (error) {
      return (error as RankError).code;
    }
    return "no error";
  };

  test("shared memory: names, sizes, twice, gone", () => {
    const name = `galvatron-test-arguments-${process.pid}`;
    expect(code(() => addon.createShared({ name: "a/b", ranks: 2, bytesPerRank: 2 ** 20 }))).toBe(
      "ARGUMENT_INVALID",
    );
    expect(code(() => addon.createShared({ name, ranks: 0, bytesPerRank: 2 ** 20 }))).toBe(
      "ARGUMENT_INVALID",
    );
    expect(code(() => addon.createShared({ name, ranks: 2, bytesPerRank: 100 }))).toBe("ARGUMENT_INVALID");
    expect(code(() => addon.createShared({ name, ranks: 2, bytesPerRank: 2 ** 45 }))).toBe(
      "DEVICE_UNAVAILABLE",
    );
    expect(readdirSync("/dev/shm")).not.toContain(name);
    addon.createShared({ name, ranks: 2, bytesPerRank: 2 ** 20 });
    expect(code(() => addon.createShared({ name, ranks: 2, bytesPerRank: 2 ** 20 }))).toBe(
      "DEVICE_UNAVAILABLE",
    );
    addon.unlinkShared(name);
    addon.unlinkShared(name);
    expect(readdirSync("/dev/shm")).not.toContain(name);
  });

  test("no ONNX Runtime where it was said to be", () => {
    expect(() => addon.probe({ onnxRuntimePath: "/nowhere/libonnxruntime.so.1", libraries: false })).toThrow(
      /ONNX Runtime's library cannot be opened.*\/nowhere/,
    );
  });
});
