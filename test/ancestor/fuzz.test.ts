import { describe, expect, it } from "vitest";
import { fuzzOnce, type Outcome } from "./fuzz.js";

/** How many broken files; the benchmark script runs 10,000. */
const FILES = Number(process.env.GALVATRON_FUZZ ?? 1500);

describe("broken profile, case and plan files", () => {
  it("are refused with the path of the wrong field, or are harmless", () => {
    const outcomes: Outcome[] = [];
    for (let seed = 1; seed <= FILES; seed++) outcomes.push(fuzzOnce(seed));
    const refused = outcomes.filter((outcome) => outcome.verdict === "refused");
    expect(refused.length).toBeGreaterThan(FILES / 2);
    for (const { file, change, path } of refused) {
      // the path leads to the field that was broken, or above it, or below it
      const spot = /^(?:without )?(.*?)(?: = .*| renamed to .*)?$/.exec(change)![1]!;
      const related =
        change.startsWith("cut at") ||
        change.startsWith("without") ||
        change.includes("renamed") ||
        spot.startsWith(path) ||
        path.startsWith(spot) ||
        path.includes(" ");
      // fields that only make sense together are told at the one that does not fit the others
      expect(
        related || file === "galvatron_config.json" || path.startsWith("args."),
        `${file}: ${change}: ${path}`,
      ).toBe(true);
    }
  });
});
