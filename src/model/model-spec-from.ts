import { GalvatronError } from "../base/errors.js";
import { BERT_PRESETS, bertSpec } from "./families/bert.js";
import { GPT_PRESETS, gptSpec } from "./families/gpt.js";
import { LLAMA_PRESETS, llamaSpec } from "./families/llama.js";
import { SWIN_PRESETS, swinSpec } from "./families/swin.js";
import { T5_PRESETS, t5Spec } from "./families/t5.js";
import { VIT_PRESETS, vitSpec } from "./families/vit.js";
import type { ModelOptions } from "./model-options.js";
import type { Family, ModelSpec } from "./model-spec.js";

interface FamilyModels {
  readonly spec: (name: string, options: ModelOptions) => ModelSpec;
  readonly presets: Readonly<Record<string, ModelOptions>>;
}

const FAMILIES: Readonly<Record<Family, FamilyModels>> = {
  gpt: { spec: gptSpec, presets: GPT_PRESETS },
  llama: { spec: llamaSpec, presets: LLAMA_PRESETS },
  bert: { spec: bertSpec, presets: BERT_PRESETS },
  t5: { spec: t5Spec, presets: T5_PRESETS },
  swin: { spec: swinSpec, presets: SWIN_PRESETS },
  vit: { spec: vitSpec, presets: VIT_PRESETS },
};

/** Names that {@link modelSpec} knows: families first, then presets, each in alphabetical order. */
export function modelNames(): readonly string[] {
  const presets = Object.values(FAMILIES).flatMap((family) => Object.keys(family.presets));
  return [...Object.keys(FAMILIES).sort(), ...presets.sort()];
}

/**
 * A model by the name of its family or preset; options override what the name stands for.
 *
 * @throws GalvatronError `MODEL_UNKNOWN` for a name that is neither, `MODEL_INVALID` for sizes that no such model has
 */
export function modelSpec(name: string, options: ModelOptions = {}): ModelSpec {
  for (const [family, { spec, presets }] of Object.entries(FAMILIES)) {
    if (name === family) return spec(name, options);
    const preset = Object.hasOwn(presets, name) ? presets[name] : undefined;
    if (preset) return spec(name, { ...preset, ...options });
  }
  throw new GalvatronError(
    "MODEL_UNKNOWN",
    `no model is called "${name}"; known: ${modelNames().join(", ")}`,
    {
      name,
    },
  );
}

/** Parameters of the whole model; a table that embedding and head share counts once. */
export function parameterCount(model: ModelSpec): number {
  const body = model.layers.reduce((sum, kind) => sum + model.kinds[kind]!.parameters, 0);
  const last = model.kinds[model.layers[model.layers.length - 1]!]!;
  const shared = model.head.tied ? model.vocabulary * last.hidden : 0;
  return body + model.embedding.parameters + model.head.parameters - shared;
}
