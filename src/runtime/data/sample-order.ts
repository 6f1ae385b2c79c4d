/** A well-mixing hash of 32 bits (Appleby's MurmurHash3 finalizer). */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Hash of a list of whole numbers (each below 2^53) to 32 bits. */
export function hashNumbers(...values: readonly number[]): number {
  let h = 0x9e3779b9;
  for (const value of values) {
    h = mix(h ^ (value >>> 0));
    h = mix((h + Math.floor(value / 2 ** 32) + 0x7f4a7c15) | 0);
  }
  return h;
}

const ROUNDS = 6;

/**
 * A seeded permutation of `[0, count)`, one element at a time and without a table: a Feistel network over the next
 * even power of two, walked until it lands inside (Black & Rogaway 2002, "cycle walking").
 */
export function permuted(index: number, count: number, seed: number, epoch: number): number {
  if (count <= 1) return 0;
  const halfBits = Math.ceil(Math.log2(count) / 2);
  const half = 2 ** halfBits;
  let value = index;
  do {
    let left = Math.floor(value / half);
    let right = value % half;
    for (let round = 0; round < ROUNDS; round++) {
      const next = (left ^ (hashNumbers(seed, epoch, round, right) % half)) >>> 0;
      left = right;
      right = next;
    }
    value = left * half + right;
  } while (value >= count);
  return value;
}

/**
 * Which sample of the dataset stands at a place of the endless training order: a pure function of the seed and the
 * place, so a run resumes at the exact sample by knowing its step.
 *
 * @param place - samples consumed before it since training began
 */
export function sampleAt(place: number, count: number, seed: number, shuffle: boolean): number {
  const epoch = Math.floor(place / count);
  const index = place % count;
  return shuffle ? permuted(index, count, seed, epoch) : index;
}

/** The split into training and held-out samples is the data's own: other seeds hold out the same samples. */
const SPLIT_SEED = 0x5b117;

/**
 * Number of a training sample (`index` below `samples`) or a held-out one (the `heldOut` from `samples` on) in its
 * source: a fixed permutation says which samples are held out.
 */
export function splitSample(index: number, samples: number, heldOut: number): number {
  return heldOut === 0 ? index : permuted(index, samples + heldOut, SPLIT_SEED, 0);
}

/**
 * Which of several parts stands at a place of the blended order, and the place in that part's own order. After n places
 * part i has had n · weight_i of them, up to one for every part before it: a function of the place alone.
 *
 * @param weights - sum to 1
 */
export function blendedAt(
  place: number,
  weights: readonly number[],
): { readonly part: number; readonly place: number } {
  let rest = place;
  let left = 1;
  for (let part = 0; part < weights.length - 1; part++) {
    const share = Math.min(1, weights[part]! / left);
    const before = Math.floor(rest * share);
    if (Math.floor((rest + 1) * share) > before) return { part, place: before };
    rest -= before;
    left -= weights[part]!;
  }
  return { part: weights.length - 1, place: rest };
}
