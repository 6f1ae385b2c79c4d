import { expect, test } from "vitest";
import { fillNormal, streamKey } from "../../src/base/random.js";
import { loadAddon } from "../../src/device/load-addon.js";

/** Steps between two values, in float32. */
function stepsApart(a: number, b: number): number {
  const [x, y] = new Int32Array(Float32Array.of(a, b).buffer);
  return a < 0 === b < 0 ? Math.abs(x! - y!) : Number.POSITIVE_INFINITY;
}

test("draws what base/random.ts draws, but for the last bit, wherever the stretch begins", () => {
  const addon = loadAddon();
  const [key0, key1] = streamKey(7, "weight");
  for (const [start, count] of [
    [0, 70_001],
    [3, 4_099],
    [2 ** 33 + 1, 4_097],
  ] as const) {
    const drawn = new Float32Array(count);
    addon.fillNormal(drawn, { key0, key1, start, run: count, stride: 0, standardDeviation: 0.02 });
    const expected = fillNormal(7, "weight", start, count, 0.02);
    const apart = Array.from(drawn, (value, i) => stepsApart(value, expected[i]!));
    expect(Math.max(...apart)).toBeLessThanOrEqual(1);
    // Polynomials of double precision: hardly any value falls on the other side of a rounding.
    expect(apart.filter((steps) => steps > 0).length).toBeLessThan(count / 1000);
  }
});

test("draws rows of a matrix's part as they stand in the whole", () => {
  const addon = loadAddon();
  const [key0, key1] = streamKey(7, "weight");
  const [rows, columns, from, width] = [600, 1_031, 17, 257];
  const part = new Float32Array(rows * width);
  addon.fillNormal(part, { key0, key1, start: from, run: width, stride: columns, standardDeviation: 1 });
  const whole = new Float32Array(rows * columns);
  addon.fillNormal(whole, { key0, key1, start: 0, run: whole.length, stride: 0, standardDeviation: 1 });
  for (let row = 0; row < rows; row++)
    expect(part.slice(row * width, (row + 1) * width)).toEqual(
      whole.slice(row * columns + from, row * columns + from + width),
    );
  const none = { key0, key1, start: 0, run: 0, stride: 0, standardDeviation: 1 };
  expect(() => addon.fillNormal(part, none)).toThrow(/run is expected to be 1 or more/);
});
