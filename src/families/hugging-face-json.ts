import { z } from "zod";
import { GalvatronError } from "../base/errors.js";
import type { ModelOptions } from "../model/model-options.js";
import type { ModelSpec } from "../model/model-spec.js";
import { COMMON_FIELDS, type JsonObject } from "./config-fields.js";
import type { Family } from "./family.js";
import { FAMILIES, familyOf, modelSpec } from "./registry.js";

const configJson = z.looseObject({ model_type: z.string() }).catchall(z.json());

/**
 * A Hugging Face `config.json` as a model of ours. Every field is looked at: what it means is taken over exactly, or
 * refused by its name.
 *
 * @param options override what the configuration says, as they do for presets: `sequence` above all
 * @throws GalvatronError `MODEL_UNKNOWN` for a `model_type` of no family, `MODEL_INVALID` that names a field whose value
 * cannot be expressed, or that is not known
 */
export function parseConfigJson(text: string, name: string, options: ModelOptions = {}): ModelSpec {
  const config = parseObject(text);
  const modelType = config.model_type as string;
  const family = FAMILIES.find(({ huggingFace }) => Object.hasOwn(huggingFace.classes, modelType));
  if (!family) {
    const known = FAMILIES.flatMap(({ huggingFace }) => Object.keys(huggingFace.classes)).join(", ");
    throw new GalvatronError(
      "MODEL_UNKNOWN",
      `config.json: no family here is of model_type "${modelType}"; known: ${known}`,
      { modelType },
    );
  }
  const read = readFields(family, modelType, config, options);
  return { ...modelSpec(family.name, { ...read, ...options }), name };
}

function parseObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new GalvatronError("MODEL_INVALID", `config.json: expected JSON, but ${String(cause)}`);
  }
  const parsed = configJson.safeParse(value);
  if (parsed.success) return parsed.data as JsonObject;
  const issue = parsed.error.issues[0]!;
  throw new GalvatronError("MODEL_INVALID", `config.json: ${issue.path.join(".")}: ${issue.message}`);
}

function readFields(
  family: Family,
  modelType: string,
  config: JsonObject,
  given: ModelOptions,
): ModelOptions {
  const fields = { ...COMMON_FIELDS, ...family.huggingFace.fields(modelType) };
  const stranger = Object.keys(config).find((name) => !Object.hasOwn(fields, name));
  if (stranger !== undefined)
    throw new GalvatronError(
      "MODEL_INVALID",
      `config.json: the field ${stranger} is not known for model_type "${modelType}"; remove it if it does not change what the model computes`,
      { field: stranger },
    );
  let options: ModelOptions = { ...family.huggingFace.fixed?.(modelType) };
  // Defaults first: a field that is there may say more than one that is not.
  const counting = Object.entries(fields).filter(
    ([, { unless }]) => unless === undefined || given[unless] === undefined,
  );
  const present = counting.filter(([name]) => Object.hasOwn(config, name));
  for (const [name, field] of counting)
    if (!Object.hasOwn(config, name) && field.absent !== undefined)
      options = { ...options, ...field.read(field.absent, name) };
  const saidBy = new Map<string, string>();
  for (const [name, field] of present) {
    const said = field.read(config[name]!, name);
    for (const option of Object.keys(said)) {
      const other = saidBy.get(option);
      if (other !== undefined && JSON.stringify(options[option]) !== JSON.stringify(said[option]))
        throw new GalvatronError(
          "MODEL_INVALID",
          `config.json: ${other} and ${name} contradict each other; expected that both mean the same`,
          { field: name },
        );
      saidBy.set(option, name);
    }
    options = { ...options, ...said };
  }
  return options;
}

/** A model of ours as the content of a Hugging Face `config.json`: the inverse of {@link parseConfigJson}. */
export function configJsonText(model: ModelSpec): string {
  const { huggingFace } = familyOf(model.family);
  const modelType = huggingFace.modelType(model);
  const options = huggingFace.options(model);
  const written = Object.entries(huggingFace.fields(modelType)).flatMap(([name, field]) => {
    const value = field.write({ ...options, sequence: model.sequence });
    return value === undefined ? [] : [[name, value] as const];
  });
  const content = {
    architectures: [huggingFace.classes[modelType]],
    model_type: modelType,
    dtype: "float32",
    ...Object.fromEntries(written),
  };
  return `${JSON.stringify(content, null, 2)}\n`;
}
