import { createHash } from "node:crypto";
import { z } from "zod";
import { canonical } from "../../base/canonical-json.js";
import { GalvatronError } from "../../base/errors.js";
import type { ModelSpec } from "../../model/model-spec.js";
import { planJson } from "../../model/plan-json.js";
import type { Plan } from "../../plan/plan.js";
import type { ParameterBlock, StateKind } from "../../program/state-blocks.js";
import type { BatchRamp } from "../batch-ramp.js";
import type { FoundData } from "../data/find-data.js";
import type { LearningRateSchedule } from "../learning-rate.js";
import type { Optimizer } from "../optimizer.js";

/** Version of the manifest: raised when old readers would misread it. */
const MANIFEST_VERSION = 1;

/** A block of a whole parameter (or of one of its moments), and where its first byte lies in a file. float32. */
export interface StoredBlock extends ParameterBlock {
  readonly state: StateKind;
  readonly offsetBytes: number;
}

/** One safetensors file of a checkpoint. */
export interface CheckpointFile {
  readonly name: string;
  readonly sizeBytes: number;
  /** Of the whole file, in hexadecimal. */
  readonly sha256: string;
  readonly blocks: readonly StoredBlock[];
}

/** What a checkpoint was made of, apart from its files. */
export interface CheckpointOrigin {
  readonly model: { readonly name: string; readonly sha256: string };
  readonly plan: Plan;
  readonly seed: number;
  /** Length of the whole training, which learning-rate schedules look at. */
  readonly steps: number;
  readonly optimizer: Optimizer;
  /** Which data, and how many of its samples each step takes from the training order: in the end, where it ramps up. */
  readonly data: {
    readonly sha256: string;
    readonly samplesPerStep: number;
    readonly rampUp?: BatchRamp | undefined;
  };
}

/** What a checkpoint holds: enough to load it into any plan and to go on at the exact sample. */
export interface CheckpointManifest extends CheckpointOrigin {
  /** Steps done, so the number of the next one. */
  readonly step: number;
  /** Samples of the training order that those steps consumed: the place of the next one. */
  readonly samples: number;
  /** Shape of every whole parameter. */
  readonly parameters: Readonly<Record<string, readonly number[]>>;
  readonly files: readonly CheckpointFile[];
}

const count = z.int().nonnegative();
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const share = z.number().min(0);

const schedule = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("constant") }),
  z.strictObject({ kind: z.literal("linear"), floor: share }),
  z.strictObject({ kind: z.literal("cosine"), floor: share }),
  z.strictObject({ kind: z.literal("inverseSquareRoot") }),
  z.strictObject({ kind: z.literal("warmupStableDecay"), decaySteps: count, floor: share }),
]) satisfies z.ZodType<LearningRateSchedule>;

const optimizer = z.strictObject({
  learningRate: z.strictObject({ peak: share, warmupSteps: count, schedule }),
  beta1: share,
  beta2: share,
  epsilon: share,
  weightDecay: share,
  maxNorm: share,
}) satisfies z.ZodType<Optimizer>;

const block = z
  .strictObject({
    state: z.enum(["parameter", "moment1", "moment2"]),
    name: z.string(),
    start: z.array(count),
    extent: z.array(z.int().positive()),
    offsetBytes: count,
  })
  .refine(({ start, extent }) => start.length === extent.length, {
    message: "start and extent have different axes",
  });

const manifestJson = z.strictObject({
  format: z.literal("galvatron-checkpoint"),
  version: z.literal(MANIFEST_VERSION),
  step: count,
  // Of manifests that say nothing: every step took as many.
  samples: count.optional(),
  model: z.strictObject({ name: z.string(), sha256: hash }),
  plan: planJson,
  seed: count,
  steps: count,
  optimizer,
  data: z.strictObject({
    sha256: hash,
    samplesPerStep: count,
    rampUp: z.strictObject({ start: count, increment: count, samples: count }).optional(),
  }),
  parameters: z.record(z.string(), z.array(z.int().positive())),
  files: z
    .array(
      z.strictObject({
        // No name may lead out of the folder.
        name: z.string().regex(/^[\w-][\w.-]*$/),
        sizeBytes: count,
        sha256: hash,
        blocks: z.array(block),
      }),
    )
    .min(1),
});

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Tells models apart by all that training depends on; what people call them does not matter. */
export function modelSha256(model: ModelSpec): string {
  const { name: _name, ...rest } = model;
  return sha256(canonical(rest));
}

