import { describe, expect, it } from "vitest";
import { KEY_MASK, MIX_CONSTANTS, mixKeys } from "../../src/base/mix.js";
import type { Value } from "../../src/graph/ir.js";
import { LayerScope } from "../../src/graph/layer-scope.js";
import { attentionDropout, dropout, dropPath } from "../../src/graph/layers/dropout.js";
import { lowerToOnnx } from "../../src/graph/lower.js";
import { dropoutKeys } from "../../src/runtime/data/dropout-keys.js";
import { runOnnx } from "./run-onnx.js";
import { ONE_RANK } from "./simulate-layer.js";

const RATE = 0.3;
const LAYER = 7;

interface MaskRequest {
  readonly shape: readonly number[];
  readonly samples: number;
  readonly place?: number;
  readonly seed?: number;
  readonly layer?: number;
  readonly firstSample?: number;
  readonly active?: boolean;
  /** Of attention probabilities, with so many heads. */
  readonly heads?: number;
  /** Of whole branches, with these rates by layer. */
  readonly paths?: readonly number[];
}

/** What one rank makes of ones: 0 where dropped, else 1 / (1 − rate). */
async function maskOf(request: MaskRequest): Promise<readonly number[]> {
  const {
    shape,
    samples,
    place = 0,
    seed = 1,
    layer = LAYER,
    firstSample = 0,
    heads,
    paths,
    active = true,
  } = request;
  const scope = new LayerScope(
    { kind: "x", strategy: ONE_RANK, samples, precision: "float32", lossTokens: 1 },
    "float32",
    false,
    { hidden: RATE, attention: RATE },
  );
  for (let before = 0; before < place; before++) scope.dropoutPlace();
  const x = scope.g.input("float32", shape);
  const y = paths
    ? dropPath(scope, x, paths)
    : heads === undefined
      ? dropout(scope, x)
      : attentionDropout(scope, x, heads);
  const named: readonly (readonly [string, Value])[] = [
    ["x", x],
    ["keys", scope.inputs.get("dropout")!.value],
    ["layer", scope.layerNumber()],
  ];
  const port = ([name, value]: readonly [string, Value]) => ({
    name,
    dtype: value.dtype,
    shape: value.shape,
  });
  const bytes = lowerToOnnx("mask", scope.g.nodes, named, [["y", y]], { customOps: true });
  const count = shape.reduce((a, b) => a * b, 1);
  const contents = [
    new Float32Array(count).fill(1),
    Array.from(dropoutKeys(seed, firstSample, samples, active), Number),
    [layer],
  ];
  const inputs = named.map((one, i) => [port(one), { ...port(one), data: contents[i]! }] as const);
  const [output] = await runOnnx(bytes, inputs, [port(["y", y])]);
  return Array.from(output!.data);
}

const correlation = (a: readonly number[], b: readonly number[]): number => {
  const mean = (v: readonly number[]): number => v.reduce((sum, x) => sum + x, 0) / v.length;
  const [ma, mb] = [mean(a), mean(b)];
  const dot = (u: readonly number[], mu: number, v: readonly number[], mv: number): number =>
    u.reduce((sum, x, i) => sum + (x - mu) * (v[i]! - mv), 0);
  return dot(a, ma, b, mb) / Math.sqrt(dot(a, ma, a, ma) * dot(b, mb, b, mb));
};

const SEQUENCE = 64;
const SAMPLES = 8;
const WIDTH = 256;
const shape = [SEQUENCE, SAMPLES, WIDTH];
const COUNT = SEQUENCE * SAMPLES * WIDTH;
/** Of a statistic whose standard deviation is 1 / √count; a one in 2 million event. */
const SIGMAS = 5;

