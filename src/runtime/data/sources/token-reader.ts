import { GalvatronError } from "../../../base/errors.js";
import type { TokenPiece } from "../dataset.js";
import { ELEMENT_BYTES, numbersOf } from "./elements.js";
import type { MappedFiles } from "./mapped-files.js";

/** Reads tokens of pieces that lie one after another. */
export interface TokenReader {
  /**
   * Tokens `[start, start + count)`.
   * @throws GalvatronError DATA_INVALID when a file became shorter, or holds a token that the vocabulary has not
   */
  read(start: number, count: number): Int32Array;
}

/** @param vocabulary - every token must lie below it */
export function tokenReader(
  pieces: readonly TokenPiece[],
  vocabulary: number,
  files: MappedFiles,
): TokenReader {
  const starts: number[] = [];
  let total = 0;
  for (const piece of pieces) {
    starts.push(total);
    total += piece.tokens;
  }
  return {
    read: (start, count) => {
      const tokens = new Int32Array(count);
      let done = 0;
      for (let index = lastNotAbove(starts, start); done < count; index++) {
        const piece = pieces[index]!;
        const from = start + done - starts[index]!;
        const wanted = Math.min(count - done, piece.tokens - from);
        if (wanted <= 0) continue;
        const bytes = new Uint8Array(wanted * ELEMENT_BYTES[piece.type]);
        files.read(piece, piece.offsetBytes + from * ELEMENT_BYTES[piece.type], bytes);
        copyTokens(numbersOf(bytes, piece.type, piece.path), tokens, done, vocabulary, piece.path);
        done += wanted;
      }
      return tokens;
    },
  };
}

function copyTokens(
  from: ArrayLike<number>,
  to: Int32Array,
  at: number,
  vocabulary: number,
  path: string,
): void {
  for (let i = 0; i < from.length; i++) {
    const token = from[i]!;
    if (!(token >= 0 && token < vocabulary))
      throw new GalvatronError(
        "DATA_INVALID",
        `${path} holds token ${token}; the model's vocabulary has ${vocabulary}. Give the model the vocabulary of the tokenizer that made the file.`,
        { path, token, vocabulary },
      );
    to[at + i] = token;
  }
}

/** Index of the last value of an ascending list that is not above `value`. */
function lastNotAbove(ascending: readonly number[], value: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (ascending[middle]! <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}
