import { DTYPE_BYTES } from "../base/units.js";
import { dataGroup, gridRanks } from "../cluster/rank-groups.js";
import { stageOfRank, strategyGrid } from "../plan/stages.js";
import type { ExecutionOrder } from "./execution-order.js";
import { product } from "./flat-layout.js";
import type { AdamwInstruction, FlatParameters, ParameterSlice, Program } from "./program.js";
import { isGroupInstruction, type Rendezvous } from "./rendezvous.js";
import { addWeights, WeightMap, type WeightRange } from "./weight-map.js";

/**
 * Runs the programs on numbers that stand for "the gradient of layer l by micro-batch m on rank r" and asks, at every
 * update, whether each element is the sum of all of them that it should hold: none missing, none twice. The loss must
 * hold each micro-batch's own. The numbers are drawn at random from whole numbers, so that sums are exact and cannot agree by chance.
 */
export function gradientProblems(
  programs: readonly Program[],
  rendezvous: Rendezvous,
  execution: ExecutionOrder,
): readonly string[] {
  const problems: string[] = [];
  const world = programs.map((program) => new RankContent(program));
  const { order, completed } = execution;
  for (let at = 0; at < completed; ) {
    const rank = order[2 * at]!;
    const index = order[2 * at + 1]!;
    const meeting = rendezvous.meetingOf[rank]![index]!;
    if (meeting >= 0) {
      const members = rendezvous.members[meeting]!;
      meet(world, members);
      at += members.length / 2;
      continue;
    }
    const instruction = programs[rank]!.instructions[index]!;
    if (instruction.op === "adamw") problems.push(...updateProblems(programs, world[rank]!, instruction));
    else world[rank]!.run(index);
    at++;
  }
  const head = programs[0]!.plan.layers.length;
  for (const [rank, content] of world.entries()) {
    const { loss } = programs[rank]!.io;
    if (loss < 0) continue;
    const shares = content.read(loss);
    const { microBatches } = programs[rank]!.plan;
    const each = product(programs[rank]!.tensors[loss]!.shape) / microBatches;
    for (let microBatch = 0; microBatch < microBatches; microBatch++) {
      const [share] = windowOf(shares, microBatch * each, (microBatch + 1) * each);
      if (share?.weight !== contribution(head, rank, microBatch))
        problems.push(`rank ${rank}: the loss of micro-batch ${microBatch} is missing or another's`);
    }
  }
  return problems;
}

/** A whole number below 2^32 that stands for one contribution. */
function contribution(layer: number, rank: number, microBatch: number): number {
  let state =
    (Math.imul(layer + 2, 0x9e3779b1) ^
      Math.imul(rank + 1, 0x85ebca6b) ^
      Math.imul(microBatch + 1, 0xc2b2ae35)) >>>
    0;
  for (let round = 0; round < 3; round++) {
    state = Math.imul(state ^ (state >>> 16), 0x45d9f3b) >>> 0;
  }
  return state + 1;
}

function microBatchSum(microBatches: number, layer: number, rank: number): number {
  let sum = 0;
  for (let microBatch = 0; microBatch < microBatches; microBatch++)
    sum += contribution(layer, rank, microBatch);
  return sum;
}

/** Abstract contents of one rank's buffers. */
class RankContent {
  readonly program: Program;
  readonly #buffers: (WeightMap | undefined)[] = [];

  constructor(program: Program) {
    this.program = program;
  }

  read(tensor: number): readonly WeightRange[] {
    const [buffer, start, end] = this.#place(tensor);
    return this.#buffers[buffer]?.read(start, end) ?? [];
  }

  write(tensor: number, content: readonly WeightRange[]): void {
    const [buffer, start, end] = this.#place(tensor);
    if (content.length === 0 && this.#buffers[buffer] === undefined) return;
    this.#buffers[buffer] ??= new WeightMap();
    this.#buffers[buffer].write(start, end, content);
  }

  /** What a rank does alone. */
  run(index: number): void {
    const instruction = this.program.instructions[index]!;
    switch (instruction.op) {
      case "run": {
        const { layer = 0, microBatch = 0, phase } = instruction.label;
        if (phase === "recompute") return;
        const weight = contribution(layer, this.program.rank, microBatch);
        for (const output of instruction.outputs) {
          this.write(output, [{ start: 0, end: product(this.program.tensors[output]!.shape), weight }]);
        }
        return;
      }
      case "copy":
        this.write(instruction.output, this.read(instruction.input));
        return;
      case "accumulate":
        this.write(
          instruction.output,
          addWeights([this.read(instruction.input), this.read(instruction.output)]),
        );
        return;
      case "fill":
        this.write(instruction.output, []);
        return;
      default: // nothing else that a rank does alone touches gradients before their update
    }
  }

  #place(tensor: number): readonly [number, number, number] {
    const { buffer, offsetBytes, dtype, shape } = this.program.tensors[tensor]!;
    const start = offsetBytes / DTYPE_BYTES[dtype];
    return [buffer, start, start + product(shape)];
  }
}