describe("a mask of dropout", () => {
  it("is the function of keys that its documentation says, bit for bit", async () => {
    const mask = await maskOf({ shape: [6, 2, 10], samples: 2, place: 3 });
    const keys = dropoutKeys(1, 0, 2);
    for (const [i, value] of mask.entries()) {
      const [row, sample, column] = [Math.floor(i / 20), Math.floor(i / 10) % 2, i % 10];
      const placed = mixKeys(Number(keys[3 * sample]), Number(keys[3 * sample + 1]), LAYER * 32 + 3);
      const [row0, row1] = mixKeys(...placed, row);
      const [column0, column1] = mixKeys(MIX_CONSTANTS[0], MIX_CONSTANTS[1], column);
      const product = BigInt(row0 + column0) * BigInt(row1 + column1);
      const kept = BigInt.asUintN(46, product) >= BigInt(Math.round(RATE * 2 ** 46));
      expect(value).toBe(kept ? Math.fround(1 / (1 - RATE)) : 0);
    }
  });

  it("drops the share that was asked for", async () => {
    const mask = await maskOf({ shape, samples: SAMPLES });
    const dropped = mask.filter((value) => value === 0).length / COUNT;
    expect(Math.abs(dropped - RATE)).toBeLessThan(SIGMAS * Math.sqrt((RATE * (1 - RATE)) / COUNT));
    for (const [axis, extent, stride] of [
      ["row", SEQUENCE, SAMPLES * WIDTH],
      ["sample", SAMPLES, WIDTH],
      ["column", WIDTH, 1],
    ] as const)
      for (let at = 0; at < extent; at++) {
        const own = mask.filter((_, i) => Math.floor(i / stride) % extent === at);
        const share = own.filter((value) => value === 0).length / own.length;
        const deviation = Math.sqrt((RATE * (1 - RATE)) / own.length);
        expect(Math.abs(share - RATE), `${axis} ${at}`).toBeLessThan(SIGMAS * deviation);
      }
  });

  it("has nothing to do with its neighbours', in any direction", async () => {
    const mask = await maskOf({ shape, samples: SAMPLES });
    for (const shift of [1, 2, WIDTH, 2 * WIDTH, SAMPLES * WIDTH, SAMPLES * WIDTH + 1, 3 * SAMPLES * WIDTH])
      expect(Math.abs(correlation(mask.slice(shift), mask.slice(0, -shift))), `shift ${shift}`).toBeLessThan(
        SIGMAS / Math.sqrt(COUNT - shift),
      );
    const others = await Promise.all([
      maskOf({ shape, samples: SAMPLES, layer: LAYER + 1 }),
      maskOf({ shape, samples: SAMPLES, place: 1 }),
      maskOf({ shape, samples: SAMPLES, seed: 2 }),
      maskOf({ shape, samples: SAMPLES, firstSample: SAMPLES }),
    ]);
    for (const other of others)
      expect(Math.abs(correlation(mask, other))).toBeLessThan(SIGMAS / Math.sqrt(COUNT));
    // Of four corners of a rectangle none follows from the other three.
    const corner = (row: number, column: number): readonly number[] =>
      mask.filter((_, i) => Math.floor(i / (SAMPLES * WIDTH)) % 2 === row && i % 2 === column);
    const odd = (a: readonly number[], b: readonly number[]): readonly number[] =>
      a.map((value, i) => Number((value === 0) !== (b[i] === 0)));
    const [left, right] = [odd(corner(0, 0), corner(0, 1)), odd(corner(1, 0), corner(1, 1))];
    expect(Math.abs(correlation(left, right))).toBeLessThan(SIGMAS / Math.sqrt(COUNT / 4));
  });

  it("goes with the sample, whichever rank and micro-batch it is in", async () => {
    const whole = await maskOf({ shape, samples: SAMPLES });
    const second = await maskOf({
      shape: [SEQUENCE, SAMPLES / 2, WIDTH],
      samples: SAMPLES / 2,
      firstSample: SAMPLES / 2,
    });
    const rows = whole.filter((_, i) => Math.floor(i / WIDTH) % SAMPLES >= SAMPLES / 2);
    expect(second).toEqual(rows);
  });

  it("keeps everything as it is where the model is only evaluated", async () => {
    const hidden = await maskOf({ shape: [4, 2, 16], samples: 2, active: false });
    const attention = await maskOf({ shape: [4, 4, 8, 16], samples: 2, heads: 4, active: false });
    expect(new Set([...hidden, ...attention])).toEqual(new Set([1]));
  });

  it("of whole branches takes samples, with the rate of the layer, and grows the others", async () => {
    const rates = Array.from({ length: LAYER + 2 }, (_, layer) => layer / 20);
    const many = 4096;
    const mask = await maskOf({ shape: [3, many, 2], samples: many, paths: rates });
    const rate = rates[LAYER]!;
    for (const [i, value] of mask.entries()) expect(value).toBe(mask[2 * (Math.floor(i / 2) % many)]);
    const first = mask.slice(0, 2 * many).filter((_, i) => i % 2 === 0);
    expect(new Set(first)).toEqual(new Set([0, Math.fround(1 / (1 - rate))]));
    const dropped = first.filter((value) => value === 0).length / many;
    expect(Math.abs(dropped - rate)).toBeLessThan(SIGMAS * Math.sqrt((rate * (1 - rate)) / many));
    const later = await maskOf({ shape: [1, 8, 1], samples: 8, firstSample: 8, paths: rates });
    expect(later).toEqual(first.slice(8, 16));
    // Nothing at rate 0, and nothing where the model is only evaluated.
    expect(new Set(await maskOf({ shape: [1, many, 1], samples: many, layer: 0, paths: rates }))).toEqual(
      new Set([1]),
    );
    expect(new Set(await maskOf({ shape: [1, 8, 1], samples: 8, paths: rates, active: false }))).toEqual(
      new Set([1]),
    );
  });

  it("of attention probabilities tells heads, windows and queries apart", async () => {
    // Two windows a sample, four heads, eight queries and keys.
    const mask = await maskOf({ shape: [4, 4, 8, 64], samples: 2, heads: 4 });
    const blocks = Array.from({ length: 16 * 8 }, (_, row) => mask.slice(64 * row, 64 * row + 64).join());
    expect(new Set(blocks).size).toBe(blocks.length);
    const dropped = mask.filter((value) => value === 0).length / mask.length;
    expect(Math.abs(dropped - RATE)).toBeLessThan(SIGMAS * Math.sqrt((RATE * (1 - RATE)) / mask.length));
  });
});

it("keys are below 2^30 and differ", () => {
  const keys = Array.from(dropoutKeys(5, 2 ** 40, 1000), Number).filter((_, i) => i % 3 < 2);
  expect(Math.max(...keys)).toBeLessThanOrEqual(KEY_MASK);
  expect(new Set(keys).size).toBeGreaterThan(1990);
});
