import { z } from "zod";
import { GalvatronError } from "../base/errors.js";
import type { HardwareProfile } from "../cluster/hardware-profile.js";
import { modelJson } from "../model/model-json.js";
import type { ModelProfile } from "../model/model-profile.js";
import { PRECISIONS } from "../plan/precision.js";

/** What of a profile stands in the metadata of its table. */
export type HardwareSummary = Omit<HardwareProfile, "matmuls" | "collectives">;
export type ModelSummary = Omit<ModelProfile, "layers">;

const slowdowns = { computeSlowdown: z.number(), communicationSlowdown: z.number() };

const hardware = z.strictObject({
  cluster: z.strictObject({
    name: z.string(),
    device: z.enum(["host", "cuda"]),
    deviceName: z.string(),
    nodes: z.int().positive(),
    ranksPerNode: z.int().positive(),
    memoryBytesPerRank: z.number().positive(),
  }),
  source: z.enum(["measured", "estimated"]),
  ...slowdowns,
  optimizerGBps: z.number(),
  launchMs: z.number(),
  reservedBytes: z.number(),
  held: z
    .strictObject({
      first: z.number(),
      group: z.number(),
      ring: z.number(),
      peer: z.number(),
      transfer: z.number(),
    })
    .exactOptional(),
}) satisfies z.ZodType<HardwareSummary>;

const heldWithGraphs = z.strictObject({ graphs: z.number(), bytes: z.number(), connected: z.boolean() });

const model = z.strictObject({
  model: modelJson,
  precision: z.enum(PRECISIONS),
  device: z.string(),
  source: z.enum(["measured", "analytic"]),
  overlap: z
    .strictObject({
      ...slowdowns,
      gathers: z.strictObject(slowdowns).exactOptional(),
      reductions: z.strictObject(slowdowns).exactOptional(),
    })
    .exactOptional(),
  rest: z.array(z.strictObject({ workShare: z.number(), timeFactor: z.number() })).exactOptional(),
  betweenGraphs: z.number().exactOptional(),
  held: z.strictObject({ few: heldWithGraphs, many: heldWithGraphs }).exactOptional(),
}) satisfies z.ZodType<ModelSummary>;

/** @throws GalvatronError PROFILE_INVALID */
export function parseHardwareSummary(json: string): HardwareSummary {
  return parse(hardware, json, "hardware");
}

/** @throws GalvatronError PROFILE_INVALID */
export function parseModelSummary(json: string): ModelSummary {
  return parse(model, json, "model");
}

function parse<T>(schema: z.ZodType<T>, json: string, what: string): T {
  try {
    return schema.parse(JSON.parse(json));
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause);
    throw new GalvatronError(
      "PROFILE_INVALID",
      `Not the metadata of a ${what} profile: ${reason}`,
      {},
      { cause },
    );
  }
}
