import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { memoryBytes, memoryText, neededText } from "../../src/base/memory-size.js";

describe("memory size", () => {
  it.each([
    ["2GB", 2 * 2 ** 30],
    ["512MB", 512 * 2 ** 20],
    [" 0.5 gb ", 2 ** 29],
    ["1GiB", 2 ** 30],
    ["4096b", 4096],
    [12345, 12345],
  ])("reads %s", (size, bytes) => {
    expect(memoryBytes(size)).toBe(bytes);
  });

  it.each(["2", "GB", "two GB", "-1GB", "", "1e3GB", Number.NaN, 0, -5])("refuses %s", (size) => {
    expect(() => memoryBytes(size)).toThrow(/Expected a memory size/);
  });

  it("writes three digits", () => {
    expect([2 ** 31, 123_456_789, 2048].map(memoryText)).toEqual(["2 GB", "118 MB", "2 KB"]);
  });

  it("never tells less than what is needed", () => {
    expect(neededText(2 ** 31)).toBe("2 GB");
    fc.assert(
      fc.property(fc.integer({ min: 1024, max: 2 ** 45 }), (bytes) => {
        const told = memoryBytes(neededText(bytes));
        expect(told).toBeGreaterThanOrEqual(bytes);
        expect(told).toBeLessThanOrEqual(bytes * 1.011);
      }),
    );
  });
});
