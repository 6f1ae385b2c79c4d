import { expect, test } from "vitest";
import { DTYPE_BYTES } from "../../src/base/units.js";
import { placeOf } from "../../src/cluster/rank-groups.js";
import { strategyGrid } from "../../src/plan/stages.js";
import type { Strategy } from "../../src/plan/strategy.js";
import { strategyText } from "../../src/plan/strategy-text.js";
import { canonicalStrategy, uniformPlan } from "../../src/plan/uniform.js";
import type { Program } from "../../src/program/program.js";
import { lower, smallModel } from "./small-model.js";

const RANKS = 8;
const model = smallModel(2);
const { hidden, sequence } = model.kinds.decoder!;
const base = uniformPlan(model, { ranks: RANKS, globalBatch: RANKS });

function strategy(tensorDegree: number, placement: Strategy["placement"]): Strategy {
  const dataDegree = RANKS / tensorDegree;
  return canonicalStrategy({ ...base.layers[0]!, tensorDegree, dataDegree, placement });
}

const layouts = [
  strategy(1, "consecutive"),
  strategy(2, "consecutive"),
  strategy(2, "strided"),
  strategy(4, "consecutive"),
  strategy(4, "strided"),
  strategy(8, "consecutive"),
];

/** Bytes that all ranks send in layout changes into layer 1, forward, and out of it, backward. */
function movedBytes(programs: readonly Program[]): number {
  let bytes = 0;
  for (const { instructions, tensors } of programs) {
    for (const instruction of instructions) {
      if (instruction.op !== "exchange" || instruction.label.layer !== 1) continue;
      for (const { tensor } of instruction.sends) {
        const { shape, dtype } = tensors[tensor]!;
        bytes += shape.reduce((all, extent) => all * extent, 1) * DTYPE_BYTES[dtype];
      }
    }
  }
  return bytes;
}

test("programs move the fewest bytes between any two layouts of 8 ranks", () => {
  const table: Record<string, string> = {};
  for (const from of layouts) {
    for (const to of layouts) {
      const plan = { ...base, layers: [from, to], vocabulary: to };
      const [a, b] = [strategyGrid(plan, from, 0), strategyGrid(plan, to, 0)];
      // Every rank must receive what it needs and does not hold: its target block less the overlap with its own.
      let least = 0;
      for (let rank = 0; rank < RANKS; rank++) {
        const [have, need] = [placeOf(a, rank), placeOf(b, rank)];
        const overlap = (i: number, n: number, j: number, m: number): number =>
          Math.max(0, Math.min((i + 1) / n, (j + 1) / m) - Math.max(i / n, j / m));
        const kept =
          overlap(have.tensorIndex, from.tensorDegree, need.tensorIndex, to.tensorDegree) *
          overlap(have.dataIndex, from.dataDegree, need.dataIndex, to.dataDegree);
        least += (1 / RANKS - kept) * sequence * RANKS * hidden * 4;
      }
      const moved = movedBytes(lower(model, plan).programs);
      const name = `${strategyText(from)} → ${strategyText(to)}`;
      expect(moved, name).toBeCloseTo(least, 6);
      table[name] = `${moved} of ${sequence * RANKS * hidden * 4} bytes`;
    }
  }
  expect(Object.keys(table)).toHaveLength(36);
});
