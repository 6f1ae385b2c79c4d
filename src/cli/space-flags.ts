import { GalvatronError } from "../base/errors.js";
import type { BatchRange } from "../search/outer-choice.js";
import { BASELINES, type Baseline, baselineSpace, type SpaceOptions } from "../search/space.js";
import { type FlagValues, textFlag, wholeFlag } from "./args.js";

/** Flags that restrict the plans of a search. */
export const SPACE_FLAGS: readonly string[] = [
  "baseline",
  "disable",
  "max-tensor-degree",
  "max-data-degree",
  "max-pipeline-degree",
  "micro-batches",
  "max-micro-batches",
];

/** What `--disable` knows: dimensions of the space, by what is left of it without them. */
const WITHOUT: Readonly<Record<string, SpaceOptions>> = {
  data: { maxDataDegree: 1 },
  zero: { dataParallel: ["ddp"] },
  zero3: { dataParallel: ["ddp", "zero1", "zero2"] },
  tensor: { tensorSplits: ["sequence"] },
  sequence: { tensorSplits: ["weights"] },
  strided: { placements: ["consecutive"] },
  recompute: { recompute: [false] },
  pipeline: { maxPipelineDegree: 1 },
  gpipe: { schedules: ["1f1b"] },
  "1f1b": { schedules: ["gpipe"] },
  uneven: { evenStages: true },
  mixed: { uniformLayers: true },
};

/**
 * The space that the flags leave: `--baseline 3d`, `--disable sequence,recompute`, greatest degrees, micro-batches.
 * @throws GalvatronError ARGUMENT_INVALID
 */
export function spaceOf(flags: FlagValues, ranks: number): SpaceOptions {
  const baseline = textFlag(flags, "baseline");
  if (baseline !== undefined && !BASELINES.includes(baseline as Baseline))
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `--baseline expects one of ${BASELINES.join(", ")}, got "${baseline}".`,
      { flag: "baseline" },
    );
  let space: SpaceOptions = baseline === undefined ? {} : baselineSpace(baseline as Baseline, ranks);
  for (const name of textFlag(flags, "disable")?.split(",") ?? []) {
    const without = Object.hasOwn(WITHOUT, name) ? WITHOUT[name] : undefined;
    if (!without)
      throw new GalvatronError(
        "ARGUMENT_INVALID",
        `--disable expects some of ${Object.keys(WITHOUT).join(", ")} between commas, got "${name}".`,
        { flag: "disable" },
      );
    space = narrowed(space, without, name);
  }
  const maxTensorDegree = wholeFlag(flags, "max-tensor-degree");
  const maxDataDegree = wholeFlag(flags, "max-data-degree");
  const maxPipelineDegree = wholeFlag(flags, "max-pipeline-degree");
  const microBatches = wholeFlag(flags, "micro-batches");
  const maxMicroBatches = wholeFlag(flags, "max-micro-batches");
  return {
    ...space,
    ...(maxTensorDegree !== undefined && { maxTensorDegree }),
    ...(maxDataDegree !== undefined && { maxDataDegree }),
    ...(maxPipelineDegree !== undefined && { maxPipelineDegree }),
    ...(microBatches !== undefined && { microBatches }),
    ...(maxMicroBatches !== undefined && { maxMicroBatches }),
  };
}

/**
 * Of two restrictions what both allow: lists in common, the smaller of two limits.
 * @throws GalvatronError ARGUMENT_INVALID where that is nothing
 */
function narrowed(space: SpaceOptions, without: SpaceOptions, name: string): SpaceOptions {
  const both: Record<string, unknown> = { ...space };
  for (const [key, value] of Object.entries(without)) {
    const before = both[key];
    if (Array.isArray(before) && Array.isArray(value)) {
      const common = before.filter((one) => value.includes(one));
      if (common.length === 0)
        throw new GalvatronError(
          "ARGUMENT_INVALID",
          `--disable ${name} leaves nothing of ${before.join(", ")}, which is all that the flags before it allow.`,
          { flag: "disable" },
        );
      both[key] = common;
    } else both[key] = typeof before === "number" ? Math.min(before, Number(value)) : value;
  }
  return both;
}

/**
 * `--global-batch 64`, or a range `8:128` or `8:128:8`.
 * @throws GalvatronError ARGUMENT_INVALID
 */
export function batchOf(flags: FlagValues): number | BatchRange | undefined {
  const text = textFlag(flags, "global-batch");
  if (text === undefined) return undefined;
  const parts = text.split(":").map((part) => (/^\d+$/.test(part) ? Number(part) : Number.NaN));
  const [from, to, step] = parts as [number, number?, number?];
  if (parts.length > 3 || parts.some((part) => !Number.isSafeInteger(part)))
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `--global-batch expects a whole number, or a range such as 8:128:8, got "${text}".`,
      { flag: "global-batch" },
    );
  if (to === undefined) return from;
  return { from, to, ...(step !== undefined && { step }) };
}
