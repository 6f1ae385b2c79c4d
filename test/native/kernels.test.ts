import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { NativeWorker } from "../../src/device/addon.js";
import { loadAddon } from "../../src/device/load-addon.js";
import { onnxRuntimePath } from "../../src/device/onnx-runtime-path.js";
import { EXACT_LIMBS, EXACT_RUN } from "../../src/program/program.js";
import { bfloat16Bits, bfloat16Value, bytesOf, draftProgram, valuesOf } from "../support/native-program.js";

let worker: NativeWorker;
beforeAll(() => {
  worker = loadAddon().openWorker({
    device: "host",
    deviceIndex: 0,
    rank: 0,
    ranks: 1,
    onnxRuntimePath: onnxRuntimePath(),
    sharedName: "",
    threads: 2,
    deadlineMs: 10_000,
  });
});
afterAll(() => worker.close());

/** A number as float32 arithmetic sees it. */
const f = Math.fround;

const pseudo = (i: number, salt: number): number => {
  const x = Math.sin((i + 1) * 12.9898 + salt * 78.233) * 43758.5453;
  return x - Math.floor(x) - 0.5;
};
const pseudos = (elements: number, salt: number, scale = 1): Float32Array =>
  Float32Array.from({ length: elements }, (_, i) => pseudo(i, salt) * scale);

/** Byte at which two tensors differ, -1 for none. */
function firstWrong(got: Uint8Array, want: Uint8Array): number {
  if (got.length !== want.length) return Math.min(got.length, want.length);
  return got.findIndex((byte, i) => byte !== want[i]);
}

/** The slow twin of AdamW: float32 at every step, as PyTorch's single-tensor loop orders it. */
function adamwTwin(
  state: { p: Float32Array; g: Float32Array; m: Float32Array; v: Float32Array },
  decayElements: number,
  hyper: {
    rate: number;
    beta1: number;
    beta2: number;
    epsilon: number;
    decay: number;
    step: number;
  },
  clip: number,
): void {
  const { p, g, m, v } = state;
  const correction1 = f(1 - hyper.beta1 ** hyper.step);
  const correction2 = f(1 - hyper.beta2 ** hyper.step);
  const stepSize = f(f(hyper.rate) / correction1);
  const inverseRoot = f(1 / Math.sqrt(correction2));
  const keep = f(1 - f(hyper.rate) * hyper.decay);
  for (let i = 0; i < p.length; i++) {
    const gradient = f(g[i]! * f(clip));
    m[i] = f(f(f(hyper.beta1) * m[i]!) + f(f(1 - hyper.beta1) * gradient));
    v[i] = f(f(f(hyper.beta2) * v[i]!) + f(f(f(1 - hyper.beta2) * gradient) * gradient));
    const denominator = f(f(f(Math.sqrt(v[i]!)) * inverseRoot) + f(hyper.epsilon));
    p[i] = f(f(p[i]! * (i < decayElements ? keep : 1)) - f(stepSize * f(m[i]! / denominator)));
  }
}

