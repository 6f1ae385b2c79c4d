import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DTYPE_BYTES } from "../../src/base/units.js";
import type { Program } from "../../src/program/program.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";
import { openHostPool } from "../../src/runtime/coordinator/host-pool.js";
import type { WorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import { changeBytes, LAYOUT_RANKS, layoutChanges } from "../support/layouts.js";
import { smallModel } from "./small-model.js";

const model = smallModel(2);
const changes = layoutChanges(model);

let pool: WorkerPool;
beforeAll(async () => {
  pool = await openHostPool(LAYOUT_RANKS, 1);
});
afterAll(() => pool.close());

function listedBytes({ instructions, tensors }: Program, index: number): number {
  const instruction = instructions[index]!;
  if (instruction.op !== "exchange") return 0;
  return instruction.sends.reduce((sum, { tensor }) => {
    const { shape, dtype } = tensors[tensor]!;
    return sum + shape.reduce((all, extent) => all * extent, 1) * DTYPE_BYTES[dtype];
  }, 0);
}

test("programs list, and ranks send, the fewest bytes between any two layouts of 8 ranks", async () => {
  expect(changes).toHaveLength(36);
  const rows: string[] = [];
  for (const { name, plan, leastBytes } of changes) {
    const { programs, graphs } = compilePlan(model, plan);
    await pool.load({ programs, graphs, seed: 1, feed: null, firstStep: 0 });
    const [ranks] = await pool.run(1);
    const sentBytes = changeBytes(programs, ({ rank }, index) => ranks![rank]!.sentBytes[index]!);
    expect(changeBytes(programs, listedBytes), name).toBe(leastBytes);
    expect(sentBytes, name).toBe(leastBytes);
    rows.push(`| ${name} | ${leastBytes} | ${sentBytes} |`);
  }
  // docs/benchmarks/relayout.md is this table.
  expect(readFileSync("docs/benchmarks/relayout.md", "utf8")).toContain(rows.join("\n"));
}, 240_000);
