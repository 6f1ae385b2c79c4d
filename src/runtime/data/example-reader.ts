import type { Dataset, DatasetPart } from "./dataset.js";
import { maskedExample } from "./objectives/masked.js";
import { type Objective, tokensOf } from "./objectives/objective.js";
import { spanCorruptionExample } from "./objectives/span-corruption.js";
import { blendedAt, hashNumbers, sampleAt, splitSample } from "./sample-order.js";
import { STAY } from "./sources/fit-image.js";
import { arrayReader, type ImageReader, imageFileReader, syntheticImages } from "./sources/image-reader.js";
import { MappedFiles } from "./sources/mapped-files.js";
import { syntheticTokens } from "./sources/synthetic-tokens.js";
import { tokenReader } from "./sources/token-reader.js";

/** The values of one sample by name, each `[rows, width]` of `valueShapes`. */
export type Example = Readonly<Record<string, Int32Array | Float32Array>>;

/** Reads samples as a model's graphs want them. Holds mapped files: close it. */
export interface ExampleReader {
  /**
   * The sample at a place of the endless training order.
   * @param wanted - values that the caller reads; others may be left out where they cost something
   * @throws GalvatronError FILE_UNREADABLE, DATA_INVALID
   */
  train(place: number, wanted: ReadonlySet<string>): Promise<Example>;
  /** Number `index` of the held-out samples, or null beyond their end. */
  heldOut(index: number, wanted: ReadonlySet<string>): Promise<Example | null>;
  close(): void;
}

/** Reads one sample of one source; `place` is what chance depends on. */
type SampleReader = (sample: number, place: number, wanted: ReadonlySet<string>) => Promise<Example>;

/** Chance in held-out samples has numbers of its own: a training sample's place is never that large. */
const HELD_OUT_PLACES = 2 ** 52;

export function openExamples(dataset: Dataset): ExampleReader {
  const { parts, objective, seed, shuffle } = dataset;
  const files = new MappedFiles();
  const readers = parts.map((part) => sampleReader(part, objective, seed, files));
  const weights = parts.map(({ weight }) => weight);
  return {
    train: async (place, wanted) => {
      const at = blendedAt(place, weights);
      const { samples, heldOut } = parts[at.part]!;
      // Each part shuffles by itself; the first keeps the seed of the run.
      const order = at.part === 0 ? seed : hashNumbers(seed, at.part);
      const index = sampleAt(at.place, samples, order, shuffle);
      return await readers[at.part]!(splitSample(index, samples, heldOut), place, wanted);
    },
    heldOut: async (index, wanted) => {
      let left = index;
      for (const [i, { samples, heldOut }] of parts.entries()) {
        if (left < heldOut)
          return await readers[i]!(
            splitSample(samples + left, samples, heldOut),
            HELD_OUT_PLACES + index,
            wanted,
          );
        left -= heldOut;
      }
      return null;
    },
    close: () => files.close(),
  };
}

function sampleReader(
  { source }: DatasetPart,
  objective: Objective,
  seed: number,
  files: MappedFiles,
): SampleReader {
  if (objective.kind === "classification") {
    const images =
      source.kind === "images"
        ? imageFileReader(source, objective)
        : source.kind === "arrays"
          ? arrayReader(source, objective, files)
          : syntheticImages(objective, seed);
    return classified(images, objective.shift, seed);
  }
  if (source.kind !== "tokens") {
    return async (sample, place) =>
      textExample(syntheticTokens(objective, seed, sample), objective, seed, place);
  }
  const tokens = tokenReader(source.pieces, objective.vocabulary, files);
  return async (sample, place) =>
    textExample(tokens.read(sample * source.stride, tokensOf(objective)), objective, seed, place);
}

function classified(images: ImageReader, shift: number, seed: number): SampleReader {
  const step = (place: number, axis: number): number =>
    (hashNumbers(seed, place, axis) % (2 * shift + 1)) - shift;
  return async (sample, place, wanted) => ({
    labels: Int32Array.of(images.label(sample)),
    ...(wanted.has("pixels") && {
      pixels: await images.pixels(
        sample,
        place < HELD_OUT_PLACES ? { right: step(place, 0), down: step(place, 1) } : STAY,
      ),
    }),
  });
}

function textExample(
  window: Int32Array,
  objective: Exclude<Objective, { kind: "classification" }>,
  seed: number,
  place: number,
): Example {
  switch (objective.kind) {
    case "causal":
      return { tokens: window.subarray(0, objective.sequence), labels: window.subarray(1) };
    case "masked":
      return maskedExample(window, objective, seed, place);
    case "spanCorruption":
      return spanCorruptionExample(window, objective, seed, place);
  }
}
