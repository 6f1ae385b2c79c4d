import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import { drawPlan } from "../../src/plan/draw-plan.js";
import { matmulGraph } from "../../src/profiler/matmul-graph.js";
import { measureReserve } from "../../src/profiler/measure-matmul.js";
import { type MicroTensor, microProgram } from "../../src/profiler/micro-program.js";
import { messageBytesByRank } from "../../src/program/message-memory.js";
import { type GraphMemory, processMemory } from "../../src/program/process-memory.js";
import type { Instruction } from "../../src/program/program.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";
import { openHostPool } from "../../src/runtime/coordinator/host-pool.js";
import { hashNumbers } from "../../src/runtime/data/sample-order.js";

const RANKS = 2;
const PAGE = 4096;
const LARGE_PAGE = 2 ** 21;
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
    const messageBytes = messageBytesByRank(programs, pool.options.sharedBytesPerRank);
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
        runBytes: Math.max(...bytes.filter((_, i) => i % 3 === 0)),
        constantBytes: bytes.filter((_, i) => i % 3 === 1).reduce((a, b) => a + b, 0),
        sessionBytes: bytes.filter((_, i) => i % 3 === 2).reduce((a, b) => a + b, 0),
      };
      const predicted = processMemory(program, workspace, reservedBytes, messageBytes[program.rank]!);
      const rank = last[program.rank]!;
      expect(rank.arenaBytes).toBe(program.arenaBytes);
      expect(rank.onnxRuntimeBytes).toBe(predicted.workspaceBytes);
      const { arena, largest } = guardedMappings(pool.pids[program.rank]!, program.arenaBytes);
      expect(arena).toBe(Math.ceil(program.arenaBytes / PAGE) * PAGE);
      expect(largest).toBe(Math.ceil(workspace.runBytes / LARGE_PAGE) * LARGE_PAGE);
      expect(rank.memory.sharedBytes).toBe(predicted.messageBytes);
      expect(Math.abs(predicted.totalBytes / rank.memory.peakBytes - 1)).toBeLessThan(0.02);
    }
    await pool.close();
  }
  await alone.close();
}, 120_000);

/** Resident bytes of a process's mappings between two guards: of the arena, by its size, and of the largest. */
function guardedMappings(pid: number, arenaBytes: number): { arena: number | null; largest: number | null } {
  const mappings: { start: number; end: number; guard: boolean; resident: number }[] = [];
  for (const line of readFileSync(`/proc/${pid}/smaps`, "latin1").split("\n")) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line);
    if (range) {
      const [start, end] = [Number.parseInt(range[1]!, 16), Number.parseInt(range[2]!, 16)];
      mappings.push({ start, end, guard: range[3] === "---p", resident: 0 });
    }
    const resident = /^Rss:\s*(\d+)/.exec(line);
    if (resident) mappings.at(-1)!.resident = Number(resident[1]) * 1024;
  }
  const guarded = mappings.filter(({ start, end, guard }, i) => {
    const [before, after] = [mappings[i - 1], mappings[i + 1]];
    return !guard && before?.guard && before.end === start && after?.guard && after.start === end;
  });
  const bytesOf = ({ start, end }: { start: number; end: number }): number => end - start;
  const arena = guarded.find((one) => bytesOf(one) === Math.ceil(arenaBytes / PAGE) * PAGE);
  const largest = [...guarded].sort((a, b) => bytesOf(b) - bytesOf(a))[0];
  return { arena: arena?.resident ?? null, largest: largest?.resident ?? null };
}
