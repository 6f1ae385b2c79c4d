import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import { drawPlan } from "../../src/plan/draw-plan.js";
import { matmulGraph } from "../../src/profiler/matmul-graph.js";
import { measureReserve } from "../../src/profiler/measure-matmul.js";
import { type MicroTensor, microProgram } from "../../src/profiler/micro-program.js";
import { type GraphMemory, processMemory } from "../../src/program/process-memory.js";
import type { Instruction } from "../../src/program/program.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";
import { openHostPool } from "../../src/runtime/coordinator/host-pool.js";
import { hashNumbers } from "../../src/runtime/data/sample-order.js";

const RANKS = 2;
const PAGE = 4096;
const model = modelSpec("gpt", { layers: 4, hidden: 256, heads: 8, sequence: 128, vocabulary: 4096 });

/** What each graph takes inside ONNX Runtime, run once on its own. */
function aloneProgram(graphs: Parameters<typeof microProgram>[0]["graphs"]): ReturnType<typeof microProgram> {
  const tensors: MicroTensor[] = [];
  const add = ({ name, dtype, shape }: MicroTensor): number => tensors.push({ name, dtype, shape }) - 1;
  const instructions = graphs!.map(
    (graph, index): Instruction => ({
      op: "run",
      stream: "compute",
      waits: [],
      label: { phase: "forward" },
      graph: index,
      inputs: graph.inputs.map(add),
      outputs: graph.outputs.map(add),
    }),
  );
  return microProgram({ rank: 0, ranks: 1, tensors, instructions, graphs: graphs! });
}

// The full set, 100 plans of all families: test/bench/memory.mjs, docs/benchmarks/memory.md.
it("the system counts for a rank's process what its Program predicts", async () => {
  const alone = await openHostPool(RANKS, 1);
  const { reservedBytes } = await measureReserve(alone, matmulGraph);
  for (let draw = 0; draw < 3; draw++) {
    let drawn = 0;
    const pick = (count: number): number => hashNumbers(41, draw, drawn++) % count;
    const { programs, graphs } = compilePlan(model, drawPlan(model, { ranks: RANKS, globalBatch: 8 }, pick));
    const pool = await openHostPool(RANKS, 1);
    await pool.load({ programs, graphs, seed: 1, feed: null, firstStep: 0 });
    const last = (await pool.run(4)).at(-1)!;
    for (const program of programs) {
      await alone.load({
        programs: [aloneProgram(program.graphs)],
        graphs,
        seed: null,
        feed: null,
        firstStep: 0,
      });
      const bytes = (await alone.run(2))[1]![0]!.graphBytes;
      const workspace: GraphMemory = {
        runBytes: Math.max(...bytes.filter((_, i) => i % 2 === 0)),
        constantBytes: bytes.filter((_, i) => i % 2 === 1).reduce((a, b) => a + b, 0),
      };
      const { sharedBytesPerRank } = pool.options;
      const predicted = processMemory(program, workspace, reservedBytes, sharedBytesPerRank);
      const rank = last[program.rank]!;
      expect(rank.arenaBytes).toBe(program.arenaBytes);
      expect(rank.onnxRuntimeBytes).toBe(predicted.workspaceBytes);
      expect(residentMappings(pool.pids[program.rank]!, program.arenaBytes)).toContain(
        Math.ceil(program.arenaBytes / PAGE) * PAGE,
      );
      expect(Math.abs(predicted.totalBytes / rank.memory.peakBytes - 1)).toBeLessThan(0.04);
    }
    await pool.close();
  }
  await alone.close();
}, 120_000);

/** Resident bytes of a process's mappings of so many bytes. */
function residentMappings(pid: number, bytes: number): readonly number[] {
  const found: number[] = [];
  let size = 0;
  for (const line of readFileSync(`/proc/${pid}/smaps`, "latin1").split("\n")) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (range) size = Number.parseInt(range[2]!, 16) - Number.parseInt(range[1]!, 16);
    const resident = /^Rss:\s*(\d+)/.exec(line);
    if (resident && size === Math.ceil(bytes / PAGE) * PAGE) found.push(Number(resident[1]) * 1024);
  }
  return found;
}
