import type { TensorView } from "./tensor-view.js";

/** Elements that are neighbours in a file's tensor, and where they lie in a block of the parameter. */
export interface ViewRun {
  /** First element in the file's tensor. */
  readonly fileElement: number;
  /** First element in the block, row-major; the next ones follow `blockStride` apart. */
  readonly blockElement: number;
  readonly blockStride: number;
  readonly count: number;
}

interface Step {
  readonly count: number;
  readonly fileStride: number;
  readonly blockStride: number;
}

interface Piece {
  readonly fileElement: number;
  readonly blockElement: number;
  readonly steps: readonly Step[];
}

/**
 * A range `[from, until)` of an axis whose index is made of levels (outermost first), as boxes over the levels.
 * @param blockStride of the axis in the block
 */
function axisPieces(
  levels: TensorView["axes"][number],
  from: number,
  until: number,
  blockStride: number,
): readonly Piece[] {
  const [level, ...inner] = levels;
  if (!level) return [{ fileElement: 0, blockElement: 0, steps: [] }];
  const width = inner.reduce((product, { extent }) => product * extent, 1);
  const first = Math.floor(from / width);
  const firstWhole = Math.ceil(from / width);
  const endWhole = Math.floor(until / width);
  const part = (index: number, start: number, end: number): readonly Piece[] =>
    axisPieces(inner, start - index * width, end - index * width, blockStride).map((piece) => ({
      ...piece,
      fileElement: piece.fileElement + index * level.stride,
      blockElement: piece.blockElement + (start - from) * blockStride,
    }));
  if (firstWhole > endWhole) return part(first, from, until);
  const pieces: Piece[] = [];
  if (from < firstWhole * width) pieces.push(...part(first, from, firstWhole * width));
  if (endWhole > firstWhole) {
    const step = { count: endWhole - firstWhole, fileStride: level.stride, blockStride: width * blockStride };
    for (const piece of axisPieces(inner, 0, width, blockStride))
      pieces.push({
        fileElement: piece.fileElement + firstWhole * level.stride,
        blockElement: piece.blockElement + (firstWhole * width - from) * blockStride,
        steps: [step, ...piece.steps],
      });
  }
  if (until > endWhole * width && endWhole >= firstWhole)
    pieces.push(...part(endWhole, endWhole * width, until));
  return pieces;
}

/** Steps in the order of the file, outermost first; those that continue one another in file and block are one. */
function merged(steps: readonly Step[]): readonly Step[] {
  const sorted = steps.filter(({ count }) => count > 1).sort((a, b) => b.fileStride - a.fileStride);
  const result: Step[] = [];
  for (const step of sorted) {
    const outer = result.at(-1);
    const continues =
      outer?.fileStride === step.fileStride * step.count &&
      outer.blockStride === step.blockStride * step.count;
    if (continues) result[result.length - 1] = { ...step, count: outer.count * step.count };
    else result.push(step);
  }
  return result;
}

/**
 * How a block of a parameter lies in a file's tensor: runs of neighbours there, each element of the block once.
 *
 * @param block elements `start[axis] ≤ index < start[axis] + extent[axis]` of the parameter
 */
export function* viewRuns(
  view: TensorView,
  block: { readonly start: readonly number[]; readonly extent: readonly number[] },
): Generator<ViewRun> {
  let pieces: readonly Piece[] = [{ fileElement: view.offset, blockElement: 0, steps: [] }];
  let blockStride = 1;
  for (let axis = view.axes.length - 1; axis >= 0; axis--) {
    const from = block.start[axis]!;
    const own = axisPieces(view.axes[axis]!, from, from + block.extent[axis]!, blockStride);
    pieces = own.flatMap((piece) =>
      pieces.map((rest) => ({
        fileElement: piece.fileElement + rest.fileElement,
        blockElement: piece.blockElement + rest.blockElement,
        steps: [...piece.steps, ...rest.steps],
      })),
    );
    blockStride *= block.extent[axis]!;
  }
  for (const { fileElement, blockElement, steps } of pieces) {
    const all = merged(steps);
    const last = all.at(-1);
    const run = last?.fileStride === 1 ? last : { count: 1, fileStride: 1, blockStride: 1 };
    const outer = last === run ? all.slice(0, -1) : all;
    const repeats = outer.reduce((product, { count }) => product * count, 1);
    for (let i = 0; i < repeats; i++) {
      let [rest, inFile, inBlock] = [i, fileElement, blockElement];
      for (let at = outer.length - 1; at >= 0; at--) {
        const index = rest % outer[at]!.count;
        rest = Math.floor(rest / outer[at]!.count);
        inFile += index * outer[at]!.fileStride;
        inBlock += index * outer[at]!.blockStride;
      }
      yield { fileElement: inFile, blockElement: inBlock, blockStride: run.blockStride, count: run.count };
    }
  }
}
