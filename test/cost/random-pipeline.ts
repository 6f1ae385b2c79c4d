import type { StageWork } from "../../src/cost/pipeline-time.js";
import { pipelineTime } from "../../src/cost/pipeline-time.js";
import type { Plan } from "../../src/plan/plan.js";
import type { Strategy } from "../../src/plan/strategy.js";
import type { Program } from "../../src/program/program.js";
import { type DurationOf, simulateTimes } from "../../src/program/simulate.js";
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
    // A sequence split's ranks share states, which the canonical order reduces beside computing.
    gradientOrder:
      microBatches > 1 && tensorSplit === "sequence" ? "deferred" : pick(["deferred", "canonical"]),
    stageLayers,
    layers: Array.from({ length: layers }, () => strategy(random() < 0.4)),
    vocabulary: strategy(false),
  };
}

/** What of a rank's gradient reductions sticks out behind its last backward: each waits for its gradient and for the one before. */
function reductionTailMs(program: Program, microBatches: number, duration: DurationOf): number {
  const ends = new Float64Array(program.instructions.length);
  let computed = 0;
  let reduced = 0;
  for (const [index, { stream, label, waits }] of program.instructions.entries()) {
    if (stream === "compute" && label.microBatch === microBatches - 1 && label.phase !== "forward") {
      computed += duration(program, index);
      ends[index] = computed;
    }
    if (stream !== "reduce" || label.phase !== "reduce") continue;
    const ready = waits.reduce((latest, wait) => Math.max(latest, ends[wait]!), reduced);
    reduced = ready + duration(program, index);
    ends[index] = reduced;
  }
  return Math.max(0, reduced - computed);
}

/**
 * One random plan, compiled to Programs and simulated instruction by instruction under random durations, against the
 * closed recurrence over its stages. Reductions of any length run behind backward and behind each other; what sticks
 * out of a stage is what its own last backward leaves of them. Nothing slows anything else down.
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
    backward: random() * 20,
    tensor: random() * 3,
    reduce: random() < 0.5 ? random() : random() * 40,
  }));
  const tieMs = random() * 20;
  const addTableMs = random() * 5;
  const normMs = plan.ranks > 1 ? random() * 5 : 0;
  const links = Array.from({ length: stages }, () => ({ send: random() * 8, gradient: random() * 8 }));
  const updates = Array.from({ length: stages }, () => random());
  const duration = (program: Program, index: number): number => {
    const instruction = program.instructions[index]!;
    const stage = Math.floor(program.rank / width);
    const { layer, phase, microBatch } = instruction.label;
    const pass = passes[(layer ?? 0) + 1]!;
    switch (instruction.op) {
      case "run":
        return phase === "backward" ? pass.backward : pass.forward;
      case "send":
      case "receive": {
        const link = links[Math.min(stage, Math.floor(instruction.peer / width))]!;
        return instruction.stream.startsWith("activations") ? link.send : link.gradient;
      }
      case "allGather":
      case "reduceScatter":
      case "allToAll":
      case "allReduce":
        if (phase === "optimizer") return normMs;
        if (instruction.stream === "compute") return pass.tensor;
        return microBatch === undefined ? tieMs : pass.reduce;
      case "accumulate":
        // What the embedding adds to the head's gradient of their table: every micro-batch, in the canonical order once,
        // behind the reductions. Other gradients are added from the second micro-batch on, which the price charges to
        // all alike: no time here.
        if (plan.gradientOrder === "canonical" && instruction.stream === "compute") return 0;
        return stages === 1 && layer === -1 && program.tensors[instruction.output]!.name.includes("tied")
          ? addTableMs
          : 0;
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
    let afterMs = normMs;
    for (const [index, { stream, label }] of program.instructions.entries()) {
      const ms = duration(program, index);
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
      reduceMs: reductionTailMs(program, plan.microBatches, duration),
      afterMs,
    };
  });
  return {
    simulatedMs: simulateTimes(programs, duration).stepMs,
    closedMs: pipelineTime(plan.schedule, plan.microBatches, works).stepMs,
    stages,
  };
}
