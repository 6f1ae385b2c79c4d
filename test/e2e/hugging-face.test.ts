import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type UniformPlanOptions, uniformPlan } from "../../src/plan/uniform.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";
import { exportWeights } from "../../src/runtime/coordinator/export-weights.js";
import { openHostPool } from "../../src/runtime/coordinator/host-pool.js";
import type { WorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import { synthetic } from "../../src/runtime/data/data-description.js";
import { hyperValues, optimizerFrom } from "../../src/runtime/optimizer.js";
import { decodeFloats, WEIGHT_BYTES, type WeightDtype } from "../../src/runtime/weights/float-formats.js";
import { readConfig, readHeader, storedWeights } from "../../src/runtime/weights/weight-folder.js";
import type { Reporter } from "../../src/session/reporter.js";
import type { Run } from "../../src/session/run.js";
import { modelIn } from "../../src/session/sdk.js";
import { newSession } from "../../src/session/session.js";
import {
  countedLabels,
  GOLDEN_NAMES,
  goldenBatch,
  goldenModel,
  goldenWeights,
  readGolden,
} from "../graph/golden.js";
import type { Content } from "../graph/run-onnx.js";
import { relativeDifference } from "../graph/simulate-layer.js";
import { feedByHand } from "../support/feed-by-hand.js";
import { writeGoldenFolder } from "../support/weight-folder.js";

const PLANS: readonly [string, Omit<UniformPlanOptions, "globalBatch">][] = [
  ["one rank, 2 micro-batches, recompute", { ranks: 1, microBatches: 2, recompute: true }],
  ["ZeRO-3", { ranks: 2, dataParallel: "zero3" }],
  ["weights split", { ranks: 2, tensorDegree: 2 }],
  ["sequence split, ZeRO-1", { ranks: 2, tensorDegree: 2, tensorSplit: "sequence", dataParallel: "zero1" }],
  ["two stages", { ranks: 2, pipelineDegree: 2, microBatches: 4 }],
];

let pool: WorkerPool;
let folder: string;
beforeAll(async () => {
  pool = await openHostPool(2, 1);
  folder = mkdtempSync(join(tmpdir(), "galvatron-weights-"));
});
afterAll(async () => {
  await pool.close();
  rmSync(folder, { recursive: true });
});

/** The tensors of a file or of several, as float32. */
function tensorsIn(path: string, files: readonly string[]): ReadonlyMap<string, Float32Array> {
  return new Map(
    files.flatMap((file) => {
      const bytes = readFileSync(join(path, file));
      return readHeader(join(path, file)).entries.map(({ name, dtype, shape, start }) => {
        const size = shape.reduce((product, extent) => product * extent, WEIGHT_BYTES[dtype as WeightDtype]);
        return [name, decodeFloats(bytes.subarray(start, start + size), dtype as WeightDtype)] as const;
      });
    }),
  );
}

const CASES = GOLDEN_NAMES.flatMap((name) => PLANS.map(([text, choice]) => [name, text, choice] as const));

describe("Hugging Face weights", () => {
  it.each(CASES)(
    "of %s under %s: the same losses, and identical tensors back",
    async (name, text, choice) => {
      const golden = readGolden(name);
      const source = join(folder, `${name}-source`);
      writeGoldenFolder(source, golden, { files: text === "ZeRO-3" ? 3 : 1 });
      const model = goldenModel(golden, readConfig(source));
      const weights = storedWeights(source, model);
      expect(weights.unused).toEqual([]);
      const plan = uniformPlan(model, { ...choice, globalBatch: golden.samples });
      const { programs, graphs } = compilePlan(model, plan, { lossTokens: countedLabels(golden) });
      await pool.load({ programs, graphs, seed: 3, weights, feed: null, firstStep: 0 });

      const back = join(folder, `${name}-back`);
      await exportWeights(pool, programs, { folder: back, model, dtype: "F32" });
      const tensors = tensorsIn(back, ["model.safetensors"]);
      const expected = goldenWeights(golden);
      expect([...tensors.keys()].sort()).toEqual([...expected.keys()].sort());
      for (const [tensor, values] of expected) expect(tensors.get(tensor), tensor).toEqual(values);
      expect(goldenModel(golden, readConfig(back))).toEqual(model);

      const steps = text === PLANS[0]![0] ? golden.data.length : 3;
      const optimizer = optimizerFrom(
        {
          ...golden.optimizer,
          learningRate: {
            peak: golden.optimizer.learningRate,
            warmupSteps: 0,
            schedule: { kind: "constant" },
          },
        },
        steps,
      );
      for (let step = 0; step < steps; step++) {
        const hyper = hyperValues(optimizer, step, steps);
        for (const { rank, io } of programs)
          await pool.write(rank, [{ tensor: io.hyper, bytes: new Uint8Array(hyper.buffer) }]);
        await feedByHand(pool, programs, goldenBatch(golden, step), plan.globalBatch / plan.microBatches);
        const [ranks] = await pool.run(1);
        const loss = ranks!.reduce((sum, rank) => sum + rank.loss, 0);
        expect(Math.abs(loss / golden.losses[step]! - 1), `loss of step ${step}`).toBeLessThan(
          step === 0 ? 1e-5 : 1e-4,
        );
        for (const { gradientNorm } of ranks!)
          expect(gradientNorm / golden.gradientNorms[step]!, `norm of step ${step}`).toBeCloseTo(1, 3);
      }
    },
  );

  it.each<WeightDtype>(["BF16", "F16"])(
    "%s tensors come back as they are, in several files",
    async (dtype) => {
      const golden = readGolden("gpt2");
      const [source, back] = [join(folder, `${dtype}-source`), join(folder, `${dtype}-back`)];
      writeGoldenFolder(source, golden, { dtype });
      const model = goldenModel(golden, readConfig(source));
      const plan = uniformPlan(model, { ranks: 2, tensorDegree: 2, globalBatch: 4, precision: "bfloat16" });
      const { programs, graphs } = compilePlan(model, plan);
      await pool.load({
        programs,
        graphs,
        seed: 3,
        weights: storedWeights(source, model),
        feed: null,
        firstStep: 0,
      });
      await exportWeights(pool, programs, { folder: back, model, dtype, fileBytes: 4000 });
      const { weight_map: index } = JSON.parse(
        readFileSync(join(back, "model.safetensors.index.json"), "utf8"),
      ) as { weight_map: Record<string, string> };
      const files = [...new Set(Object.values(index))];
      expect(files.length).toBeGreaterThan(2);
      const written = tensorsIn(source, ["model.safetensors"]);
      const read = tensorsIn(back, files);
      expect(read.size).toBe(written.size);
      for (const [tensor, values] of written) expect(read.get(tensor), tensor).toEqual(values);
    },
  );
});

describe("a Hugging Face model in the SDK", { timeout: 240_000 }, () => {
  const notices: string[] = [];
  const reporter: Reporter = {
    notice: (said) => notices.push(said),
    progress: () => ({ update: () => {}, end: () => {} }),
  };

  it("is found by its folder, trained from its weights, and written when the run has ended", async () => {
    const golden = readGolden("gpt_neox");
    writeGoldenFolder(join(folder, "neox"), golden);
    const session = newSession({ folder, reporter });
    const sized = { sequence: 8 };
    expect(modelIn(session, "neox", {}).spec.layers).toHaveLength(8);
    const handle = modelIn(session, { from: "neox" }, sized);
    expect(handle.spec).toEqual(modelIn(session, "./neox", sized).spec);
    expect(handle.spec.name).toBe("neox");
    const plan = await handle.plan(uniformPlan(handle.spec, { ranks: 2, tensorDegree: 2, globalBatch: 4 }));
    const train = (options: object): Run =>
      plan.train({ data: synthetic(), steps: 2, learningRate: 1e-2, weights: "neox", ...options });
    expect(() => train({ resume: "checkpoints" })).toThrow(/give resume or weights, not both/);
    expect(() => train({ weights: "nowhere" })).toThrow(/nowhere/);
    expect(() => train({ export: { folder: "out", dtype: "float8" } })).toThrow(/float8/);

    const run = train({ export: "tuned", checkpoint: { folder: "checkpoints" } });
    await run.done;
    const file = ["model.safetensors"];
    const before = tensorsIn(join(folder, "neox"), file);
    const tuned = tensorsIn(join(folder, "tuned"), file);
    expect([...tuned.keys()].sort()).toEqual([...before.keys()].sort());
    for (const [name, values] of tuned) expect(values, name).not.toEqual(before.get(name));
    // What the run learned lies in its checkpoint too, for any other plan to write.
    await run.export("again");
    expect(tensorsIn(join(folder, "again"), file)).toEqual(tuned);
    const whole = await handle.plan(uniformPlan(handle.spec, { ranks: 1, globalBatch: 4 }));
    await whole.export({ folder: "short", dtype: "bfloat16" }, { checkpoint: "checkpoints" });
    for (const [name, values] of tensorsIn(join(folder, "short"), file))
      expect(relativeDifference(vector(values), vector(tuned.get(name)!)), name).toBeLessThan(2 ** -8);
    await expect(whole.export("twice", { checkpoint: "checkpoints", weights: "neox" })).rejects.toThrow(
      /not both/,
    );

    // Weights of more layers than the model: said, not silently dropped.
    writeFileSync(
      join(folder, "neox", "config.json"),
      JSON.stringify({ ...golden.config, num_hidden_layers: 1 }),
    );
    const shallow = modelIn(session, { from: "neox" }, sized);
    const half = await shallow.plan(uniformPlan(shallow.spec, { ranks: 1, globalBatch: 4 }));
    await half.export("shallow", { weights: "neox" });
    expect(notices.join("\n")).toMatch(/12 tensors of neox have no place in neox: gpt_neox\.layers\.1\./);
  });
});

function vector(data: Float32Array): Content {
  return { dtype: "float32", shape: [data.length], data };
}