/** What ranks do together. Exchanges and transfers move activations: of no interest here. */
function meet(world: readonly RankContent[], members: readonly number[]): void {
  const byRank = new Map<number, number>();
  for (let at = 0; at < members.length; at += 2) byRank.set(members[at]!, members[at + 1]!);
  const program = world[members[0]!]!.program;
  const first = program.instructions[members[1]!]!;
  if (!isGroupInstruction(first) || first.op === "exchange" || first.op === "broadcast") return;
  const group = program.groups[first.group]!;
  const parts = group.map((rank) => {
    const instruction = world[rank]!.program.instructions[byRank.get(rank)!]!;
    return { rank, instruction: instruction as typeof first };
  });
  const inputs = parts.map(({ rank, instruction }) => world[rank]!.read(instruction.input));
  if (inputs.every((input) => input.length === 0) && !first.accumulates) return;
  const size = product(program.tensors[first.input]!.shape);
  const piece = size / group.length;
  const whole =
    first.op === "allGather"
      ? inputs.flatMap((input, index) => shifted(input, index * size))
      : first.op === "allToAll"
        ? []
        : addWeights(inputs);
  for (const [index, { rank, instruction }] of parts.entries()) {
    const own = (content: readonly WeightRange[]): readonly WeightRange[] =>
      windowOf(content, index * piece, (index + 1) * piece);
    let content = whole;
    if (first.op === "reduceScatter") content = own(whole);
    if (instruction.accumulates) content = addWeights([world[rank]!.read(instruction.output), content]);
    if (first.op === "allToAll") content = inputs.flatMap((input, from) => shifted(own(input), from * piece));
    world[rank]!.write(instruction.output, content);
  }
}

function shifted(ranges: readonly WeightRange[], by: number): readonly WeightRange[] {
  return ranges.map(({ start, end, weight }) => ({ start: start + by, end: end + by, weight }));
}

function windowOf(ranges: readonly WeightRange[], from: number, to: number): readonly WeightRange[] {
  return ranges.flatMap(({ start, end, weight }) =>
    end > from && start < to
      ? [{ start: Math.max(start, from) - from, end: Math.min(end, to) - from, weight }]
      : [],
  );
}

function updateProblems(
  programs: readonly Program[],
  content: RankContent,
  instruction: AdamwInstruction,
): readonly string[] {
  const { program } = content;
  const index = program.flats.findIndex(({ moment1 }) => moment1 === instruction.moment1);
  const flat = program.flats[index];
  if (flat === undefined) return [`rank ${program.rank}: an update of states that belong to no layer`];
  const held = content.read(instruction.gradient);
  const problems: string[] = [];
  for (const slice of program.parameters) {
    if (slice.flat !== index) continue;
    const from = Math.max(slice.flatOffset - flat.shardStart, 0);
    const to = Math.min(slice.flatOffset + product(slice.extent) - flat.shardStart, flat.shardElements);
    if (to <= from) continue;
    const weight = expectedWeight(programs, program, flat, slice);
    const inside = windowOf(held, from, to);
    if (
      inside.length !== 1 ||
      inside[0]!.start !== 0 ||
      inside[0]!.end !== to - from ||
      inside[0]!.weight !== weight
    ) {
      problems.push(
        `rank ${program.rank}: the gradient of ${slice.name} is not the sum of every micro-batch's share, counted once`,
      );
    }
  }
  return problems;
}

/** Sum of all contributions that a parameter's gradient must hold. */
function expectedWeight(
  programs: readonly Program[],
  program: Program,
  flat: FlatParameters,
  slice: ParameterSlice,
): number {
  const { plan, rank } = program;
  const layers = plan.layers.length;
  const strategy = plan.layers[flat.layer] ?? plan.vocabulary;
  const grid = strategyGrid(plan, strategy, stageOfRank(plan, rank));
  const isWhole = product(slice.extent) >= product(slice.fullShape);
  const ranks = strategy.tensorSplit === "sequence" || isWhole ? gridRanks(grid) : dataGroup(grid, rank);
  const sumOf = (layer: number, shift: number): number =>
    ranks.reduce((sum, one) => sum + microBatchSum(plan.microBatches, layer, one + shift), 0);
  if (!flat.tied) return sumOf(flat.layer, 0);
  const distance = programs.length - programs.length / plan.stageLayers.length;
  const onFirst = stageOfRank(plan, rank) === 0;
  return onFirst ? sumOf(-1, 0) + sumOf(layers, distance) : sumOf(-1, -distance) + sumOf(layers, 0);
}
