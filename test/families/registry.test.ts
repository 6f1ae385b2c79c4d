import { describe, expect, it } from "vitest";
import { modelNames, modelSpec } from "../../src/families/registry.js";
import { parameterCount } from "../../src/model/parameter-count.js";

describe("modelSpec", () => {
  // Parameters of the published checkpoints, as their libraries count them.
  it.each([
    ["gpt2-small", 124_439_808],
    ["gpt2-medium", 354_823_168],
    ["gpt2-large", 774_030_080],
    ["gpt2-xl", 1_557_611_200],
    ["llama-7b", 6_738_415_616],
    ["llama-13b", 13_015_864_320],
    ["llama2-70b", 68_976_648_192],
    ["qwen2.5-1.5b", 1_543_714_304],
    ["qwen2.5-7b", 7_615_616_512],
    ["bert-base", 109_514_298],
    ["pythia-160m", 162_322_944],
    ["pythia-1.4b", 1_414_647_808],
    ["t5-small", 60_506_624],
    ["t5-base", 222_903_552],
    ["t5-large", 737_668_096],
    ["t5-3b", 2_851_598_336],
    ["swin-tiny", 28_288_354],
    ["swin-large", 196_735_516],
    ["vit-base", 86_567_656],
    ["vit-large", 304_326_632],
  ])("%s has %i parameters", (name, parameters) => {
    expect(parameterCount(modelSpec(name))).toBe(parameters);
  });

  it("counts the flops of GPT-2 as 2 × weights × tokens and half of the attention", () => {
    const { kinds } = modelSpec("gpt2-small");
    const { forwardFlops, sequence, hidden } = kinds.decoder!;
    expect(forwardFlops).toBe(2 * sequence * 12 * hidden ** 2 + 2 * sequence ** 2 * hidden);
  });

  it("makes every preset", () => {
    for (const name of modelNames()) {
      const model = modelSpec(name);
      expect(model.layers.every((kind) => kind in model.kinds)).toBe(true);
      expect(parameterCount(model)).toBeGreaterThan(100_000);
    }
  });

  it.each([
    ["gpt5", {}, /no model is called "gpt5"; known: .*gpt.*gpt2-small/],
    ["constructor", {}, /no model is called/],
    ["gpt", { hidden: 100, heads: 8 }, /hidden \(100\) must be a multiple of heads \(8\)/],
    ["gpt", { layers: 0 }, /layers: expected a whole number of at least 1, got 0/],
    ["gpt", { layers: 2.5 }, /layers: expected a whole number/],
    ["gpt", { width: 3 }, /gpt has no option width; it knows .*hidden/],
    ["gpt", { activation: "relu" }, /activation: expected one of gelu, gelu-tanh, got relu/],
    ["llama", { heads: 8, keyValueHeads: 3 }, /heads \(8\) must be a multiple of keyValueHeads \(3\)/],
    ["vit", { image: 30, patch: 4 }, /image \(30\) must be a multiple of patch \(4\)/],
  ])("refuses %s %j in words", (name, options, message) => {
    expect(() => modelSpec(name, options)).toThrow(message);
  });
});
