import { DTYPE_BYTES } from "../base/units.js";
import { product } from "./flat-layout.js";
import type { Program } from "./program.js";

/**
 * Whether the global norm counts every element of every gradient once, over all ranks: what `sumSquares` instructions have
 * added up when `clip` reads it.
 */
export function normProblems(programs: readonly Program[]): readonly string[] {
  const counted = new Map<string, number>();
  const expected = new Map<string, number>();
  for (const program of programs) {
    const ranges = countedRanges(program);
    for (const { name, fullShape, extent, flat, flatOffset } of program.parameters) {
      expected.set(name, product(fullShape));
      const end = flatOffset + product(extent);
      let elements = 0;
      for (const [from, to] of ranges.get(flat) ?? [])
        elements += Math.max(0, Math.min(end, to) - Math.max(flatOffset, from));
      counted.set(name, (counted.get(name) ?? 0) + elements);
    }
  }
  return [...expected].flatMap(([name, elements]) =>
    counted.get(name) === elements
      ? []
      : [`the norm counts ${counted.get(name)} of ${elements} elements of the gradient of ${name}`],
  );
}

/** By flat, which elements of the unsharded vector this rank counts. */
function countedRanges({ instructions, tensors, flats }: Program): ReadonlyMap<number, [number, number][]> {
  const inputs: number[] = [];
  for (const instruction of instructions) {
    if (instruction.op !== "sumSquares") continue;
    if (!instruction.accumulates) inputs.length = 0;
    inputs.push(...instruction.inputs);
  }
  const flatOf = new Map(flats.map(({ gradient }, flat) => [tensors[gradient]!.buffer, flat]));
  const ranges = new Map<number, [number, number][]>();
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
