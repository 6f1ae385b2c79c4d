import { GalvatronError } from "../base/errors.js";
import { DTYPE_BYTES } from "../base/units.js";
import { collectiveMs } from "../cost/collective-time.js";
import { type CostModel, inPipeline } from "../cost/cost-model.js";
import { groupShape } from "../cost/group-shape.js";
import { kindShape } from "../cost/layer-cost.js";
import { layerWork } from "../cost/layer-lookup.js";
import { ADAMW_BYTES_PER_ELEMENT, streamMs } from "../cost/state-time.js";
import { EMBEDDING_KIND, HEAD_KIND } from "../model/model-profile.js";
import { samplesPerRank } from "../plan/stages.js";
import { product } from "./flat-layout.js";
import type { InstructionLabel, Program, RunInstruction } from "./program.js";
import type { DurationOf } from "./simulate.js";
import { tensorBytes } from "./tensor-bytes.js";

/**
 * Durations for {@link simulate} from profiles: a layer's measured time, shared out over its graphs by their
 * floating-point operations; measured collectives; element-wise work at the optimizer's measured bandwidth.
 */
export function programDurations(cost: CostModel): DurationOf {
  const known = new WeakMap<Program, ProgramTimes>();
  return (program, index) => {
    let times = known.get(program);
    if (times === undefined) {
      times = new ProgramTimes(cost, program);
      known.set(program, times);
    }
    return times.of(index);
  };
}

class ProgramTimes {
  readonly #cost: CostModel;
  readonly #program: Program;
  /** Operations of one whole pass, by layer and pass. */
  readonly #passFlops = new Map<string, number>();
  readonly #passMs = new Map<string, number>();
  readonly #collectives = new Map<string, number>();

  constructor(cost: CostModel, program: Program) {
    const { stageLayers, microBatches } = program.plan;
    this.#cost = inPipeline(cost, stageLayers.length, microBatches);
    this.#program = program;
    const counted = new Map<string, number>();
    for (const instruction of program.instructions) {
      const { label } = instruction;
      if (instruction.op !== "run" || label.phase === "recompute") continue;
      const key = passKey(label);
      const microBatch = label.microBatch ?? 0;
      if ((counted.get(key) ?? microBatch) !== microBatch) continue;
      counted.set(key, microBatch);
      const { flops } = program.graphs[instruction.graph]!;
      this.#passFlops.set(key, (this.#passFlops.get(key) ?? 0) + flops);
    }
  }

