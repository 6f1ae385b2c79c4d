import { GalvatronError } from "../base/errors.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan, Precision } from "../plan/plan.js";
import { PRECISIONS } from "../plan/precision.js";
import { uniformPlan } from "../plan/uniform.js";
import { choiceFlag, type FlagValues, neededFlag, wholeFlag } from "./args.js";

/** Flags of a plan with the same degrees for all layers. */
export const UNIFORM_FLAGS: readonly string[] = [
  "pipeline",
  "tensor",
  "tensor-split",
  "data-parallel",
  "placement",
  "micro-batches",
  "schedule",
];
export const UNIFORM_SWITCHES: readonly string[] = ["recompute"];

/** Whether a command line asks for uniform degrees. */
export const asksUniform = (flags: FlagValues): boolean =>
  [...UNIFORM_FLAGS, ...UNIFORM_SWITCHES].some((flag) => flags[flag] !== undefined);

/**
 * The plan of `--pipeline 2 --tensor 2 --data-parallel zero2 --micro-batches 4 --global-batch 8`; what is left out is 1,
 * `ddp`, `1f1b`, no recompute. Data parallel takes the ranks that remain.
 *
 * @throws GalvatronError ARGUMENT_INVALID also for what these degrees leave no room for
 */
export function uniformOf(flags: FlagValues, model: ModelSpec, ranks: number, usual: Precision): Plan {
  neededFlag(flags, "global-batch", "8");
  const degree = (name: string): number => {
    const value = wholeFlag(flags, name) ?? 1;
    if (value < 1)
      throw new GalvatronError("ARGUMENT_INVALID", `--${name} expects at least 1, got ${value}.`, {
        flag: name,
      });
    return value;
  };
  const pipelineDegree = degree("pipeline");
  const tensorDegree = degree("tensor");
  if (ranks % (pipelineDegree * tensorDegree) !== 0)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `--pipeline ${pipelineDegree} times --tensor ${tensorDegree} does not divide the ${ranks} ranks.`,
      { ranks },
    );
  const tensorSplit = choiceFlag(flags, "tensor-split", ["weights", "sequence"]);
  const dataParallel = choiceFlag(flags, "data-parallel", ["ddp", "zero1", "zero2", "zero3"]);
  const placement = choiceFlag(flags, "placement", ["consecutive", "strided"]);
  const schedule = choiceFlag(flags, "schedule", ["gpipe", "1f1b"]);
  const plan = uniformPlan(model, {
    ranks,
    globalBatch: degree("global-batch"),
    microBatches: degree("micro-batches"),
    pipelineDegree,
    tensorDegree,
    ...(tensorSplit && { tensorSplit }),
    ...(dataParallel && { dataParallel }),
    ...(placement && { placement }),
    ...(schedule && { schedule }),
    recompute: flags["recompute"] === true,
    precision: choiceFlag(flags, "precision", PRECISIONS) ?? usual,
  });
  const got = plan.layers[0]!;
  for (const [flag, asked, is] of [
    ["tensor-split", tensorSplit, got.tensorSplit],
    ["data-parallel", dataParallel, got.dataParallel],
    ["placement", placement, got.placement],
  ])
    if (asked !== undefined && asked !== is)
      throw new GalvatronError(
        "ARGUMENT_INVALID",
        `--${flag} ${asked} has nothing to share among tensor degree ${got.tensorDegree} and data degree ${got.dataDegree}: leave it out or change the degrees.`,
        { flag: String(flag) },
      );
  return plan;
}
