import { GalvatronError } from "../base/errors.js";
import type { ModelOptions } from "../model/model-options.js";

/** A value as JSON has it. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

export type JsonObject = Readonly<Record<string, JsonValue>>;

/** What one field of a `config.json` means for us, in both directions. */
export interface ConfigField {
  /** The options that a value stands for. @throws GalvatronError MODEL_INVALID for values that we cannot express */
  readonly read: (value: JsonValue, field: string) => ModelOptions;
  /** What leaving the field out means: the default of the configuration's class. `undefined`: nothing. */
  readonly absent: JsonValue | undefined;
  /** An option that a person may give instead: then what the field says does not count. */
  readonly unless?: string;
  /** The value for a model; `undefined`: not written. */
  readonly write: (options: ModelOptions) => JsonValue | undefined;
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}

function refuse(field: string, value: JsonValue, expected: string): GalvatronError {
  return new GalvatronError(
    "MODEL_INVALID",
    `config.json: ${field} is ${show(value)}; expected ${expected}, for nothing else can be expressed exactly here`,
    { field },
  );
}

/** A number that is an option as it is. */
export function number(option: string, absent: number): ConfigField {
  return {
    absent,
    read: (value, field) => {
      if (typeof value !== "number") throw refuse(field, value, "a number");
      return { [option]: value };
    },
    write: (options) => options[option] as number,
  };
}

/** A number that may be null; null is our 0, "derived from the others". */
export function numberOrDerived(option: string): ConfigField {
  return {
    absent: null,
    read: (value, field) => {
      if (value !== null && typeof value !== "number") throw refuse(field, value, "a number or null");
      return { [option]: value ?? 0 };
    },
    write: (options) => options[option] as number,
  };
}

/** The same length in both directions, as a number or as a pair `[length, length]`. */
export function squareSide(option: string, absent: number): ConfigField {
  return {
    absent,
    read: (value, field) => {
      const sides = Array.isArray(value) ? (value as readonly JsonValue[]) : [value];
      const side = sides[0];
      if (typeof side !== "number" || sides.length > 2 || sides.some((one) => one !== side))
        throw refuse(field, value, "one number for both sides");
      return { [option]: side };
    },
    write: (options) => options[option] as number,
  };
}

export function numbers(option: string, absent: readonly number[]): ConfigField {
  return {
    absent,
    read: (value, field) => {
      if (!Array.isArray(value) || value.some((one) => typeof one !== "number"))
        throw refuse(field, value, "a list of numbers");
      return { [option]: value as readonly number[] };
    },
    write: (options) => options[option] as readonly number[],
  };
}

export function truth(option: string, absent: boolean): ConfigField {
  return {
    absent,
    read: (value, field) => {
      if (typeof value !== "boolean") throw refuse(field, value, "true or false");
      return { [option]: value };
    },
    write: (options) => options[option] as boolean,
  };
}

/** Their names for our names. */
export function choice(option: string, names: Readonly<Record<string, string>>, absent: string): ConfigField {
  return {
    absent,
    read: (value, field) => {
      const found = typeof value === "string" && Object.hasOwn(names, value) ? names[value] : undefined;
      if (found === undefined) throw refuse(field, value, `one of ${Object.keys(names).join(", ")}`);
      return { [option]: found };
    },
    write: (options) => Object.keys(names).find((name) => names[name] === options[option]),
  };
}

/** A field of which our layers are one case. */
export function only(
  value: JsonValue,
  absent: JsonValue = value,
  alsoRead: readonly JsonValue[] = [],
): ConfigField {
  return {
    absent,
    read: (given, field) => {
      if (![value, ...alsoRead].some((allowed) => show(allowed) === show(given)))
        throw refuse(field, given, [value, ...alsoRead].map(show).join(" or "));
      return {};
    },
    write: () => value,
  };
}

/** Rate of a dropout that we have at the same places. */
export function rate(option: "dropout" | "attentionDropout" | "dropPath", absent: number): ConfigField {
  return { ...number(option, absent), write: (options) => options[option] ?? 0 };
}

/** The longest sequence a model is made for: as long as the one to train on, unless `sequence` says otherwise. */
export function positionsField(absent: number): ConfigField {
  const field = number("positions", absent);
  return {
    ...field,
    read: (value, name) => {
      const { positions } = field.read(value, name);
      return { positions, sequence: positions as number };
    },
  };
}

/**
 * Rotary positions without scaling, in the spelling of transformers 5 ("rope_parameters") and in the older one.
 *
 * @param share of each head's width that turns, where the family leaves some of it as it is
 */