describe("adamw", () => {
  test.each([
    [1, 0, "float32"],
    [5, 2, "float32"],
    [1_003, 517, "float32"],
    [1_003, 517, "bfloat16"],
    [4_096, 4_096, "float32"],
    // Over two blocks, so over two threads, decayed up to the middle of the second.
    [700_000, 600_000, "float32"],
    [700_000, 600_000, "bfloat16"],
  ] as const)(
    "%i elements, %i decayed, %s gradients: three steps with the twin's bits, and the bfloat16 copy",
    async (elements, decayElements, dtype) => {
      const draft = draftProgram(0);
      const [parameter, moment1, moment2] = [0, 1, 2].map(() => draft.tensor("float32", [elements]));
      const gradient = draft.tensor(dtype, [elements]);
      const hyper = draft.tensor("float32", [8]);
      const clip = draft.tensor("float32", [2]);
      const computeCopy = draft.tensor("bfloat16", [elements]);
      draft.add({
        op: "adamw",
        parameter: parameter!,
        gradient,
        moment1: moment1!,
        moment2: moment2!,
        decayElements,
        hyper,
        clip,
        computeCopy,
      });
      await worker.load(draft.build(), {});
      const state = {
        p: pseudos(elements, 1),
        g: pseudos(elements, 2, 0.01),
        m: new Float32Array(elements),
        v: new Float32Array(elements),
      };
      await worker.write(parameter!, bytesOf("float32", state.p));
      await worker.write(clip, bytesOf("float32", [0.75, 3]));
      for (let step = 1; step <= 3; step++) {
        state.g.set(pseudos(elements, 10 + step, 0.01));
        const options = { rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.1, step };
        await worker.write(gradient, bytesOf(dtype, state.g));
        state.g.set(valuesOf(dtype, bytesOf(dtype, state.g)));
        await worker.write(
          hyper,
          bytesOf("float32", [1e-3, 0.9, 0.999, 1e-8, 0.1, 1 - 0.9 ** step, 1 - 0.999 ** step, 1]),
        );
        await worker.step();
        adamwTwin(state, decayElements, options, 0.75);
        expect(firstWrong(await worker.read(parameter!), bytesOf("float32", state.p))).toBe(-1);
        expect(firstWrong(await worker.read(moment1!), bytesOf("float32", state.m))).toBe(-1);
        expect(firstWrong(await worker.read(moment2!), bytesOf("float32", state.v))).toBe(-1);
        expect(firstWrong(await worker.read(computeCopy), bytesOf("bfloat16", state.p))).toBe(-1);
      }
    },
  );
});

test("squares are summed over all tensors in float64, and clipping follows from them", async () => {
  const draft = draftProgram(0);
  const sizes = [1, 17, 1_100_000, 33];
  const inputs = sizes.map((size) => draft.tensor("float32", [size]));
  const half = draft.tensor("bfloat16", [9]);
  const sumSquares = draft.tensor("float64", [1]);
  const hyper = draft.tensor("float32", [8]);
  const clip = draft.tensor("float32", [2]);
  draft.add({ op: "sumSquares", inputs: [...inputs, half], output: sumSquares });
  draft.add({ op: "clip", sumSquares, hyper, output: clip });
  await worker.load(draft.build(), {});
  let want = 0;
  for (const [k, tensor] of inputs.entries()) {
    const values = pseudos(sizes[k]!, k, 100);
    for (const value of values) want += value * value;
    await worker.write(tensor, bytesOf("float32", values));
  }
  await worker.write(half, bytesOf("bfloat16", Array(9).fill(1.5)));
  want += 9 * 2.25;

  const clipped = async (maxNorm: number): Promise<number[]> => {
    await worker.write(hyper, bytesOf("float32", [0, 0, 0, 0, 0, 0, 0, maxNorm]));
    await worker.step();
    return valuesOf("float32", await worker.read(clip));
  };
  const norm = Math.sqrt(want);
  expect(await clipped(1)).toEqual([expect.closeTo(1 / norm, 9), f(norm)]);
  expect(Math.abs(valuesOf("float64", await worker.read(sumSquares))[0]! / want - 1)).toBeLessThan(1e-12);
  expect(await clipped(1e6)).toEqual([1, f(norm)]);
  expect(await clipped(0)).toEqual([1, f(norm)]);
});

