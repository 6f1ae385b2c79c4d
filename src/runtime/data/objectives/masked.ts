import { hashNumbers, permuted } from "../sample-order.js";
import { IGNORED, type MaskedObjective } from "./objective.js";

/**
 * Hides tokens of a sample: of those chosen, 80 % become the mask, 10 % a random token, 10 % stay (Devlin et al. 2019).
 * Tokens that open and close a sample stay. Which ones is a function of the seed and the sample's place, so every epoch hides others.
 */
export function maskedExample(
  window: Int32Array,
  objective: MaskedObjective,
  seed: number,
  place: number,
): { readonly tokens: Int32Array; readonly labels: Int32Array } {
  const { sequence, masked, mask, words, edges } = objective;
  const tokens = new Int32Array(sequence);
  const first = edges ? 1 : 0;
  tokens.set(window, first);
  if (edges) [tokens[0], tokens[sequence - 1]] = edges;
  const labels = new Int32Array(sequence).fill(IGNORED);
  const draw = hashNumbers(seed, place);
  for (let i = 0; i < masked; i++) {
    const position = first + permuted(i, window.length, draw, 0);
    labels[position] = tokens[position]!;
    const chance = hashNumbers(draw, i) % 10;
    if (chance < 8) tokens[position] = mask;
    else if (chance === 8) tokens[position] = hashNumbers(draw, i, 1) % words;
  }
  return { tokens, labels };
}
