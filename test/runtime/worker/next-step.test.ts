import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { expect, it } from "vitest";
import type { NativeAddon } from "../../../src/device/addon.js";
import { loadAddon } from "../../../src/device/load-addon.js";
import { onnxRuntimePath } from "../../../src/device/onnx-runtime-path.js";
import { modelSpec } from "../../../src/families/registry.js";
import { uniformPlan } from "../../../src/plan/uniform.js";
import { syntheticFeed } from "../../../src/profiler/synthetic-feed.js";
import { compilePlan } from "../../../src/runtime/compile-plan.js";
import type { FromWorker, ToWorker } from "../../../src/runtime/wire.js";
import { openRank } from "../../../src/runtime/worker/rank.js";

const STEPS = 6;

it("asks for the next step before the last has ended, also where one step is granted at a time", async () => {
  const addon = loadAddon();
  const events: string[] = [];
  let asked = 0;
  // The real addon, written down, with steps long enough that the next one's samples are read meanwhile.
  const watched: NativeAddon = {
    ...addon,
    openWorker: (options) => {
      const worker = addon.openWorker(options);
      const step: typeof worker.step = async () => {
        events.push(`ask ${asked++}`);
        const times = await worker.step();
        await pause(150);
        return times;
      };
      return new Proxy(worker, {
        get: (target, name) => {
          if (name === "step") return step;
          const found = Reflect.get(target, name) as unknown;
          return typeof found === "function" ? found.bind(target) : found;
        },
      });
    },
  };
  const waiting = new Map<string, (message: FromWorker) => void>();
  const rank = openRank(watched, (message) => {
    if (message.kind === "failed") throw new Error(message.message);
    if (message.kind === "stepped") {
      events.push(`ended ${message.step}`);
      // As training does: two steps ahead of those that have ended.
      if (message.step + 3 <= STEPS) rank.receive({ kind: "advance", until: message.step + 3 });
      if (message.step + 1 < STEPS) return;
    }
    waiting.get(message.kind)?.(message);
  });
  const answer = (kind: FromWorker["kind"], message: ToWorker): Promise<FromWorker> =>
    new Promise((resolve) => {
      waiting.set(kind, resolve);
      rank.receive(message);
    });
  const sharedName = `galvatron-test-${process.pid}-${randomBytes(4).toString("hex")}`;
  addon.createShared({ name: sharedName, ranks: 1, bytesPerRank: 2 ** 20 });
  const model = modelSpec("gpt", { layers: 1, hidden: 16, heads: 2, sequence: 8, vocabulary: 32 });
  const { programs, graphs: store } = compilePlan(model, uniformPlan(model, { ranks: 1, globalBatch: 2 }));
  const options = {
    device: "host",
    deviceIndex: 0,
    rank: 0,
    ranks: 1,
    onnxRuntimePath: onnxRuntimePath(),
    sharedName,
    threads: 1,
    deadlineMs: 20_000,
  } as const;
  await answer("opened", { kind: "open", id: 0, options });
  addon.unlinkShared(sharedName);
  const rest = { repeated: false, restore: null, weights: null, firstStep: 0, keptBytes: 0 };
  const feed = syntheticFeed(model);
  const graphs = Object.fromEntries(programs[0]!.graphs.map(({ id }) => [id, store.get(id)!]));
  await answer("loaded", { kind: "load", id: 1, program: programs[0]!, graphs, seed: 1, feed, ...rest });
  await answer("stepped", { kind: "advance", until: 2 });
  await answer("closed", { kind: "close", id: 2 });
  for (let step = 1; step < STEPS; step++)
    expect(events.indexOf(`ask ${step}`)).toBeLessThan(events.indexOf(`ended ${step - 1}`));
  expect(asked).toBe(STEPS);
});
