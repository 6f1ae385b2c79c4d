import { GalvatronError } from "../base/errors.js";
import { memoryBytes } from "../base/memory-size.js";
import type { Change } from "./what-if.js";

/** Names in the text of a change, and the fields that they set. */
const FIELDS: Readonly<Record<string, (value: string) => Change>> = {
  memory: (value) => ({ budgetBytes: memoryBytes(value) }),
  bandwidth: (value) => ({ bandwidth: Number(value) }),
  compute: (value) => ({ compute: Number(value) }),
  nodes: (value) => ({ nodes: Number(value) }),
  gpus: (value) => ({ ranksPerNode: Number(value) }),
  batch: (value) => ({ globalBatch: Number(value) }),
  sequence: (value) => ({ sequence: Number(value) }),
};

/**
 * A change in one line: "memory=24GB,bandwidth=2,gpus=4"; bandwidth and compute are factors.
 * @throws GalvatronError ARGUMENT_INVALID
 */
export function changeFromText(text: string): Change {
  let change: Change = {};
  for (const part of text.split(",")) {
    const [name = "", value = ""] = part.split("=", 2);
    const field = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
    if (!field || value === "")
      throw new GalvatronError(
        "ARGUMENT_INVALID",
        `Expected changes such as memory=24GB,bandwidth=2 of ${Object.keys(FIELDS).join(", ")}, got "${part}".`,
      );
    change = { ...change, ...field(value) };
  }
  return change;
}

/** One line on what a change does to the best plan. */
export function whatIfText(change: string, speedup: number | null, stepMs: number | null): string {
  if (stepMs === null) return `With ${change} no plan fits.`;
  const compared =
    speedup === null ? "before, no plan did" : `${speedup.toFixed(3)} × the samples per second of before`;
  return `With ${change} the best plan takes ${stepMs.toPrecision(4)} ms a step: ${compared}.`;
}
