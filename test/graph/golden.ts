import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fillNormal } from "../../src/base/random.js";
import { parseConfigJson } from "../../src/families/hugging-face-json.js";
import type { ModelSpec } from "../../src/model/model-spec.js";
import type { Content } from "./run-onnx.js";
import { elements } from "./simulate-layer.js";
import type { Training } from "./train-in-process.js";

interface Packed {
  readonly shape: readonly number[];
  readonly float32: string;
}

interface Listed {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** What one of Hugging Face's models answers to random weights; made by `test/python/make_hugging_face.py`. */
export interface Golden {
  /** Its configuration, as `save_pretrained` writes it. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly seed: number;
  readonly deviation: number;
  readonly samples: number;
  /** Of all tensors in its file. */
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  /** Outputs of the embedding and of every layer before the first step, sequence first. */
  readonly states: readonly Packed[];
  /** Gradients of the first step, by the names and in the layout of the file. */
  readonly gradients: Readonly<Record<string, Packed>>;
  readonly losses: readonly number[];
  readonly gradientNorms: readonly number[];
  readonly optimizer: Training;
  /** For each step, loader data by name, sequence first. */
  readonly data: readonly Readonly<Record<string, Listed>>[];
}

export const GOLDEN_NAMES = [
  "bert",
  "gpt2",
  "llama",
  "qwen2",
  "t5",
  "t5-gated",
  "vit",
  "swin",
  "gpt_neox",
] as const;

export function readGolden(name: string): Golden {
  return JSON.parse(readFileSync(join(__dirname, `../golden/hugging-face/${name}.json`), "utf8")) as Golden;
}

export function unpack(packed: Packed): Content {
  const bytes = Uint8Array.from(Buffer.from(packed.float32, "base64"));
  return { dtype: "float32", shape: packed.shape, data: new Float32Array(bytes.buffer) };
}

/** The file's tensors: random by their names, with the scales of norms (vectors called "weight") around 1. */
export function goldenWeights(golden: Golden): ReadonlyMap<string, Float32Array> {
  return new Map(
    Object.entries(golden.shapes).map(([name, shape]) => {
      const noise = fillNormal(golden.seed, name, 0, elements(shape), golden.deviation);
      const isScale = shape.length === 1 && name.endsWith(".weight");
      return [name, isScale ? noise.map((x) => 1 + x) : noise];
    }),
  );
}

/** Loader data of a step. Pixels are drawn by the number of the step and cut into patches. */
export function goldenBatch(golden: Golden, step: number): Readonly<Record<string, Content>> {
  const listed = Object.entries(golden.data[step]!).map(([name, { shape, values }]): [string, Content] => [
    name,
    { dtype: "int64", shape, data: values },
  ]);
  const { image_size: image, patch_size: patch, num_channels: channels } = golden.config;
  if (typeof image !== "number") return Object.fromEntries(listed);
  return Object.fromEntries([
    ...listed,
    ["pixels", patches(golden, step, image, Number(patch), Number(channels))],
  ]);
}

/** `[samples, channels, image, image]` to `[patches, samples, channels · patch²]`. */
function patches(golden: Golden, step: number, image: number, patch: number, channels: number): Content {
  const { samples, seed } = golden;
  const pixels = fillNormal(seed, `pixels.${step}`, 0, samples * channels * image * image, 1);
  const side = image / patch;
  const width = channels * patch * patch;
  const data = new Float32Array(pixels.length);
  let source = 0;
  for (let sample = 0; sample < samples; sample++)
    for (let channel = 0; channel < channels; channel++)
      for (let y = 0; y < image; y++)
        for (let x = 0; x < image; x++) {
          const place = Math.floor(y / patch) * side + Math.floor(x / patch);
          const inside = (channel * patch + (y % patch)) * patch + (x % patch);
          data[(place * samples + sample) * width + inside] = pixels[source++]!;
        }
  return { dtype: "float32", shape: [side * side, samples, width], data };
}

/** Labels that count in a step; the loss is their mean. */
export function countedLabels(golden: Golden): number {
  return golden.data[0]!["labels"]!.values.filter((label) => label >= 0).length;
}

/** The model of a golden's configuration, as long as the stored batches are. */
export function goldenModel(golden: Golden, config: string): ModelSpec {
  const rows = (key: string): number | undefined => golden.data[0]![key]?.shape[0];
  const sequence = rows("decoderTokens") ?? rows("tokens");
  return parseConfigJson(config, "golden", {
    ...(sequence === undefined ? {} : { sequence }),
    ...(rows("decoderTokens") === undefined ? {} : { encoderSequence: rows("tokens")! }),
  });
}
