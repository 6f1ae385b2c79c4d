import { type ChildProcess, fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { NativeAddon, StepTimes, WorkerOptions } from "../../src/device/addon.js";
import { loadAddon } from "../../src/device/load-addon.js";
import { onnxRuntimePath } from "../../src/device/onnx-runtime-path.js";
import type { Program } from "../../src/program/program.js";

export interface RankError extends Error {
  readonly code: string;
  readonly context: Readonly<Record<string, string | number>>;
}

/** A real process with one rank in it. */
export interface NativeRank {
  readonly process: ChildProcess;
  load(program: Program, graphs?: Readonly<Record<string, Uint8Array>>): Promise<void>;
  write(tensor: number, bytes: Uint8Array): Promise<void>;
  read(tensor: number): Promise<Uint8Array>;
  step(): Promise<StepTimes>;
  ask(action: string, value?: unknown): Promise<never>;
}

export interface NativeRanks {
  readonly ranks: readonly NativeRank[];
  readonly sharedName: string;
  /** Loads, steps and reads on all ranks at once. */
  load(programs: readonly Program[], graphs?: Readonly<Record<string, Uint8Array>>): Promise<void>;
  step(): Promise<readonly StepTimes[]>;
  close(): Promise<void>;
}

export interface RanksOptions {
  readonly ranks: number;
  readonly bytesPerRank?: number;
  readonly deadlineMs?: number;
  readonly threads?: number;
  readonly addon?: NativeAddon;
}

export async function startNativeRanks(options: RanksOptions): Promise<NativeRanks> {
  const { ranks: count, bytesPerRank = 2 ** 20, deadlineMs = 20_000, threads = 1 } = options;
  const addon = loadAddon();
  const sharedName = `galvatron-test-${process.pid}-${randomBytes(4).toString("hex")}`;
  addon.createShared({ name: sharedName, ranks: count, bytesPerRank });
  const ranks = Array.from({ length: count }, startNativeRank);
  await Promise.all(
    ranks.map((rank, index) =>
      rank.ask("open", {
        device: "host",
        deviceIndex: 0,
        rank: index,
        ranks: count,
        onnxRuntimePath: onnxRuntimePath(),
        sharedName,
        threads,
        deadlineMs,
      } satisfies WorkerOptions),
    ),
  );
  addon.unlinkShared(sharedName);
  return {
    ranks,
    sharedName,
    load: async (programs, graphs) => {
      await Promise.all(ranks.map((rank, index) => rank.load(programs[index]!, graphs)));
    },
    step: () => Promise.all(ranks.map((rank) => rank.step())),
    close: async () => {
      await Promise.all(
        ranks.map(async (rank) => {
          if (rank.process.exitCode !== null || rank.process.signalCode !== null) return;
          const gone = new Promise((resolve) => rank.process.once("exit", resolve));
          await rank.ask("close").catch(() => {});
          rank.process.disconnect();
          await gone;
        }),
      );
    },
  };
}

/** A process without a worker yet. */
export function startNativeRank(): NativeRank {
  const child = fork(join(__dirname, "rank-process.cjs"), [], {
    serialization: "advanced",
    execArgv: ["--expose-gc"],
  });
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let next = 0;
  child.on("message", (message: { id: number; result?: never; error?: RankError }) => {
    const asked = waiting.get(message.id)!;
    waiting.delete(message.id);
    if (message.error) asked.reject(Object.assign(new Error(message.error.message), message.error));
    else asked.resolve(message.result as never);
  });
  child.on("exit", (code, signal) => {
    for (const asked of waiting.values()) asked.reject(new Error(`the process ended: ${code ?? signal}`));
    waiting.clear();
  });
  const ask = (action: string, value?: unknown): Promise<never> =>
    new Promise((resolve, reject) => {
      waiting.set(next, { resolve, reject });
      child.send({ id: next, action, value });
      next++;
    });
  return {
    process: child,
    ask,
    load: (program, graphs = {}) => ask("load", { program, graphs }),
    write: (tensor, bytes) => ask("write", { tensor, bytes }),
    read: (tensor) => ask("read", tensor),
    step: () => ask("step"),
  };
}