  of(index: number): number {
    const { hardware } = this.#cost;
    const instruction = this.#program.instructions[index]!;
    switch (instruction.op) {
      case "run":
        return this.#runMs(instruction);
      case "allReduce":
      case "allGather":
      case "reduceScatter":
      case "allToAll":
      case "broadcast": {
        const bytes = Math.max(this.#bytes(instruction.input), this.#bytes(instruction.output));
        const ranks = this.#program.groups[instruction.group]!;
        const ms = this.#collectiveMs(instruction.op, ranks, bytes, instruction.stream === "compute");
        // What it adds to is read besides.
        return instruction.accumulates
          ? ms + streamMs(this.#bytes(instruction.output), hardware.optimizerGBps)
          : ms;
      }
      case "exchange": {
        const sum = (pieces: typeof instruction.sends): number =>
          pieces.reduce((bytes, { tensor }) => bytes + this.#bytes(tensor), 0);
        const partners = Math.max(instruction.sends.length, instruction.receives.length) + 1;
        const moved = Math.max(sum(instruction.sends), sum(instruction.receives));
        if (moved === 0) return hardware.launchMs;
        const ranks = this.#program.groups[instruction.group]!;
        const stride = Math.max(1, Math.floor(ranks.length / partners));
        const among = Array.from({ length: partners }, (_, i) => i * stride);
        return this.#collectiveMs("allToAll", among, (moved * partners) / (partners - 1), true);
      }
      case "send":
      case "receive":
        return this.#collectiveMs(
          "sendReceive",
          [this.#program.rank, instruction.peer].sort((a, b) => a - b),
          this.#bytes(instruction.tensor),
          false,
        );
      case "copy":
        return this.#movedMs(this.#bytes(instruction.input) + this.#bytes(instruction.output));
      case "copyBlock":
        return this.#movedMs(this.#bytes(instruction.output) * 2);
      case "accumulate":
        return this.#movedMs(this.#bytes(instruction.input) + this.#bytes(instruction.output) * 2);
      case "fill":
        return this.#movedMs(this.#bytes(instruction.output));
      case "sumSquares":
        return this.#movedMs(instruction.inputs.reduce((bytes, tensor) => bytes + this.#bytes(tensor), 0));
      case "clip":
        return hardware.launchMs;
      case "adamw": {
        const elements = product(this.#program.tensors[instruction.parameter]!.shape);
        const copy = instruction.computeCopy >= 0 ? 2 : 0;
        const narrower = 4 - DTYPE_BYTES[this.#program.tensors[instruction.gradient]!.dtype];
        return this.#movedMs(elements * (ADAMW_BYTES_PER_ELEMENT + copy - narrower));
      }
    }
  }

  #bytes(tensor: number): number {
    return tensorBytes(this.#program.tensors[tensor]!);
  }

  #movedMs(bytes: number): number {
    const { launchMs, optimizerGBps } = this.#cost.hardware;
    return launchMs + streamMs(bytes, optimizerGBps);
  }

  #collectiveMs(
    collective: Parameters<typeof collectiveMs>[1],
    ranks: readonly number[],
    bytes: number,
    betweenGraphs: boolean,
  ): number {
    const sorted = [...ranks].sort((a, b) => a - b);
    const stride = (sorted[1] ?? 0) - (sorted[0] ?? 0);
    const key = `${collective} ${ranks.length} ${stride} ${bytes} ${betweenGraphs}`;
    let known = this.#collectives.get(key);
    if (known === undefined) {
      const shape = groupShape(this.#cost.cluster, ranks.length, stride);
      const times = betweenGraphs ? this.#cost.betweenGraphs : this.#cost.collectives;
      known = collectiveMs(times, collective, shape, bytes);
      this.#collectives.set(key, known);
    }
    return known;
  }

  #runMs(instruction: RunInstruction): number {
    const key = passKey(instruction.label);
    let passMs = this.#passMs.get(key);
    if (passMs === undefined) {
      passMs = this.#measuredPass(instruction.label);
      this.#passMs.set(key, passMs);
    }
    const { flops } = this.#program.graphs[instruction.graph]!;
    const total = this.#passFlops.get(key) ?? 0;
    return total > 0 ? (passMs * flops) / total : passMs;
  }

  #measuredPass(label: InstructionLabel): number {
    const { model, layers } = this.#cost;
    const { plan } = this.#program;
    const layer = label.layer ?? 0;
    const kind = layer < 0 ? EMBEDDING_KIND : (model.layers[layer] ?? HEAD_KIND);
    const strategy = plan.layers[layer] ?? plan.vocabulary;
    const { sequence } = kindShape(model, kind);
    const samples = samplesPerRank(plan, strategy);
    const { tensorDegree, tensorSplit } = strategy;
    const work = layerWork(layers, kind, tensorDegree, tensorSplit, samples, sequence);
    if (work === undefined) {
      throw new GalvatronError(
        "PROFILE_INCOMPLETE",
        `Nobody profiled ${kind} under ${tensorSplit} split ${tensorDegree}; profile the model for it first.`,
        { kind, tensorDegree, tensorSplit },
      );
    }
    return label.phase === "backward" ? work.backwardMs : work.forwardMs;
  }
}

/** Recompute runs the graphs of forward. */
function passKey(label: InstructionLabel): string {
  return `${label.layer} ${label.phase === "backward" ? "backward" : "forward"}`;
}
