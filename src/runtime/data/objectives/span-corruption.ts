import { hashNumbers, permuted } from "../sample-order.js";
import { IGNORED, type SpanCorruptionObjective } from "./objective.js";

/** Cuts `total` into `parts` pieces of at least one, all ways alike likely: `parts − 1` borders out of `total − 1`. */
function randomParts(total: number, parts: number, draw: number): readonly number[] {
  const borders = Array.from({ length: parts - 1 }, (_, i) => 1 + permuted(i, total - 1, draw, 0));
  const ends = [...borders.sort((a, b) => a - b), total];
  return ends.map((end, i) => end - (ends[i - 1] ?? 0));
}

/**
 * Cuts spans out of a sample (Raffel et al. 2020): text and spans alternate, text first. The encoder reads the text with
 * a sentinel for each span, the decoder writes each sentinel with its span; both close with the end token.
 */
export function spanCorruptionExample(
  window: Int32Array,
  objective: SpanCorruptionObjective,
  seed: number,
  place: number,
): { readonly tokens: Int32Array; readonly decoderTokens: Int32Array; readonly labels: Int32Array } {
  const { cut, spans, encoderSequence, sequence, sentinels, end, pad } = objective;
  const draw = hashNumbers(seed, place);
  const kept = randomParts(objective.tokens - cut, spans, hashNumbers(draw, 0));
  const lengths = randomParts(cut, spans, hashNumbers(draw, 1));
  const tokens = new Int32Array(encoderSequence).fill(pad);
  const target = new Int32Array(cut + spans + 1);
  let [read, encoder, decoder] = [0, 0, 0];
  for (let span = 0; span < spans; span++) {
    tokens.set(window.subarray(read, read + kept[span]!), encoder);
    read += kept[span]!;
    encoder += kept[span]!;
    tokens[encoder++] = sentinels[span]!;
    target[decoder++] = sentinels[span]!;
    target.set(window.subarray(read, read + lengths[span]!), decoder);
    read += lengths[span]!;
    decoder += lengths[span]!;
  }
  tokens[encoder] = end;
  target[decoder] = end;
  const decoderTokens = new Int32Array(sequence).fill(pad);
  decoderTokens.set(target.subarray(0, Math.min(target.length, sequence - 1)), 1);
  const labels = new Int32Array(sequence).fill(IGNORED);
  labels.set(target);
  return { tokens, decoderTokens, labels };
}
