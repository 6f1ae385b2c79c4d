import { expect, test } from "vitest";
import { fillNormal } from "../../src/base/random.js";
import { loadAddon } from "../../src/device/load-addon.js";

test("rounds to bfloat16 to nearest, ties to even, over as many threads as there are", () => {
  const addon = loadAddon();
  const values = new Float32Array(3 * 2 ** 20 + 5);
  values.set(fillNormal(3, "values", 0, 4096, 10));
  // A tie below an even and below an odd last bit, a little more than a tie, zeros and extremes.
  const cases = [1.00390625, 1.01171875, 1.0039063692092896, 0, -0, 1e-40, -3.0e38, 65536.5];
  values.set(cases, values.length - cases.length);
  const rounded = new Uint16Array(values.length);
  addon.roundBfloat16(values, rounded);
  const back = Float32Array.from(rounded.slice(-cases.length), (bits) => {
    const wide = new Uint32Array([bits << 16]);
    return new Float32Array(wide.buffer)[0]!;
  });
  expect(back[0]).toBe(1);
  expect(back[1]).toBe(1.015625);
  expect(back[2]).toBe(1.0078125);
  expect(back[5]).toBe(Math.fround(9.183549615799121e-41));
  for (let i = 0; i < 4096; i++) {
    const bits = new Uint32Array(values.buffer, 4 * i, 1)[0]!;
    const wanted = (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
    expect(rounded[i]).toBe(wanted);
  }
  expect(() => addon.roundBfloat16(values, new Uint16Array(1))).toThrow(/same length/);
});
