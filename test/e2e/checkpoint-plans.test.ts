import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { modelSpec, smallModel } from "../../src/families/registry.js";
import { describePlan } from "../../src/plan/describe-plan.js";
import { drawPlan } from "../../src/plan/draw-plan.js";
import type { Plan } from "../../src/plan/plan.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { openHostPool } from "../../src/runtime/coordinator/host-pool.js";
import type { WorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import { BATCH, differing, trainee, wholeStates } from "../support/checkpoints.js";
import { picker } from "../support/pick.js";

/** Pairs of plans for each model; the long run sets it. */
const PAIRS = Number(process.env["CHECKPOINT_PAIRS"] ?? 2);
const STEPS_BEFORE = 2;
const STEPS_AFTER = 3;
/** Losses against one rank's: rounding of sums in float32; eight bits of mantissa in bfloat16. */
const BOUNDS = { float32: 1e-5, bfloat16: 1e-2, "bfloat16-gradients": 1e-2 };

const models = [
  ...["gpt", "llama", "bert", "t5", "vit", "swin"].map((family) => smallModel(family)),
  {
    ...modelSpec("gpt", { layers: 4, hidden: 32, heads: 4, sequence: 16, tied: true, vocabulary: 61 }),
    name: "tied gpt",
  },
];

let pool: WorkerPool;
let folder: string;
beforeAll(async () => {
  pool = await openHostPool(8, 1);
  folder = mkdtempSync(join(tmpdir(), "galvatron-plans-"));
});
afterAll(async () => {
  await pool.close();
  rmSync(folder, { recursive: true, force: true });
});

it.each(models.map((model) => [model.name, model] as const))(
  "%s: saved under one random plan, loaded under another: the same bits, and the curve of one rank",
  async (_, model) => {
    const trained = trainee(pool, model);
    const alone = await trained.load(uniformPlan(model, { ranks: 1, globalBatch: BATCH }));
    const reference = await trained.steps(alone, 0, STEPS_BEFORE + STEPS_AFTER);
    const pick = picker(model.name.length);
    const draw = (): Plan =>
      drawPlan(
        model,
        {
          ranks: [1, 2, 4, 8][pick(4)]!,
          globalBatch: BATCH,
          precision: (["float32", "float32", "bfloat16", "bfloat16-gradients"] as const)[pick(4)]!,
        },
        pick,
      );
    const worst = { float32: 0, bfloat16: 0, "bfloat16-gradients": 0 };
    for (let pair = 0; pair < PAIRS; pair++) {
      const [from, to] = [draw(), draw()];
      const said = `${describePlan(from).join("\n")}\n→\n${describePlan(to).join("\n")}`;
      const before = await trained.load(from);
      await trained.steps(before, 0, STEPS_BEFORE);
      const saved = await trained.save(from, before, join(folder, `${model.name}-${pair}`), STEPS_BEFORE);
      const states = await wholeStates(pool, before);
      const after = await trained.load(to, saved);
      expect(differing(states, await wholeStates(pool, after)), said).toEqual([]);
      const losses = await trained.steps(after, STEPS_BEFORE, STEPS_AFTER);
      const apart = Math.max(
        ...losses.map((loss, step) => Math.abs(loss / reference[STEPS_BEFORE + step]! - 1)),
      );
      const precision = from.precision === "float32" ? to.precision : from.precision;
      expect(apart, said).toBeLessThanOrEqual(BOUNDS[precision]);
      worst[precision] = Math.max(worst[precision], apart);
      rmSync(join(folder, `${model.name}-${pair}`), { recursive: true });
    }
    if (PAIRS > 2) process.stderr.write(`${model.name}: ${PAIRS} pairs, ${JSON.stringify(worst)}\n`);
  },
  60_000 + PAIRS * 30_000,
);
