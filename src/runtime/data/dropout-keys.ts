import { KEY_MASK } from "../../base/mix.js";
import { philox, streamKey } from "../../base/random.js";

/**
 * What dropout needs to know of consecutive samples, int64 `[1, samples, 3]`: two keys below 2^30, functions of the seed
 * and the sample's place in the training alone, and whether anything is dropped.
 *
 * @param first - samples consumed before the first of them since training began
 * @param active - false where the model is only evaluated
 */
export function dropoutKeys(
  seed: number,
  first: number,
  samples: number,
  active: boolean = true,
): BigInt64Array {
  const [key0, key1] = streamKey(seed, "dropout");
  const words = new Uint32Array(4);
  const keys = new BigInt64Array(3 * samples);
  for (let sample = 0; sample < samples; sample++) {
    philox(key0, key1, first + sample, words);
    keys[3 * sample] = BigInt(words[0]! & KEY_MASK);
    keys[3 * sample + 1] = BigInt(words[1]! & KEY_MASK);
    keys[3 * sample + 2] = active ? 1n : 0n;
  }
  return keys;
}
