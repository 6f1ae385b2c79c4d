import type { StageWork } from "../../src/cost/pipeline-time.js";
import { pipelineTime } from "../../src/cost/pipeline-time.js";
import type { Plan } from "../../src/plan/plan.js";
import type { Strategy } from "../../src/plan/strategy.js";
import type { Program } from "../../src/program/program.js";
import { simulateTimes } from "../../src/program/simulate.js";
import { lower, smallModel } from "../program/small-model.js";
import { randomNumbers } from "../search/brute-force.js";

const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);

/** A random plan whose streams overlap only through transfers: no data-parallel collective beside computing. */
export function randomPipeline(random: () => number): Plan {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const stages = random() < 0.05 ? 1 : pick([2, 2, 3, 4, 4, 5]);
  const tensorDegree = stages <= 3 ? pick([1, 2]) : 1;
  const stageLayers = new Array<number>(stages).fill(1);
  for (let extra = Math.floor(random() * 4); extra > 0; extra--) {
    const stage = Math.floor(random() * stages);
    stageLayers[stage] = stageLayers[stage]! + 1;
  }
  const layers = sum(stageLayers);
  const microBatches = pick([1, 2, 3, 4, 6, 8]);
  const tensorSplit = tensorDegree > 1 ? pick(["weights", "sequence"] as const) : "weights";
  const strategy = (recompute: boolean): Strategy => ({
    tensorDegree,
    tensorSplit,
    dataDegree: 1,
    dataParallel: "ddp",
    recompute,
    placement: "consecutive",
  });
  return {
    ranks: stages * tensorDegree,
    globalBatch: microBatches,
    microBatches,
    schedule: pick(["1f1b", "gpipe"]),
    precision: "float32",
    stageLayers,
    layers: Array.from({ length: layers }, () => strategy(random() < 0.4)),
    vocabulary: strategy(false),
  };
}

/**
 * One random plan, compiled to Programs and simulated instruction by instruction under random durations, against the
 * closed recurrence over its stages. Reductions are shorter than any backward behind which they hide, so that only the
 * embedding's shows, and that of the table which embedding and head share.
 */
export function simulatedAndClosed(seed: number): {
  readonly simulatedMs: number;
  readonly closedMs: number;
  readonly stages: number;
} {
  const random = randomNumbers(seed);
  const plan = randomPipeline(random);
  const stages = plan.stageLayers.length;
  const width = plan.ranks / stages;
  const tied = random() < 0.5;
  const { programs } = lower(smallModel(plan.layers.length, { tied }), plan);
  const passes = Array.from({ length: plan.layers.length + 2 }, () => ({
    forward: random() * 10,
    backward: 2 + random() * 18,
    tensor: random() * 3,
    reduce: random(),
  }));
  const tieMs = random() * 20;
  // Their reduction would run beside the collective that ends their backward, which is overlap.
  const begins = new Set(plan.stageLayers.map((_, s) => sum(plan.stageLayers.slice(0, s))).slice(1));
  // The same of a table beside one that both ends share: a single micro-batch writes either in a run of its own.
  if (tied && plan.microBatches === 1) begins.add(-1);
  const links = Array.from({ length: stages }, () => ({ send: random() * 8, gradient: random() * 8 }));
  const updates = Array.from({ length: stages }, () => random());
  const duration = (program: Program, index: number): number => {
    const instruction = program.instructions[index]!;
    const stage = Math.floor(program.rank / width);
    const pass = passes[(instruction.label.layer ?? 0) + 1]!;
    switch (instruction.op) {
      case "run":
        return instruction.label.phase === "backward" ? pass.backward : pass.forward;
      case "send":
      case "receive": {
        const link = links[Math.min(stage, Math.floor(instruction.peer / width))]!;
        return instruction.stream.startsWith("activations") ? link.send : link.gradient;
      }
      case "allGather":
      case "reduceScatter":
      case "allToAll":
      case "allReduce":
        if (instruction.label.phase === "optimizer") return 0;
        if (instruction.stream === "compute") return pass.tensor;
        if (instruction.label.microBatch === undefined) return tieMs;
        return begins.has(instruction.label.layer ?? 0) ? 0 : pass.reduce;
      case "adamw":
        return updates[stage]!;
      default:
        return 0;
    }
  };
  const works = plan.stageLayers.map((_, stage): StageWork => {
    const program = programs[stage * width]!;
    const isLast = stage === stages - 1;
    const lastLayer = sum(plan.stageLayers.slice(0, stage + 1)) - 1;
    let forwardMs = 0;
    let backwardMs = 0;
    let leadMs = 0;
    let afterMs = 0;
    let reduceMs = 0;
    const firstPart = Math.min(...program.instructions.map(({ label }) => label.layer ?? Infinity));
    for (const [index, { stream, label }] of program.instructions.entries()) {
      const ms = duration(program, index);
      if (stream === "reduce" && (label.layer === firstPart || label.microBatch === undefined))
        reduceMs += ms;
      if (stream !== "compute") continue;
      if (label.phase === "optimizer") afterMs += ms;
      else if (label.microBatch !== 0) continue;
      else if (label.phase === "forward") forwardMs += ms;
      else backwardMs += ms;
      if (label.microBatch === 0 && label.phase === "recompute" && label.layer === lastLayer && !isLast)
        leadMs += ms;
    }
    const link = links[stage]!;
    return {
      forwardMs,
      backwardMs,
      leadMs,
      sendMs: isLast ? 0 : link.send,
      gradientMs: isLast ? 0 : link.gradient,
      reduceMs,
      afterMs,
    };
  });
  return {
    simulatedMs: simulateTimes(programs, duration).stepMs,
    closedMs: pipelineTime(plan.schedule, plan.microBatches, works).stepMs,
    stages,
  };
}
