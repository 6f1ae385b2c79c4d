import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";
import { GalvatronError } from "../../../base/errors.js";
import type { TokenMeaning } from "../objectives/objective-of.js";

/** A `tokenizer.json`, ready. */
export interface LoadedTokenizer {
  readonly meaning: TokenMeaning;
  /** Of the file's content. */
  readonly hash: string;
  /** Without special tokens around. @throws whatever the library throws on a text that its model cannot encode */
  encode(text: string): readonly number[];
}

/** Names that tokenizers give to special tokens, the likeliest first. */
const NAMES = {
  first: ["[CLS]", "<s>"],
  last: ["[SEP]", "</s>"],
  mask: ["[MASK]", "<mask>", "<|mask|>"],
  end: ["<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "[SEP]", "[EOS]"],
  pad: ["<pad>", "[PAD]", "<|pad|>", "<|endoftext|>"],
} as const;

/** @throws GalvatronError FILE_UNREADABLE, DATA_INVALID */
export function loadTokenizer(path: string): LoadedTokenizer {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new GalvatronError(
      "FILE_UNREADABLE",
      `Cannot read the tokenizer ${path}. Give the path of a Hugging Face tokenizer.json.`,
      { path },
      { cause },
    );
  }
  let tokenizer: Tokenizer;
  let ids: Map<string, number>;
  try {
    tokenizer = new Tokenizer(JSON.parse(bytes.toString("utf8")) as object, {});
    ids = tokenizer.get_vocab(true);
  } catch (cause) {
    throw new GalvatronError(
      "DATA_INVALID",
      `${path} is no tokenizer.json that can be read: ${cause instanceof Error ? cause.message : String(cause)}.`,
      { path },
      { cause },
    );
  }
  if (ids.size === 0)
    throw new GalvatronError(
      "DATA_INVALID",
      `${path} is no tokenizer.json that can be read: it has no tokens.`,
      { path },
    );
  const find = (names: readonly string[]): number | null => {
    const name = names.find((candidate) => ids.has(candidate));
    return name === undefined ? null : ids.get(name)!;
  };
  const sentinels: number[] = [];
  for (let i = 0; ids.has(`<extra_id_${i}>`); i++) sentinels.push(ids.get(`<extra_id_${i}>`)!);
  const [first, last] = [find(NAMES.first), find(NAMES.last)];
  let words = 0;
  for (const id of ids.values()) words = Math.max(words, id + 1);
  return {
    meaning: {
      source: path,
      words,
      mask: find(NAMES.mask),
      edges: first !== null && last !== null ? [first, last] : null,
      end: find(NAMES.end),
      pad: find(NAMES.pad),
      sentinels,
    },
    hash: createHash("sha256").update(bytes).digest("hex"),
    encode: (text) => tokenizer.encode(text, { add_special_tokens: false }).ids,
  };
}