test("exact squares are the same bits however runs are dealt out", async () => {
  const scales = [1e-30, 1e-12, 1, 1e3, 1e15];
  const values = Array.from({ length: 80 * EXACT_RUN }, (_, i) => f(pseudos(1, i, scales[i % 5]!)[0]!));
  values.push(2 ** -84, 2 ** 127, 0, -0, f(1e-45));
  const at = (run: number): number => run * EXACT_RUN;
  // The halves of a run's sixteen lanes are added onto each other.
  const runSums = Array.from({ length: 81 }, (_, run) => {
    const lanes: number[] = new Array(16).fill(0);
    for (const [i, value] of values.slice(at(run), at(run + 1)).entries()) lanes[i % 16]! += value * value;
    for (let half = 8; half >= 1; half /= 2) for (let i = 0; i < half; i++) lanes[i]! += lanes[i + half]!;
    return lanes[0]!;
  });
  // Every square is a whole multiple of 2^-298.
  const exact = runSums.reduce((sum, value) => sum + BigInt(value * 2 ** 298), 0n);
  const norms: number[] = [];
  for (const pieces of [
    [values],
    [values.slice(0, at(3)), values.slice(at(3))],
    [values.slice(at(50)), values.slice(at(7), at(50)), values.slice(0, at(7))],
  ]) {
    const draft = draftProgram(0);
    const inputs = pieces.map((piece) => draft.tensor("float32", [piece.length]));
    const sumSquares = draft.tensor("float64", [EXACT_LIMBS]);
    const hyper = draft.tensor("float32", [8]);
    const clip = draft.tensor("float32", [2]);
    draft.add({ op: "sumSquares", inputs, output: sumSquares });
    draft.add({ op: "clip", sumSquares, hyper, output: clip });
    await worker.load(draft.build(), {});
    for (const [i, piece] of pieces.entries()) await worker.write(inputs[i]!, bytesOf("float32", piece));
    await worker.write(hyper, bytesOf("float32", Array(8).fill(0)));
    await worker.step();
    const limbs = valuesOf("float64", await worker.read(sumSquares));
    const found = limbs.reduce((sum, limb, k) => sum + (BigInt(limb) << BigInt(24 * k)), 0n);
    // Sums below 2^-168 are cut off run by run.
    expect((exact >> 130n) - found).toBeLessThan(BigInt(runSums.length));
    expect((exact >> 130n) - found).toBeGreaterThanOrEqual(0n);
    norms.push(valuesOf("float32", await worker.read(clip))[1]!);
  }
  expect(new Set(norms).size).toBe(1);
  expect(norms[0]).toBe(f(Math.sqrt(Number(exact >> 130n)) * 2 ** -84));

  const draft = draftProgram(0);
  const input = draft.tensor("float32", [3]);
  const sumSquares = draft.tensor("float64", [EXACT_LIMBS]);
  draft.add({ op: "sumSquares", inputs: [input], output: sumSquares });
  await worker.load(draft.build(), {});
  await worker.write(input, bytesOf("float32", [1, Infinity, 2]));
  await worker.step();
  expect(valuesOf("float64", await worker.read(sumSquares))[0]).toBeNaN();
});

test("copies convert: bfloat16 rounds to even and keeps infinities, integers and truth carry over", async () => {
  const special = [
    0,
    -0,
    1,
    -1.5,
    1.00390625,
    1.01171875,
    3.4e38,
    1e-40,
    Infinity,
    -Infinity,
    Number.NaN,
    65_520,
    1e-7,
  ];
  const draft = draftProgram(0);
  const from = draft.tensor("float32", [special.length]);
  const half = draft.tensor("bfloat16", [special.length]);
  const back = draft.tensor("float32", [special.length]);
  const sixteen = draft.tensor("float16", [special.length]);
  const sixteenBack = draft.tensor("float32", [special.length]);
  const double = draft.tensor("float64", [special.length]);
  const flags = draft.tensor("bool", [special.length]);
  draft.add({ op: "copy", input: from, output: half });
  draft.add({ op: "copy", input: half, output: back });
  draft.add({ op: "copy", input: from, output: sixteen });
  draft.add({ op: "copy", input: sixteen, output: sixteenBack });
  draft.add({ op: "copy", input: from, output: double });
  draft.add({ op: "copy", input: from, output: flags });
  await worker.load(draft.build(), {});
  await worker.write(from, bytesOf("float32", special));
  await worker.step();
  expect(valuesOf("float32", await worker.read(back))).toEqual(
    special.map((value) => bfloat16Value(bfloat16Bits(value))),
  );
  // Below the normal range numbers are taken as zero where they are computed with; moving bits keeps them.
  const flushed = special.map((value) => (value === 1e-40 ? 0 : f(value)));
  expect(valuesOf("float64", await worker.read(double))).toEqual(flushed);
  expect(valuesOf("bool", await worker.read(flags))).toEqual(flushed.map((value) => (value === 0 ? 0 : 1)));
  expect(valuesOf("float32", await worker.read(sixteenBack))).toEqual([
    0,
    -0,
    1,
    -1.5,
    1.00390625,
    1.01171875,
    Infinity,
    0,
    Infinity,
    -Infinity,
    Number.NaN,
    Infinity,
    2 ** -23,
  ]);
});

