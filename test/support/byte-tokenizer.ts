/** A byte-level BPE tokenizer.json, made on the spot: all bytes, a few merges, special tokens. */
export function byteTokenizer(): object {
  // GPT-2's alphabet: printable bytes stand for themselves, the others for letters from 256 on.
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  const letters = Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(printable(byte) ? byte : next++),
  );
  const vocab: Record<string, number> = Object.fromEntries(letters.map((letter, byte) => [letter, byte]));
  const space = letters[32]!;
  const merges = [
    ["t", "h"],
    ["th", "e"],
    [space, "the"],
    ["i", "n"],
    ["e", "n"],
    ["en", "d"],
  ];
  for (const [left, right] of merges) vocab[`${left}${right}`] = Object.keys(vocab).length;
  const special = ["<|endoftext|>", "<mask>", "<pad>", "<extra_id_0>", "<extra_id_1>", "<extra_id_2>"];
  const first = Object.keys(vocab).length;
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: special.map((content, i) => ({
      id: first + i,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      byte_fallback: false,
      vocab,
      merges,
    },
  };
}
