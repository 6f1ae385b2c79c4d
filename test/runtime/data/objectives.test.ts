import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { modelSpec } from "../../../src/families/registry.js";
import { openExamples } from "../../../src/runtime/data/example-reader.js";
import { syntheticDataset } from "../../../src/runtime/data/find-data.js";
import { maskedExample } from "../../../src/runtime/data/objectives/masked.js";
import { IGNORED, labelsOf, tokensOf, valueShapes } from "../../../src/runtime/data/objectives/objective.js";
import {
  BYTES,
  type TokenMeaning,
  textObjective,
} from "../../../src/runtime/data/objectives/objective-of.js";
import { spanCorruptionExample } from "../../../src/runtime/data/objectives/span-corruption.js";
import { blendedAt } from "../../../src/runtime/data/sample-order.js";

const sizes = { layers: 1, hidden: 8, heads: 1, sequence: 200 };
const bert = modelSpec("bert", { ...sizes, vocabulary: 257 });
const t5 = modelSpec("t5", {
  layers: 1,
  hidden: 8,
  heads: 1,
  sequence: 40,
  encoderSequence: 120,
  vocabulary: 384,
});
const NO_SPECIALS: TokenMeaning = {
  source: "plain.json",
  words: 100,
  mask: null,
  edges: null,
  end: null,
  pad: null,
  sentinels: [],
};

describe("masked language model", () => {
  const objective = textObjective(bert, BYTES);
  if (objective.kind !== "masked") throw new TypeError("expected a masked objective");
  const window = Int32Array.from({ length: 200 }, (_, i) => i);

  it("hides 15 % of the tokens: 80 % masks, 10 % random, 10 % as they were; labels where hidden only", () => {
    let [masks, same, other] = [0, 0, 0];
    for (let place = 0; place < 500; place++) {
      const { tokens, labels } = maskedExample(window, objective, 7, place);
      let hidden = 0;
      for (let i = 0; i < 200; i++) {
        if (labels[i] === IGNORED) {
          expect(tokens[i]).toBe(window[i]);
          continue;
        }
        hidden++;
        expect(labels[i]).toBe(window[i]);
        if (tokens[i] === 256) masks++;
        else if (tokens[i] === window[i]) same++;
        else other++;
      }
      expect(hidden).toBe(30);
    }
    // Of 15,000 draws, four standard deviations are 1.3 % of all for the masks and 1 % for the others.
    expect(Math.abs(masks / 15_000 - 0.8)).toBeLessThan(0.013);
    expect(Math.abs(same / 15_000 - 0.1)).toBeLessThan(0.01);
    expect(Math.abs(other / 15_000 - 0.1)).toBeLessThan(0.01);
  });

  it("opens and closes samples with the tokenizer's tokens for that, and hides only what is between", () => {
    const closed = textObjective(modelSpec("bert", { ...sizes, vocabulary: 303 }), {
      ...BYTES,
      mask: 300,
      edges: [301, 302],
    });
    if (closed.kind !== "masked") throw new TypeError("expected a masked objective");
    expect([tokensOf(closed), labelsOf(closed), labelsOf(objective)]).toEqual([198, 30, 30]);
    const text = window.subarray(0, 198);
    const hidden = new Set<number>();
    for (let place = 0; place < 200; place++) {
      const { tokens, labels } = maskedExample(text, closed, 7, place);
      expect([tokens[0], tokens[199], labels[0], labels[199]]).toEqual([301, 302, IGNORED, IGNORED]);
      for (let i = 1; i < 199; i++) {
        if (labels[i] === IGNORED) expect(tokens[i]).toBe(text[i - 1]);
        else {
          expect(labels[i]).toBe(text[i - 1]);
          hidden.add(i);
        }
      }
    }
    expect(hidden.size).toBe(198);
  });

  it("is a function of seed and place, and hides others at every place", () => {
    const at = (seed: number, place: number): string =>
      maskedExample(window, objective, seed, place).labels.join();
    expect(at(1, 5)).toBe(at(1, 5));
    expect(new Set([at(1, 5), at(1, 6), at(2, 5)]).size).toBe(3);
  });
});

