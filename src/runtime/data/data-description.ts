/** Text files, read as bytes: token = byte, so any model with a vocabulary of at least 256 can learn them. */
export interface TextData {
  readonly format: "text";
  /** Files, folders (all files beneath) or globs (`*`, `**`, `?`, `{a,b}`), relative to the current folder. */
  readonly paths: readonly string[];
  /** Samples in a seeded random order (anew in every epoch), or in the order of the text. */
  readonly shuffle: boolean;
}

/** Tokens from a counter-based generator: each is a noisy function of the one before, so that losses can fall. */
export interface SyntheticData {
  readonly format: "synthetic";
}

/** What to train on, as plain data. Nothing is read until a run starts. */
export type DataDescription = TextData | SyntheticData;

/**
 * UTF-8 text files as training data.
 *
 * @param paths - files, folders or globs
 * @param options - `shuffle: false` reads the samples in the order of the text
 */
export function text(
  paths: string | readonly string[],
  options: { readonly shuffle?: boolean } = {},
): TextData {
  return {
    format: "text",
    paths: typeof paths === "string" ? [paths] : [...paths],
    shuffle: options.shuffle ?? true,
  };
}

/** Seeded synthetic tokens: for measuring and testing without files. */
export function synthetic(): SyntheticData {
  return { format: "synthetic" };
}
