import { decode as decodePng } from "fast-png";
import { decode as decodeJpeg } from "jpeg-js";
import { GalvatronError } from "../../../base/errors.js";

/** Pixels in [0, 1], row by row, channels of a pixel beside each other. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  /** 1 grey, 2 grey and alpha, 3 colours, 4 colours and alpha. */
  readonly channels: number;
  readonly values: Float32Array;
}

/** @throws GalvatronError DATA_INVALID naming `path` for anything but a whole PNG or JPEG */
export function decodeImage(bytes: Uint8Array, path: string): Pixels {
  const isPng = bytes[0] === 0x89 && bytes[1] === 0x50;
  const isJpeg = bytes[0] === 0xff && bytes[1] === 0xd8;
  if (!isPng && !isJpeg)
    throw new GalvatronError("DATA_INVALID", `${path} is neither a PNG nor a JPEG.`, { path });
  try {
    return isPng ? pngPixels(bytes) : jpegPixels(bytes);
  } catch (cause) {
    throw new GalvatronError(
      "DATA_INVALID",
      `${path} is no whole ${isPng ? "PNG" : "JPEG"}: ${cause instanceof Error ? cause.message : String(cause)}. Replace or remove it.`,
      { path },
      { cause },
    );
  }
}

function pngPixels(bytes: Uint8Array): Pixels {
  const image = decodePng(bytes, { checkCrc: true });
  const { width, height, depth, palette } = image;
  const samples = depth < 8 ? unpacked(image.data, depth, width * image.channels, height) : image.data;
  if (palette) return { width, height, channels: 3, values: coloured(samples, palette) };
  const most = 2 ** depth - 1;
  return {
    width,
    height,
    channels: image.channels,
    values: scaled(samples, most),
  };
}

function scaled(samples: ArrayLike<number>, most: number): Float32Array {
  const values = new Float32Array(samples.length);
  for (let i = 0; i < values.length; i++) values[i] = samples[i]! / most;
  return values;
}

function coloured(indices: ArrayLike<number>, palette: readonly (readonly number[])[]): Float32Array {
  const values = new Float32Array(indices.length * 3);
  for (let i = 0; i < indices.length; i++) {
    const colour = palette[indices[i]!];
    if (!colour) throw new RangeError(`colour ${indices[i]} is not in its palette`);
    for (let channel = 0; channel < 3; channel++) values[3 * i + channel] = colour[channel]! / 255;
  }
  return values;
}

/** Samples of fewer than 8 bits share bytes; every row starts with a new one. */
function unpacked(data: ArrayLike<number>, depth: number, rowLength: number, height: number): Uint8Array {
  const perByte = 8 / depth;
  const rowBytes = Math.ceil(rowLength / perByte);
  const values = new Uint8Array(rowLength * height);
  for (let row = 0; row < height; row++)
    for (let i = 0; i < rowLength; i++) {
      const byte = data[row * rowBytes + Math.floor(i / perByte)]!;
      values[row * rowLength + i] = (byte >> (8 - depth * ((i % perByte) + 1))) & (2 ** depth - 1);
    }
  return values;
}

function jpegPixels(bytes: Uint8Array): Pixels {
  const { width, height, data } = decodeJpeg(bytes, {
    useTArray: true,
    formatAsRGBA: false,
    tolerantDecoding: false,
  });
  return { width, height, channels: 3, values: scaled(data, 255) };
}
