import { GalvatronError } from "../base/errors.js";
import { type ModelOptions, rateOf } from "../model/model-options.js";
import type { ModelSpec } from "../model/model-spec.js";
import { BERT } from "./bert.js";
import type { Family } from "./family.js";
import { GPT } from "./gpt.js";
import { LLAMA } from "./llama.js";
import { NEOX } from "./neox.js";
import { SWIN } from "./swin.js";
import { T5 } from "./t5.js";
import { VIT } from "./vit.js";

/** Every family that can be trained. */
export const FAMILIES: readonly Family[] = [GPT, LLAMA, BERT, T5, VIT, SWIN, NEOX];

/** @throws GalvatronError `MODEL_UNKNOWN` for a family that is not there, as a plan file of elsewhere may name one */
export function familyOf(name: string): Family {
  const family = FAMILIES.find((one) => one.name === name);
  if (family) return family;
  const known = FAMILIES.map((one) => one.name).join(", ");
  throw new GalvatronError("MODEL_UNKNOWN", `no model family is called "${name}"; known: ${known}`, { name });
}

/** Names that {@link modelSpec} knows: families first, then presets, each in alphabetical order. */
export function modelNames(): readonly string[] {
  const presets = FAMILIES.flatMap((family) => Object.keys(family.presets));
  return [...FAMILIES.map(({ name }) => name).sort(), ...presets.sort()];
}

/**
 * A model by the name of its family or preset; options override what the name stands for. Every family knows
 * `dropout` (hidden states: embeddings and what is added to the residual stream) and `attentionDropout`
 * (attention probabilities), both 0 when left out.
 *
 * @throws GalvatronError `MODEL_UNKNOWN` for a name that is neither, `MODEL_INVALID` for sizes that no such model has
 */
export function modelSpec(name: string, options: ModelOptions = {}): ModelSpec {
  const { dropout, attentionDropout, ...sizes } = options;
  const rates = { ...rateOf("dropout", dropout), ...rateOf("attentionDropout", attentionDropout) };
  const spec = sizedSpec(name, sizes);
  return { ...spec, options: { ...spec.options, ...rates } };
}

function sizedSpec(name: string, options: ModelOptions): ModelSpec {
  for (const { name: family, spec, presets } of FAMILIES) {
    if (name === family) return spec(name, options);
    const preset = Object.hasOwn(presets, name) ? presets[name] : undefined;
    if (preset) return spec(name, { ...preset, ...options });
  }
  const known = modelNames().join(", ");
  throw new GalvatronError("MODEL_UNKNOWN", `no model is called "${name}"; known: ${known}`, { name });
}

/**
 * The small instance of a family on which plans are compared: its sizes divide over up to 8 ranks.
 *
 * @param dropout - rate of all dropouts
 */
export function smallModel(name: string, dropout: number = 0): ModelSpec {
  const { small, rates = [] } = familyOf(name);
  const own = Object.fromEntries(rates.map((rate) => [rate, dropout]));
  return modelSpec(name, { ...small, dropout, attentionDropout: dropout, ...own });
}