export function rotaryFields(theta: number, share?: number): Readonly<Record<string, ConfigField>> {
  const base = number("theta", theta);
  const turned = number("rotaryShare", share ?? 1);
  const known: Readonly<Record<string, ConfigField>> = {
    rope_type: only("default"),
    rope_theta: base,
    ...(share === undefined ? {} : { partial_rotary_factor: turned }),
  };
  const parameters: ConfigField = {
    absent: undefined,
    read: (value, field) =>
      Object.assign(
        {},
        ...Object.entries((value ?? {}) as JsonObject).map(([name, one]) => {
          const path = `${field}.${name}`;
          const meaning = Object.hasOwn(known, name) ? known[name]! : null;
          if (!meaning) throw refuse(path, one, "no such field");
          return meaning.read(one, path);
        }),
      ) as ModelOptions,
    write: (options) =>
      Object.fromEntries(Object.entries(known).map(([name, field]) => [name, field.write(options) ?? null])),
  };
  const older: Readonly<Record<string, ConfigField>> =
    share === undefined ? { rope_theta: base } : { rotary_emb_base: base, rotary_pct: turned };
  return { ...older, rope_parameters: parameters, rope_scaling: only(null) };
}

/** Sizes, GELU, norms and initial values by the names that most configurations give them. */
export function blockFields(absent: {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly feedForward: number;
  readonly epsilon: number;
}): Readonly<Record<string, ConfigField>> {
  return {
    hidden_size: number("hidden", absent.hidden),
    num_hidden_layers: number("layers", absent.layers),
    num_attention_heads: number("heads", absent.heads),
    intermediate_size: number("feedForward", absent.feedForward),
    ...geluFields(absent.epsilon),
  };
}

/** GELU, norms and initial values alone. */
export function geluFields(epsilon: number): Readonly<Record<string, ConfigField>> {
  return {
    hidden_act: choice("activation", GELUS, "gelu"),
    layer_norm_eps: number("epsilon", epsilon),
    initializer_range: number("initializerRange", 0.02),
  };
}

/** Both dropouts, by the names of BERT and the vision models. */
export function dropoutFields(absent: number): Readonly<Record<string, ConfigField>> {
  return {
    hidden_dropout_prob: rate("dropout", absent),
    attention_probs_dropout_prob: rate("attentionDropout", absent),
  };
}

/** Square images in square patches, and their classes. */
export function imageFields(patch: number): Readonly<Record<string, ConfigField>> {
  return {
    image_size: squareSide("image", 224),
    patch_size: squareSide("patch", patch),
    num_channels: number("channels", 3),
    qkv_bias: only(true),
    ...labelFields(),
    ...ignored("encoder_stride", "tie_word_embeddings"),
  };
}

/** Classes of a classifier: as many as there are labels. */
function labelFields(): Readonly<Record<string, ConfigField>> {
  const names = (options: ModelOptions): readonly string[] =>
    Array.from({ length: options.classes as number }, (_, index) => `LABEL_${index}`);
  return {
    num_labels: { ...number("classes", 2), write: () => undefined },
    id2label: {
      absent: undefined,
      read: (value) => ({ classes: Object.keys(value as JsonObject).length }),
      write: (options) => Object.fromEntries(names(options).map((label, index) => [index, label])),
    },
    label2id: {
      ...IGNORED,
      write: (options) => Object.fromEntries(names(options).map((label, index) => [label, index])),
    },
  };
}

/** A field that says nothing about what the model computes in training; not written. */
const IGNORED: ConfigField = { absent: undefined, read: () => ({}), write: () => undefined };

export function ignored(...fields: readonly string[]): Readonly<Record<string, ConfigField>> {
  return Object.fromEntries(fields.map((field) => [field, IGNORED]));
}

/** GELU by both names that configurations use for each form. */
export const GELUS: Readonly<Record<string, string>> = {
  gelu: "gelu",
  gelu_new: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
};

/** Fields that every configuration may have and that do not change what a training step computes. */
export const COMMON_FIELDS: Readonly<Record<string, ConfigField>> = ignored(
  "_name_or_path",
  "_attn_implementation_autoset",
  "architectures",
  "bos_token_id",
  "chunk_size_feed_forward",
  "classifier_dropout",
  "decoder_start_token_id",
  "dtype",
  "eos_token_id",
  "finetuning_task",
  "gradient_checkpointing",
  "model_type",
  "output_attentions",
  "output_hidden_states",
  "output_past",
  "pad_token_id",
  "problem_type",
  "return_dict",
  "sep_token_id",
  "task_specific_params",
  "tokenizer_class",
  "torch_dtype",
  "transformers_version",
  "use_cache",
);
