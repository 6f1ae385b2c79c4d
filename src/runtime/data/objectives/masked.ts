import { hashNumbers, permuted } from "../sample-order.js";
import { IGNORED, type MaskedObjective } from "./objective.js";

/**
 * Hides tokens of a sample: of those chosen, 80 % become the mask, 10 % a random token, 10 % stay (Devlin et al. 2019).
 * Which ones is a function of the seed and the sample's place, so every epoch hides others.
 */
export function maskedExample(
  window: Int32Array,
  objective: MaskedObjective,
  seed: number,
  place: number,
): { readonly tokens: Int32Array; readonly labels: Int32Array } {
  const { sequence, masked, mask, words } = objective;
  const tokens = window.slice(0, sequence);
  const labels = new Int32Array(sequence).fill(IGNORED);
  const draw = hashNumbers(seed, place);
  for (let i = 0; i < masked; i++) {
    const position = permuted(i, sequence, draw, 0);
    labels[position] = window[position]!;
    const chance = hashNumbers(draw, i) % 10;
    if (chance < 8) tokens[position] = mask;
    else if (chance === 8) tokens[position] = hashNumbers(draw, i, 1) % words;
  }
  return { tokens, labels };
}
