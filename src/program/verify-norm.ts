import { DTYPE_BYTES } from "../base/units.js";
import { product } from "./flat-layout.js";
import type { ParameterSlice, Program } from "./program.js";

/** First element, and the one behind the last. */
type Range = readonly [number, number];

/** Whether the global norm has every element of every gradient once, over all ranks, when its clip factor is taken. */
export function normProblems(programs: readonly Program[]): readonly string[] {
  // Ranks that hold the same share of a parameter count it as one.
  const shares = new Map<string, { readonly slice: ParameterSlice; readonly counted: Range[] }>();
  for (const program of programs) {
    const ranges = countedRanges(program);
    for (const slice of program.parameters) {
      const key = `${slice.name} ${slice.start.join()}`;
      const share = shares.get(key) ?? { slice, counted: [] };
      shares.set(key, share);
      const elements = product(slice.extent);
      for (const [from, to] of ranges.get(slice.flat) ?? []) {
        const range = [
          Math.max(0, from - slice.flatOffset),
          Math.min(elements, to - slice.flatOffset),
        ] as const;
        if (range[1] > range[0]) share.counted.push(range);
      }
    }
  }
  return [...shares.values()].flatMap(({ slice, counted }) => {
    let reached = 0;
    for (const [from, to] of counted.sort((a, b) => a[0] - b[0])) {
      if (from !== reached) break;
      reached = to;
    }
    const elements = product(slice.extent);
    const sum = counted.reduce((total, [from, to]) => total + to - from, 0);
    return reached === elements && sum === elements
      ? []
      : [
          `the norm counts ${sum} elements of the gradient of ${slice.name}, and not each of ${elements} once`,
        ];
  });
}

/** By flat, which elements of the unsharded vector this rank counts. */
function countedRanges({ instructions, tensors, flats }: Program): ReadonlyMap<number, Range[]> {
  let inputs: readonly number[] = [];
  for (const instruction of instructions) {
    if (instruction.op === "clip") break;
    if (instruction.op === "sumSquares")
      inputs = [...(instruction.accumulates ? inputs : []), ...instruction.inputs];
  }
  const flatOf = new Map(flats.map(({ gradient }, flat) => [tensors[gradient]!.buffer, flat]));
  const ranges = new Map<number, Range[]>();
  for (const input of inputs) {
    const { buffer, offsetBytes, shape } = tensors[input]!;
    const flat = flatOf.get(buffer);
    if (flat === undefined) continue;
    const { gradient, gradientStart } = flats[flat]!;
    const whole = tensors[gradient]!;
    const from = gradientStart + (offsetBytes - whole.offsetBytes) / DTYPE_BYTES[whole.dtype];
    ranges.set(flat, [...(ranges.get(flat) ?? []), [from, from + product(shape)]]);
  }
  return ranges;
}
