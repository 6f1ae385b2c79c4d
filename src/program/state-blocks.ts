import { GalvatronError } from "../base/errors.js";
import { product } from "./flat-layout.js";
import type { ParameterSlice, Program } from "./program.js";
import { readState } from "./read-state.js";

/** What a rank keeps of every parameter, element by element, in float32. */
export type StateKind = "parameter" | "moment1" | "moment2";

export const STATE_KINDS: readonly StateKind[] = ["parameter", "moment1", "moment2"];

/**
 * A block of a whole parameter: elements `start[axis] ≤ index < start[axis] + extent[axis]`. Whole means as the model
 * knows it: unsharded, and without the rows that pad a vocabulary.
 */
export interface ParameterBlock {
  /** {@link ParameterSlice.name}: "layers.3.attention.query.weight". */
  readonly name: string;
  readonly start: readonly number[];
  readonly extent: readonly number[];
}

/** A block that lies, row-major and in one run, in a tensor of a rank's Program. */
export interface HeldBlock extends ParameterBlock {
  /** Index in {@link Program.tensors}, and the block's first element there. */
  readonly tensor: number;
  readonly offset: number;
}

/** Elements that lie one after another in both of two blocks: offsets from each block's first element. */
export interface BlockRun {
  readonly from: number;
  readonly to: number;
  readonly elements: number;
}

/** Shape of a whole parameter: `fullShape` without the rows that pad the vocabulary under this plan. */
export function wholeShape(slice: Pick<ParameterSlice, "fullShape" | "unpaddedRows">): readonly number[] {
  const { fullShape, unpaddedRows } = slice;
  return unpaddedRows === undefined ? fullShape : [unpaddedRows, ...fullShape.slice(1)];
}

/** The whole parameter as a block. */
export function wholeBlock(name: string, shape: readonly number[]): ParameterBlock {
  return { name, start: shape.map(() => 0), extent: shape };
}

/** Shapes of all parameters of a model, by name, from the Programs of all its ranks. */
export function wholeShapes(programs: readonly Program[]): ReadonlyMap<string, readonly number[]> {
  return new Map(programs.flatMap(({ parameters }) => parameters.map((one) => [one.name, wholeShape(one)])));
}

/**
 * The blocks of whole parameters that a rank's tensors hold, in the order in which they lie there. What is in no
 * block is padding. `computeCopy` holds parameters too, in bfloat16; `gradient` what the last step left. Of a vector that
 * is gathered once a step (ZeRO-1 and 2) what this rank updates: the rest is older than the last step, unless the vector
 * is whole between steps.
 *
 * @param part - `updated`: no more than this rank updates of it, so that of all that share a vector each holds its own
 */
export function heldBlocks(
  program: Program,
  what: StateKind | "gradient" | "computeCopy",
  part: "whole" | "updated" = "whole",
): readonly HeldBlock[] {
  return program.parameters.flatMap((slice) => {
    const flat = program.flats[slice.flat]!;
    const tensor = flat[what];
    if (tensor < 0) return [];
    const start =
      what === "moment1" || what === "moment2"
        ? flat.shardStart
        : what === "computeCopy"
          ? flat.computeCopyStart
          : flat[`${what}Start`];
    const [from, elements] =
      what === "gradient" || (part === "whole" && flat.wholeBetweenSteps && what === readState(flat))
        ? [start, product(program.tensors[tensor]!.shape)]
        : [flat.shardStart, flat.shardElements];
    return blocksOfSlice(slice, from, from + elements).map((block) => ({
      ...block,
      tensor,
      offset: slice.flatOffset + block.offset - start,
    }));
  });
}

/** What `[from, until)` of the unsharded flat vector holds of one slice; `offset` counts in the slice. */
function blocksOfSlice(
  slice: ParameterSlice,
  from: number,
  until: number,
): readonly (ParameterBlock & { readonly offset: number })[] {
  // Padding is the last rows of the whole parameter, so also the last of the slice.
  const shape = wholeShape(slice);
  const extent = slice.extent.map((size, axis) => Math.min(size, shape[axis]! - slice.start[axis]!));
  if (extent.some((size) => size <= 0)) return [];
  const first = Math.max(0, from - slice.flatOffset);
  const last = Math.min(product(extent), until - slice.flatOffset);
  return rangeBlocks(extent, first, last).map((block) => ({
    name: slice.name,
    start: block.start.map((at, axis) => at + slice.start[axis]!),
    extent: block.extent,
    offset: block.offset,
  }));
}

interface RangeBlock {
  readonly start: readonly number[];
  readonly extent: readonly number[];
  readonly offset: number;
}

/** Cuts elements `[from, until)` of a row-major array into the fewest blocks: a part of a row, rows, a part of a row. */
function rangeBlocks(shape: readonly number[], from: number, until: number): readonly RangeBlock[] {
  if (from >= until) return [];
  if (shape.length === 0) return [{ start: [], extent: [], offset: 0 }];
  const inner = shape.slice(1);
  const row = product(inner);
  const within = (index: number): readonly RangeBlock[] =>
    rangeBlocks(inner, Math.max(0, from - index * row), Math.min(row, until - index * row)).map((block) => ({
      start: [index, ...block.start],
      extent: [1, ...block.extent],
      offset: index * row + block.offset,
    }));
  const firstWhole = Math.ceil(from / row);
  const endWhole = Math.floor(until / row);
  if (firstWhole > endWhole) return within(endWhole);
  const blocks: RangeBlock[] = from < firstWhole * row ? [...within(firstWhole - 1)] : [];
  if (endWhole > firstWhole)
    blocks.push({
      start: [firstWhole, ...inner.map(() => 0)],
      extent: [endWhole - firstWhole, ...inner],
      offset: firstWhole * row,
    });
  if (until > endWhole * row) blocks.push(...within(endWhole));
  return blocks;
}

