import { expect, it } from "vitest";
import { spaceOf } from "../../src/cli/space-flags.js";

it("disables everything that it is told to, in any order and on top of a baseline", () => {
  expect(spaceOf({ disable: "zero,zero3" }, 8)).toEqual({ dataParallel: ["ddp"] });
  expect(spaceOf({ disable: "zero3,zero" }, 8)).toEqual({ dataParallel: ["ddp"] });
  expect(spaceOf({ disable: "data", baseline: "tp" }, 8).maxDataDegree).toBe(1);
});

it.each([
  [{ disable: "tensor,sequence" }, /--disable sequence leaves nothing of sequence/],
  [{ disable: "1f1b,gpipe" }, /--disable gpipe leaves nothing of gpipe/],
  [{ baseline: "zero3", disable: "zero3" }, /--disable zero3 leaves nothing of zero3/],
])("refuses %o, which leaves no plan", (flags, message) => {
  expect(() => spaceOf(flags, 8)).toThrow(message);
});
