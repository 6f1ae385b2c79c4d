import { DTYPE_BYTES } from "../../src/base/units.js";
import { placeOf } from "../../src/cluster/rank-groups.js";
import type { ModelSpec } from "../../src/model/model-spec.js";
import type { Plan } from "../../src/plan/plan.js";
import { strategyGrid } from "../../src/plan/stages.js";
import type { Strategy } from "../../src/plan/strategy.js";
import { strategyText } from "../../src/plan/strategy-text.js";
import { canonicalStrategy, uniformPlan } from "../../src/plan/uniform.js";
import type { Program } from "../../src/program/program.js";

export const LAYOUT_RANKS = 8;

/** From one layout of a border to another: two layers of a model with just two. */
export interface LayoutChange {
  readonly name: string;
  readonly plan: Plan;
  /** Bytes that any redistribution must move: every rank's target block less what it holds of it. */
  readonly leastBytes: number;
}

/** All pairs of layouts of eight ranks. */
export function layoutChanges(model: ModelSpec): readonly LayoutChange[] {
  const base = uniformPlan(model, { ranks: LAYOUT_RANKS, globalBatch: LAYOUT_RANKS });
  const layouts = (
    [
      [1, "consecutive"],
      [2, "consecutive"],
      [2, "strided"],
      [4, "consecutive"],
      [4, "strided"],
      [8, "consecutive"],
    ] as const
  ).map(([tensorDegree, placement]) => {
    const dataDegree = LAYOUT_RANKS / tensorDegree;
    return canonicalStrategy({ ...base.layers[0]!, tensorDegree, dataDegree, placement });
  });
  return layouts.flatMap((from) =>
    layouts.map((to) => ({
      name: `${strategyText(from)} → ${strategyText(to)}`,
      plan: { ...base, layers: [from, to], vocabulary: to },
      leastBytes: leastBytes(model, base, from, to),
    })),
  );
}

function leastBytes(model: ModelSpec, plan: Plan, from: Strategy, to: Strategy): number {
  const { hidden, sequence } = Object.values(model.kinds)[0]!;
  const whole = sequence * plan.globalBatch * hidden * DTYPE_BYTES.float32;
  const [a, b] = [strategyGrid(plan, from, 0), strategyGrid(plan, to, 0)];
  const overlap = (i: number, n: number, j: number, m: number): number =>
    Math.max(0, Math.min((i + 1) / n, (j + 1) / m) - Math.max(i / n, j / m));
  let least = 0;
  for (let rank = 0; rank < LAYOUT_RANKS; rank++) {
    const [have, need] = [placeOf(a, rank), placeOf(b, rank)];
    const kept =
      overlap(have.tensorIndex, from.tensorDegree, need.tensorIndex, to.tensorDegree) *
      overlap(have.dataIndex, from.dataDegree, need.dataIndex, to.dataDegree);
    least += (1 / LAYOUT_RANKS - kept) * whole;
  }
  return least;
}

/** Bytes of the layout changes into layer 1, forward, summed over all ranks, by what `sent` says of an instruction. */
export function changeBytes(
  programs: readonly Program[],
  sent: (program: Program, instruction: number) => number,
): number {
  return programs.reduce(
    (all, program) =>
      all +
      program.instructions.reduce(
        (sum, { op, label }, index) =>
          op === "exchange" && label.layer === 1 ? sum + sent(program, index) : sum,
        0,
      ),
    0,
  );
}
