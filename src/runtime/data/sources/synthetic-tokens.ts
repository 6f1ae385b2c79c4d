import { type Objective, tokensOf } from "../objectives/objective.js";
import { hashNumbers } from "../sample-order.js";

/** Tokens of which three in four follow from the one before: a rule that a model can learn. */
export function syntheticTokens(objective: Objective, seed: number, sample: number): Int32Array {
  const words = wordsOf(objective);
  const tokens = new Int32Array(tokensOf(objective));
  let previous = hashNumbers(seed, sample) % words;
  for (let i = 0; i < tokens.length; i++) {
    const noise = hashNumbers(seed, sample, i);
    previous = noise % 4 === 0 ? (noise >>> 2) % words : (previous * 5 + 17) % words;
    tokens[i] = previous;
  }
  return tokens;
}

/** Tokens that stand for nothing else. */
function wordsOf(objective: Objective): number {
  switch (objective.kind) {
    case "causal":
      return objective.vocabulary;
    case "masked":
      return objective.words;
    case "spanCorruption":
      return Math.min(objective.end, objective.pad, ...objective.sentinels);
    case "classification":
      return 1;
  }
}