test("accumulating bfloat16 into float32 adds the exact value; into bfloat16 it rounds once", async () => {
  const elements = 1_001;
  const draft = draftProgram(0);
  const half = draft.tensor("bfloat16", [elements]);
  const single = draft.tensor("float32", [elements]);
  const other = draft.tensor("bfloat16", [elements]);
  draft.add({ op: "accumulate", input: half, output: single });
  draft.add({ op: "accumulate", input: half, output: other });
  await worker.load(draft.build(), {});
  const a = [...pseudos(elements, 1)].map((value) => bfloat16Value(bfloat16Bits(value)));
  const b = [...pseudos(elements, 2)].map((value) => bfloat16Value(bfloat16Bits(value)));
  await worker.write(half, bytesOf("bfloat16", a));
  await worker.write(single, bytesOf("float32", pseudos(elements, 3)));
  await worker.write(other, bytesOf("bfloat16", b));
  await worker.step();
  const single0 = pseudos(elements, 3);
  expect(valuesOf("float32", await worker.read(single))).toEqual(a.map((value, i) => f(single0[i]! + value)));
  expect(valuesOf("bfloat16", await worker.read(other))).toEqual(
    a.map((value, i) => bfloat16Value(bfloat16Bits(f(b[i]! + value)))),
  );
});

test("fill writes every element type", async () => {
  const draft = draftProgram(0);
  const tensors = (["float32", "float64", "bfloat16", "int64", "int32", "uint8", "bool"] as const).map(
    (dtype) => {
      const tensor = draft.tensor(dtype, [5]);
      draft.add({ op: "fill", value: 3, output: tensor });
      return { dtype, tensor };
    },
  );
  await worker.load(draft.build(), {});
  await worker.step();
  for (const { dtype, tensor } of tensors)
    expect(valuesOf(dtype, await worker.read(tensor))).toEqual(Array(5).fill(dtype === "bool" ? 1 : 3));
});

test("block copies move exactly the block, over one to four axes", async () => {
  const axis = fc
    .record({ input: fc.integer({ min: 1, max: 5 }), output: fc.integer({ min: 1, max: 5 }) })
    .chain(({ input, output }) =>
      fc.integer({ min: 0, max: Math.min(input, output) }).chain((extent) =>
        fc.record({
          input: fc.constant(input),
          output: fc.constant(output),
          extent: fc.constant(extent),
          inputStart: fc.integer({ min: 0, max: input - extent }),
          outputStart: fc.integer({ min: 0, max: output - extent }),
        }),
      ),
    );
  await fc.assert(
    fc.asyncProperty(fc.array(axis, { minLength: 1, maxLength: 4 }), async (axes) => {
      const draft = draftProgram(0);
      const inputShape = axes.map((it) => it.input);
      const outputShape = axes.map((it) => it.output);
      const input = draft.tensor("int32", inputShape);
      const output = draft.tensor("int32", outputShape);
      draft.add({
        op: "copyBlock",
        input,
        output,
        inputStart: axes.map((it) => it.inputStart),
        outputStart: axes.map((it) => it.outputStart),
        extent: axes.map((it) => it.extent),
      });
      await worker.load(draft.build(), {});
      const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
      const source = Array.from({ length: count(inputShape) }, (_, i) => i + 1);
      await worker.write(input, bytesOf("int32", source));
      await worker.step();
      const want = Array.from({ length: count(outputShape) }, (_, flat) => {
        let rest = flat;
        const place = outputShape.map(() => 0);
        for (let k = axes.length - 1; k >= 0; k--) {
          place[k] = rest % outputShape[k]!;
          rest = Math.floor(rest / outputShape[k]!);
        }
        const from = axes.map((it, k) => place[k]! - it.outputStart + it.inputStart);
        const inside = axes.every(
          (it, k) => place[k]! >= it.outputStart && place[k]! < it.outputStart + it.extent,
        );
        return inside ? source[from.reduce((at, index, k) => at * inputShape[k]! + index, 0)]! : 0;
      });
      expect(valuesOf("int32", await worker.read(output))).toEqual(want);
    }),
    { numRuns: 60 },
  );
});
