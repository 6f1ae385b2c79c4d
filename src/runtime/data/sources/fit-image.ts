import { GalvatronError } from "../../../base/errors.js";
import type { ClassificationObjective } from "../objectives/objective.js";
import type { Pixels } from "./decode-image.js";

/** Pixels by which an image moves; its border is continued. */
export interface Move {
  readonly right: number;
  readonly down: number;
}

export const STAY: Move = { right: 0, down: 0 };

/** Weights of red, green and blue in luminance (ITU-R BT.601). */
const LUMINANCE = [0.299, 0.587, 0.114] as const;

/**
 * Pixels as a model's graphs read them, `[patches, channels · patch²]`: patches row by row, a patch's values in the order
 * channel, row, column. Images of another size are scaled so that their shorter side fits and cut in the middle; alpha is
 * dropped; colours become luminance where the model has one channel, grey is repeated where it has three.
 *
 * @throws GalvatronError DATA_INVALID for channels that do not become each other
 */
export function fitImage(
  pixels: Pixels,
  objective: ClassificationObjective,
  path: string,
  move: Move,
): Float32Array {
  const { image, patch, channels, mean, deviation } = objective;
  const planes = resized(withChannels(pixels, channels, path), image);
  const across = image / patch;
  const width = channels * patch * patch;
  const fitted = new Float32Array(across * across * width);
  for (let y = 0; y < image; y++)
    for (let x = 0; x < image; x++) {
      const row = Math.floor(y / patch) * across + Math.floor(x / patch);
      const from = inside(y - move.down, image) * image + inside(x - move.right, image);
      const within = (y % patch) * patch + (x % patch);
      for (let channel = 0; channel < channels; channel++)
        fitted[row * width + channel * patch * patch + within] =
          (planes[from * channels + channel]! - (mean ?? 0.5)) / (deviation ?? 0.5);
    }
  return fitted;
}

function inside(place: number, length: number): number {
  return Math.min(Math.max(place, 0), length - 1);
}

function withChannels(pixels: Pixels, channels: number, path: string): Pixels {
  const colours = pixels.channels >= 3 ? 3 : 1;
  if (pixels.channels === channels) return pixels;
  if (channels !== 1 && channels !== 3)
    throw new GalvatronError(
      "DATA_INVALID",
      `${path} has ${pixels.channels} channel(s), the model ${channels}. Give the model { channels: ${colours} }.`,
      { path, channels },
    );
  const { width, height } = pixels;
  const count = width * height;
  const values = new Float32Array(count * channels);
  for (let i = 0; i < count; i++) {
    const at = i * pixels.channels;
    const grey =
      colours === 1
        ? pixels.values[at]!
        : LUMINANCE.reduce((sum, weight, channel) => sum + weight * pixels.values[at + channel]!, 0);
    for (let channel = 0; channel < channels; channel++)
      values[i * channels + channel] = channels === 3 && colours === 3 ? pixels.values[at + channel]! : grey;
  }
  return { width, height, channels, values };
}

/** Bilinear, and where the image shrinks, the mean over the area that a pixel stands for. */
function resized({ width, height, channels, values }: Pixels, side: number): Float32Array {
  if (width === side && height === side) return values;
  const scale = Math.min(width, height) / side;
  const [left, top] = [(width - side * scale) / 2, (height - side * scale) / 2];
  const columns = taps(side, scale, left, width);
  const rows = taps(side, scale, top, height);
  const narrow = new Float32Array(height * side * channels);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < side; x++)
      for (const [from, weight] of columns[x]!)
        for (let channel = 0; channel < channels; channel++)
          narrow[(y * side + x) * channels + channel]! +=
            weight * values[(y * width + from) * channels + channel]!;
  const fitted = new Float32Array(side * side * channels);
  for (let y = 0; y < side; y++)
    for (const [from, weight] of rows[y]!)
      for (let i = 0; i < side * channels; i++)
        fitted[y * side * channels + i]! += weight * narrow[from * side * channels + i]!;
  return fitted;
}

/** For each pixel of a line, the pixels that it is made of and their weights, which sum to 1: a triangle filter. */
function taps(
  side: number,
  scale: number,
  start: number,
  length: number,
): readonly (readonly (readonly [number, number])[])[] {
  const reach = Math.max(1, scale);
  return Array.from({ length: side }, (_, i) => {
    const centre = start + (i + 0.5) * scale;
    const found: [number, number][] = [];
    for (let from = Math.floor(centre - reach); from <= Math.ceil(centre + reach); from++) {
      const weight = 1 - Math.abs(from + 0.5 - centre) / reach;
      if (weight > 0 && from >= 0 && from < length) found.push([from, weight]);
    }
    const sum = found.reduce((total, [, weight]) => total + weight, 0);
    return found.map(([from, weight]) => [from, weight / sum] as const);
  });
}