/** Tells data apart by its files' names and sizes, not by the folder where they lie, and by what is made of them. */
export function datasetSha256({
  data,
  objective,
  files,
}: Pick<FoundData, "data" | "objective" | "files">): string {
  const names = files.map(({ path, sizeBytes }) => [path.split(/[/\\]/).at(-1), sizeBytes]);
  const { shuffle, heldOut, parts } = { shuffle: false, heldOut: 0, parts: [], ...data };
  const weights = parts.map(({ weight }) => weight);
  return sha256(canonical({ format: data.format, shuffle, heldOut, weights, objective, names }));
}

/** The manifest's file: one line for each field and each block, with a checksum of its own at the end. */
export function manifestText(manifest: CheckpointManifest): string {
  const { step, samples, model, plan, seed, steps, data, parameters, files } = manifest;
  const body = {
    format: "galvatron-checkpoint",
    version: MANIFEST_VERSION,
    step,
    samples,
    model,
    plan,
    seed,
    steps,
    optimizer: manifest.optimizer,
    data,
    parameters,
    files,
  };
  const fields = Object.entries({ ...body, sha256: sha256(JSON.stringify(body)) }).map(([name, value]) => {
    const lines = name === "files" ? files.map(fileText).join(",\n") : JSON.stringify(value);
    return `${JSON.stringify(name)}: ${name === "files" ? `[\n${lines}\n]` : lines}`;
  });
  return `{\n${fields.join(",\n")}\n}\n`;
}

function fileText({ name, sizeBytes, sha256: sum, blocks }: CheckpointFile): string {
  const lines = blocks.map((one) => `  ${JSON.stringify(one)}`).join(",\n");
  const head = JSON.stringify({ name, sizeBytes, sha256: sum }).slice(0, -1);
  return ` ${head},"blocks":[\n${lines}\n ]}`;
}

/**
 * @param path - for messages
 * @throws GalvatronError CHECKPOINT_INVALID when a byte of it is not as it was written, or it is no manifest
 */
export function parseManifest(text: string, path: string): CheckpointManifest {
  const invalid = (reason: string, cause?: unknown): GalvatronError =>
    new GalvatronError("CHECKPOINT_INVALID", `${path} ${reason}`, { path }, { cause });
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw invalid("is truncated or corrupted: it is no JSON. Resume from an older checkpoint.", cause);
  }
  if (
    typeof raw !== "object" ||
    raw === null ||
    (raw as { format?: unknown }).format !== "galvatron-checkpoint"
  )
    throw invalid('is no checkpoint manifest: it lacks "format": "galvatron-checkpoint".');
  const { version } = raw as { version?: unknown };
  if (version !== MANIFEST_VERSION)
    throw invalid(
      `has version ${JSON.stringify(version)}; this release reads version ${MANIFEST_VERSION}. Use the release that wrote it.`,
    );
  const { sha256: sum, ...body } = raw as { sha256?: unknown };
  if (sum !== sha256(JSON.stringify(body)))
    throw invalid("is corrupted: it does not match its own checksum. Resume from an older checkpoint.");
  const parsed = manifestJson.safeParse(body);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw invalid(`is no valid manifest: ${issue.path.join(".")}: ${issue.message}.`);
  }
  const { format: _format, version: _version, ...manifest } = parsed.data;
  return { ...manifest, samples: manifest.samples ?? manifest.step * manifest.data.samplesPerStep };
}
