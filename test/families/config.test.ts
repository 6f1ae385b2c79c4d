import { describe, expect, it } from "vitest";
import { isGalvatronError } from "../../src/base/errors.js";
import { configJsonText, parseConfigJson } from "../../src/families/hugging-face-json.js";
import { FAMILIES, modelNames, modelSpec } from "../../src/families/registry.js";
import type { ModelSpec } from "../../src/model/model-spec.js";

/** Lengths are no field of configurations that do not fix them. */
function lengths(model: ModelSpec): Readonly<Record<string, number>> {
  const { encoderSequence } = model.options;
  if ("image" in model.options) return {};
  return {
    sequence: model.sequence,
    ...(encoderSequence === undefined ? {} : { encoderSequence: Number(encoderSequence) }),
  };
}

function refused(config: Readonly<Record<string, unknown>>): string {
  try {
    parseConfigJson(JSON.stringify(config), "x");
  } catch (error) {
    if (isGalvatronError(error)) return `${error.code} ${error.message}`;
    throw error;
  }
  return "accepted";
}

describe("config.json", () => {
  it.each(modelNames().map((name) => [name]))("of %s is read back as the same model", (name) => {
    const model = modelSpec(name);
    expect(parseConfigJson(configJsonText(model), name, lengths(model))).toEqual(model);
  });

  it("takes a configuration's defaults for what it leaves out", () => {
    const bare = (type: string): ModelSpec => parseConfigJson(JSON.stringify({ model_type: type }), "x");
    const { name: _, ...gpt2 } = bare("gpt2");
    const rates = { dropout: 0.1, attentionDropout: 0.1 };
    expect(gpt2).toEqual({ ...modelSpec("gpt2-small", rates), name: undefined });
    expect(bare("bert").layers.length).toBe(12);
    expect(bare("qwen2").options.queryKeyValueBias).toBe(true);
    const swin = bare("swin");
    expect(swin.kinds["stage4"]!.heads).toBe(24);
    expect(swin.options).toMatchObject({ dropPath: 0.1 });
    // One rate of T5's stands for both, unless a person says what shall be dropped.
    expect(bare("t5").options).toMatchObject(rates);
    expect(parseConfigJson('{"model_type": "t5"}', "x", { dropout: 0 }).options).not.toHaveProperty(
      "attentionDropout",
    );
    expect(bare("vit").vocabulary).toBe(2);
  });

  it("reads rotary positions in both spellings", () => {
    const theta = (fields: object): unknown =>
      parseConfigJson(JSON.stringify({ model_type: "llama", ...fields }), "x").options.theta;
    expect(theta({ rope_theta: 5e5, rope_scaling: null })).toBe(5e5);
    expect(theta({ rope_parameters: { rope_type: "default", rope_theta: 5e5 } })).toBe(5e5);
    const older = { model_type: "gpt_neox", rotary_pct: 0.5, rotary_emb_base: 1000 };
    expect(parseConfigJson(JSON.stringify(older), "x").options).toMatchObject({
      rotaryShare: 0.5,
      theta: 1000,
    });
  });

  it.each<[string, object]>([
    ["hidden_act", { model_type: "bert", hidden_act: "relu" }],
    ["is_decoder", { model_type: "bert", is_decoder: true }],
    ["scale_attn_by_inverse_layer_idx", { model_type: "gpt2", scale_attn_by_inverse_layer_idx: true }],
    ["n_layer", { model_type: "gpt2", n_layer: "twelve" }],
    ["rope_scaling", { model_type: "llama", rope_scaling: { type: "linear", factor: 2 } }],
    ["rope_parameters.rope_type", { model_type: "llama", rope_parameters: { rope_type: "yarn" } }],
    ["rope_parameters.factor", { model_type: "llama", rope_parameters: { rope_type: "default", factor: 2 } }],
    ["attention_bias", { model_type: "llama", attention_bias: true }],
    ["use_sliding_window", { model_type: "qwen2", use_sliding_window: true }],
    ["layer_types", { model_type: "qwen2", layer_types: ["full_attention", "sliding_attention"] }],
    ["feed_forward_proj", { model_type: "t5", feed_forward_proj: "gated-silu" }],
    ["scale_decoder_outputs", { model_type: "t5", tie_word_embeddings: true, scale_decoder_outputs: false }],
    ["image_size", { model_type: "vit", image_size: [224, 192] }],
    ["qkv_bias", { model_type: "vit", qkv_bias: false }],
    ["use_absolute_embeddings", { model_type: "swin", use_absolute_embeddings: true }],
    ["mlp_ratio", { model_type: "swin", mlp_ratio: 2 }],
    ["drop_path_rate", { model_type: "swin", drop_path_rate: "a tenth" }],
    ["dropout_rate", { model_type: "t5", dropout_rate: "a tenth" }],
    ["resid_pdrop", { model_type: "gpt2", embd_pdrop: 0.1, resid_pdrop: 0.2 }],
    ["a_new_field", { model_type: "gpt2", a_new_field: 1 }],
    ["mamba", { model_type: "mamba" }],
    ["model_type", {}],
  ])("that cannot be expressed is refused by name: %s", (field, config) => {
    expect(refused(config as Record<string, unknown>)).toMatch(
      new RegExp(`^MODEL_.*${field.replace(".", "\\.")}`),
    );
  });

  it("hands dropout on in both directions", () => {
    for (const name of ["gpt", "bert", "vit", "swin", "neox"]) {
      const model = modelSpec(name, { dropout: 0.2, attentionDropout: 0.3 });
      expect(parseConfigJson(configJsonText(model), name, lengths(model))).toEqual(model);
    }
    const t5 = modelSpec("t5", { dropout: 0.2, attentionDropout: 0.2 });
    expect(parseConfigJson(configJsonText(t5), "t5", lengths(t5))).toEqual(t5);
    const swin = modelSpec("swin", { dropPath: 0.3 });
    expect(parseConfigJson(configJsonText(swin), "swin", lengths(swin))).toEqual(swin);
    const llama = modelSpec("llama", { attentionDropout: 0.3 });
    expect(parseConfigJson(configJsonText(llama), "llama", lengths(llama))).toEqual(llama);
  });

  it("names the type and class that train it", () => {
    for (const { name, huggingFace } of FAMILIES) {
      const config = JSON.parse(configJsonText(modelSpec(name))) as Record<string, unknown>;
      expect(huggingFace.classes[String(config["model_type"])]).toBe(
        (config["architectures"] as string[])[0],
      );
    }
  });
});