/** What two blocks of one parameter have in common; null where that is nothing. */
export function intersection(a: ParameterBlock, b: ParameterBlock): ParameterBlock | null {
  if (a.name !== b.name) return null;
  const start = a.start.map((at, axis) => Math.max(at, b.start[axis]!));
  const extent = start.map(
    (at, axis) => Math.min(a.start[axis]! + a.extent[axis]!, b.start[axis]! + b.extent[axis]!) - at,
  );
  return extent.every((size) => size > 0) ? { name: a.name, start, extent } : null;
}

/** How `common`, which lies in both, is copied from block `from` to block `to`: the fewest runs, in order. */
export function* blockRuns(
  common: ParameterBlock,
  from: ParameterBlock,
  to: ParameterBlock,
): Generator<BlockRun> {
  const axes = common.extent.length;
  let axis = axes - 1;
  let elements = axes === 0 ? 1 : common.extent[axis]!;
  const whole = (at: number): boolean =>
    common.extent[at] === from.extent[at] && common.extent[at] === to.extent[at];
  while (axis > 0 && whole(axis)) elements *= common.extent[--axis]!;
  const outer = common.extent.slice(0, Math.max(0, axis));
  const rows = product(outer);
  const fromStrides = strides(from.extent);
  const toStrides = strides(to.extent);
  const offsetIn = (block: ParameterBlock, own: readonly number[]): number =>
    common.start.reduce((sum, at, i) => sum + (at - block.start[i]!) * own[i]!, 0);
  const fromFirst = offsetIn(from, fromStrides);
  const toFirst = offsetIn(to, toStrides);
  for (let row = 0; row < rows; row++) {
    let rest = row;
    let fromAt = fromFirst;
    let toAt = toFirst;
    for (let at = outer.length - 1; at >= 0; at--) {
      const index = rest % outer[at]!;
      rest = Math.floor(rest / outer[at]!);
      fromAt += index * fromStrides[at]!;
      toAt += index * toStrides[at]!;
    }
    yield { from: fromAt, to: toAt, elements };
  }
}

function strides(extent: readonly number[]): readonly number[] {
  return extent.map((_, axis) => product(extent.slice(axis + 1)));
}

/** A block that one rank writes, for all that hold it. */
export interface WrittenBlock extends HeldBlock {
  readonly state: StateKind;
}

/**
 * Who writes which block of a checkpoint: every element of every state once, by a rank that updates it. Replicas of a
 * layer's states go, as one, to the holder that has least to write, so that all ranks write about as much.
 *
 * @returns by rank, in the order of the rank's tensors
 * @throws GalvatronError PROGRAM_INVALID when the Programs do not hold every element
 */
export function writtenBlocks(programs: readonly Program[]): readonly (readonly WrittenBlock[])[] {
  const byKey = new Map<string, { readonly holders: number[]; readonly blocks: WrittenBlock[] }>();
  for (const [rank, program] of programs.entries()) {
    for (const state of STATE_KINDS) {
      for (const block of heldBlocks(program, state, "updated")) {
        const key = `${state} ${block.name} ${block.start.join()} ${block.extent.join()}`;
        const same = byKey.get(key) ?? { holders: [], blocks: [] };
        same.holders.push(rank);
        same.blocks.push({ ...block, state });
        byKey.set(key, same);
      }
    }
  }
  requireAll(
    programs,
    [...byKey.values()].map(({ blocks }) => blocks[0]!),
  );
  // What the same ranks hold in one of their tensors is read from it together.
  const groups = new Map<
    string,
    { readonly holders: readonly number[]; readonly blocks: WrittenBlock[][] }
  >();
  for (const { holders, blocks } of byKey.values()) {
    const key = holders.map((rank, index) => `${rank}:${blocks[index]!.tensor}`).join();
    const group = groups.get(key) ?? { holders, blocks: [] };
    group.blocks.push(blocks);
    groups.set(key, group);
  }
  const sized = [...groups.values()].map((group) => ({
    ...group,
    elements: group.blocks.reduce((sum, [block]) => sum + product(block!.extent), 0),
  }));
  // No choice first, then the largest first.
  sized.sort(
    (a, b) => Number(a.holders.length > 1) - Number(b.holders.length > 1) || b.elements - a.elements,
  );
  const load = programs.map(() => 0);
  const written: WrittenBlock[][] = programs.map(() => []);
  for (const { holders, blocks, elements } of sized) {
    const least = holders.reduce(
      (best, _, index) => (load[holders[index]!]! < load[holders[best]!]! ? index : best),
      0,
    );
    const rank = holders[least]!;
    load[rank]! += elements;
    written[rank]!.push(...blocks.map((same) => same[least]!));
  }
  return written.map((blocks) => blocks.sort((a, b) => a.tensor - b.tensor || a.offset - b.offset));
}

function requireAll(programs: readonly Program[], blocks: readonly WrittenBlock[]): void {
  const held = new Map<string, number>();
  for (const { state, name, extent } of blocks)
    held.set(`${state} ${name}`, (held.get(`${state} ${name}`) ?? 0) + product(extent));
  for (const [name, shape] of wholeShapes(programs))
    for (const state of STATE_KINDS) {
      const found = held.get(`${state} ${name}`) ?? 0;
      if (found !== product(shape))
        throw new GalvatronError(
          "PROGRAM_INVALID",
          `The ranks hold ${found} of ${product(shape)} elements of the ${state} of ${name} (please report this with the plan).`,
          { name, state },
        );
    }
}
