import { expect, it } from "vitest";
import { readArguments, realFlag } from "../../src/cli/args.js";

const flags = { values: ["data", "rate"], switches: ["json"] };

it("refuses words where none are expected: what a shell makes of a pattern without quotes", () => {
  expect(() => readArguments(["--data", "a.md", "b.md", "c.md"], flags)).toThrow(
    /got the word "b.md".*quotes/,
  );
  expect(readArguments(["run", "--json"], { ...flags, words: true }).words).toEqual(["run"]);
});

it("reads no number from nothing", () => {
  for (const given of ["--rate=", "--rate= "])
    expect(() => realFlag(readArguments([given], flags).flags, "rate")).toThrow(/expects a number/);
  expect(realFlag(readArguments(["--rate=1e-3"], flags).flags, "rate")).toBe(1e-3);
});
