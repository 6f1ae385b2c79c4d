/**
 * Counter-based random numbers: Philox 4x32 with ten rounds (Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", 2011). Element i of a stream is a pure function of (seed, name, i), so initial weights do not depend on
 * how a plan cuts them.
 */

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;

/** High 32 bits of a 32 × 32 bit product. */
function multiplyHigh(a: number, b: number): number {
  const [aHigh, aLow] = [a >>> 16, a & 0xffff];
  const [bHigh, bLow] = [b >>> 16, b & 0xffff];
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >>> 16);
  const middleLow = (middle & 0xffff) + aLow * bHigh;
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(middleLow / 65536)) >>> 0;
}

/**
 * One Philox block: four random 32-bit words.
 * @param block number of the block, below 2^53
 * @param out receives the words
 */
export function philox(key0: number, key1: number, block: number, out: Uint32Array): void {
  let c0 = block >>> 0;
  let c1 = Math.floor(block / 4294967296) >>> 0;
  let c2 = 0;
  let c3 = 0;
  let k0 = key0 >>> 0;
  let k1 = key1 >>> 0;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0) >>> 0;
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** FNV-1a (32 bits) of the UTF-16 code units of a text, from a given start. */
function fnv1a(text: string, start: number): number {
  let hash = start;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ (text.charCodeAt(i) & 0xff), 0x01000193);
    hash = Math.imul(hash ^ (text.charCodeAt(i) >>> 8), 0x01000193);
  }
  return hash >>> 0;
}

/** Philox key of the stream `name` under a seed. */
export function streamKey(seed: number, name: string): readonly [number, number] {
  const text = `${seed}/${name}`;
  return [fnv1a(text, 0x811c9dc5), fnv1a(text, 0x9747b28c)];
}

/** Elements `[start, start + count)` of a stream of uniform numbers in (0, 1). */
export function fillUniform(seed: number, name: string, start: number, count: number): Float64Array {
  const [key0, key1] = streamKey(seed, name);
  const result = new Float64Array(count);
  const words = new Uint32Array(4);
  for (let i = 0; i < count; ) {
    const element = start + i;
    philox(key0, key1, Math.floor(element / 4), words);
    for (let lane = element % 4; lane < 4 && i < count; lane++, i++) {
      result[i] = (words[lane]! + 0.5) / 4294967296;
    }
  }
  return result;
}

/**
 * Elements `[start, start + count)` of a stream of normal numbers (Box & Muller 1958), two from each pair of words.
 * @param name full name of the parameter
 */
export function fillNormal(
  seed: number,
  name: string,
  start: number,
  count: number,
  standardDeviation: number,
): Float32Array {
  const [key0, key1] = streamKey(seed, name);
  const result = new Float32Array(count);
  const words = new Uint32Array(4);
  const normals = new Float64Array(4);
  for (let i = 0; i < count; ) {
    const element = start + i;
    philox(key0, key1, Math.floor(element / 4), words);
    for (const pair of [0, 2]) {
      const radius = Math.sqrt(-2 * Math.log((words[pair]! + 0.5) / 4294967296));
      const angle = 2 * Math.PI * ((words[pair + 1]! + 0.5) / 4294967296);
      normals[pair] = radius * Math.cos(angle);
      normals[pair + 1] = radius * Math.sin(angle);
    }
    for (let lane = element % 4; lane < 4 && i < count; lane++, i++) {
      result[i] = normals[lane]! * standardDeviation;
    }
  }
  return result;
}
