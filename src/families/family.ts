import type { FamilyLayers } from "../graph/family-layers.js";
import type { ModelOptions } from "../model/model-options.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { ConfigField } from "./config-fields.js";
import type { TensorView } from "./tensor-view.js";

/** A family of models, whole: adding one is one file that exports such a value. */
export interface Family {
  /** What `model("…")` makes with the family's defaults, and what {@link ModelSpec.family} says. */
  readonly name: string;
  /** What the options stand for. @throws GalvatronError MODEL_INVALID for sizes that no such model has */
  readonly spec: (name: string, options: ModelOptions) => ModelSpec;
  /** Published sizes, by the names that `model("…")` knows. */
  readonly presets: Readonly<Record<string, ModelOptions>>;
  /** Sizes of a small instance that has all that is odd about the family, for `galvatron verify`. */
  readonly small: ModelOptions;
  /** Options that are rates of dropouts which only this family has. */
  readonly rates?: readonly string[];
  /** What the model learns, and so which loader data its graphs read: see docs/data.md. */
  readonly objective: "causal" | "masked" | "spanCorruption" | "classification";
  /** How the layers compute. */
  readonly layers: FamilyLayers;
  /** How Hugging Face's configurations and files speak of the family. */
  readonly huggingFace: HuggingFaceNames;
}

/** What connects a family with the Hugging Face models that it is. */
interface HuggingFaceNames {
  /** Their `model_type`s with the class that trains each; a family may stand for several. */
  readonly classes: Readonly<Record<string, string>>;
  /** Which of them a model is. */
  readonly modelType: (model: ModelSpec) => string;
  /** All fields of a `config.json` of that type that are known, beside the common ones. */
  readonly fields: (modelType: string) => Readonly<Record<string, ConfigField>>;
  /** Options that the type alone decides. */
  readonly fixed?: (modelType: string) => ModelOptions;
  /** The inverse of {@link Family.spec}: options that give this model again. */
  readonly options: (model: ModelSpec) => ModelOptions;
  /** Where each parameter lies in the files. */
  readonly tensors: (model: ModelSpec) => readonly TensorView[];
  /** First part of names that files of the bare model, without its head, leave out: "transformer.". */
  readonly basePrefix: string;
}

/** Sizes that most families read off their first kind of layer. */
export function plainOptions(model: ModelSpec): ModelOptions {
  const kind = model.kinds[model.layers[0]!]!;
  return {
    layers: model.layers.length,
    hidden: kind.hidden,
    heads: kind.heads,
    feedForward: kind.feedForward,
    sequence: model.sequence,
    vocabulary: model.vocabulary,
    tied: model.head.tied,
    ...model.options,
  };
}