describe("span corruption", () => {
  it("loses nothing: spans put back where their sentinels stand give the text", () => {
    fc.assert(
      fc.property(fc.integer({ min: 4, max: 300 }), fc.nat(), fc.nat(1e6), (encoderSequence, seed, place) => {
        const spec = {
          ...t5,
          sequence: encoderSequence,
          options: { ...t5.options, encoderSequence },
          vocabulary: 1000,
        };
        const objective = textObjective(spec, BYTES);
        if (objective.kind !== "spanCorruption") throw new TypeError("expected span corruption");
        const { sentinels, end, pad, cut, spans } = objective;
        const window = Int32Array.from({ length: tokensOf(objective) }, (_, i) => i % 256);
        const { tokens, decoderTokens, labels } = spanCorruptionExample(window, objective, seed, place);
        expect([tokens.length, labels.length]).toEqual([encoderSequence, encoderSequence]);
        expect(tokens.at(-1)).toBe(end);
        const target = [...labels].filter((label) => label !== IGNORED);
        expect(target).toHaveLength(labelsOf(objective));
        expect(target.at(-1)).toBe(end);
        // The decoder reads what it wrote, one token later.
        expect([...decoderTokens].slice(0, target.length)).toEqual([pad, ...target.slice(0, -1)]);
        const byspan = new Map<number, number[]>();
        let current: number[] = [];
        for (const token of target.slice(0, -1)) {
          if (sentinels.includes(token)) {
            current = [];
            byspan.set(token, current);
          } else current.push(token);
        }
        expect([...byspan.values()].flat()).toHaveLength(cut);
        expect(byspan.size).toBe(spans);
        const whole = [...tokens].slice(0, -1).flatMap((token) => byspan.get(token) ?? [token]);
        expect(whole).toEqual([...window]);
      }),
      { numRuns: 200 },
    );
  });

  it("cuts 15 % out in spans of three tokens on average", () => {
    const objective = textObjective(t5, BYTES);
    if (objective.kind !== "spanCorruption") throw new TypeError("expected span corruption");
    expect(objective.cut / objective.tokens).toBeCloseTo(0.15, 2);
    expect(objective.cut / objective.spans).toBeCloseTo(3, 0);
  });
});

describe("what a model needs of its tokens", () => {
  it.each([
    [bert, { ...BYTES, mask: 300 }, /needs a vocabulary of at least 301; it has 257/],
    [bert, NO_SPECIALS, /needs a token for "mask" .*plain.json has none/],
    [t5, NO_SPECIALS, /needs a token for "end"/],
    [t5, { ...NO_SPECIALS, end: 1, pad: 0 }, /spans cut out; plain.json has 0 sentinels/],
    [{ ...t5, vocabulary: 260 }, BYTES, /needs a vocabulary of at least 265/],
    [{ ...t5, sequence: 20 }, BYTES, /its decoder writes 28 tokens and has room for 20.*sequence: 28/],
    [modelSpec("vit"), BYTES, /learns images, this data is text/],
  ])("%#: refuses in words", (model, meaning, message) => {
    expect(() => textObjective(model, meaning)).toThrow(message);
  });
});

describe("synthetic data", () => {
  it.each(["gpt", "llama", "bert", "t5", "vit", "swin"])(
    "gives %s all that its graphs read",
    async (family) => {
      const model = modelSpec(family);
      const dataset = syntheticDataset(model, 3);
      const shapes = valueShapes(dataset.objective);
      const reader = openExamples(dataset);
      const example = await reader.train(17, new Set(Object.keys(shapes)));
      for (const [name, { rows, width, type }] of Object.entries(shapes)) {
        expect(example[name]).toHaveLength(rows * width);
        if (type === "int64") expect(Math.max(...example[name]!)).toBeLessThan(model.vocabulary);
      }
      expect([...example.labels!].filter((label) => label >= 0)).toHaveLength(labelsOf(dataset.objective));
    },
  );
});

describe("blending", () => {
  it("keeps every part within one sample a part of its share, and its own order without gaps", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 5 }), (raw) => {
        const total = raw.reduce((sum, weight) => sum + weight, 0);
        const weights = raw.map((weight) => weight / total);
        const seen = weights.map(() => 0);
        for (let place = 0; place < 2000; place++) {
          const at = blendedAt(place, weights);
          expect(at.place).toBe(seen[at.part]);
          seen[at.part]!++;
          for (const [part, weight] of weights.entries())
            expect(Math.abs(seen[part]! - weight * (place + 1))).toBeLessThanOrEqual(weights.length);
        }
      }),
      { numRuns: 20 },
    );
  });
});
