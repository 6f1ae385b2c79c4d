import { GalvatronError } from "../../../base/errors.js";
import { familyOf } from "../../../families/registry.js";
import type { ModelSpec } from "../../../model/model-spec.js";
import type {
  ClassificationObjective,
  MaskedObjective,
  Objective,
  SpanCorruptionObjective,
} from "./objective.js";

/** What the tokens of a text stand for. Null: there is no such token. */
export interface TokenMeaning {
  /** For people: "bytes", or the tokenizer's file. */
  readonly source: string;
  /** Tokens of text lie below this. */
  readonly words: number;
  readonly mask: number | null;
  /** What opens and closes a sample of an encoder ("[CLS]", "[SEP]"), both or none. */
  readonly edges: readonly [number, number] | null;
  readonly end: number | null;
  readonly pad: number | null;
  /** Tokens that stand for spans; "last": the last ones of the model's vocabulary. */
  readonly sentinels: readonly number[] | "last";
}

/** A token is a byte. What else a model needs follows them; sentinels come from the end of its vocabulary, as in T5. */
export const BYTES: TokenMeaning = {
  source: "bytes",
  words: 256,
  mask: 256,
  edges: null,
  end: 256,
  pad: 257,
  sentinels: "last",
};

/** Share of the tokens that are hidden or cut out, and length of a span (Devlin et al. 2019; Raffel et al. 2020). */
const HIDDEN_SHARE = 0.15;
const SPAN_TOKENS = 3;

type TextModel = Pick<ModelSpec, "family" | "name" | "sequence" | "vocabulary" | "options">;

/** Whether a model learns images and not text. */
function learnsImages(model: Pick<ModelSpec, "family">): boolean {
  return familyOf(model.family).objective === "classification";
}

/**
 * What a model learns from text.
 *
 * @throws GalvatronError DATA_INVALID when the tokens do not fit the model's vocabulary, or one that it needs is missing
 */
export function textObjective(model: TextModel, meaning: TokenMeaning): Objective {
  const { sequence, vocabulary } = model;
  if (learnsImages(model))
    throw new GalvatronError(
      "DATA_INVALID",
      `${model.name} learns images, this data is text. Give it images("folder"), arrays(…) or synthetic().`,
      { family: model.family },
    );
  const kind = familyOf(model.family).objective;
  const objective =
    kind === "masked"
      ? maskedObjective(model, meaning)
      : kind === "spanCorruption"
        ? spanObjective(model, meaning)
        : { kind: "causal" as const, sequence, vocabulary };
  mustFit(model, meaning, meaning.words);
  return objective;
}

function maskedObjective(model: TextModel, meaning: TokenMeaning): MaskedObjective {
  const { sequence, vocabulary } = model;
  const mask = needed(model, meaning, "mask");
  mustFit(model, meaning, Math.max(meaning.words, mask + 1));
  // A sequence of two tokens has no room for a text between edges.
  const edges = sequence > 2 ? meaning.edges : null;
  const masked = Math.max(1, Math.round(HIDDEN_SHARE * (sequence - (edges ? 2 : 0))));
  return { kind: "masked", sequence, vocabulary, masked, mask, words: meaning.words, edges };
}

function spanObjective(model: TextModel, meaning: TokenMeaning): SpanCorruptionObjective {
  const { sequence, vocabulary } = model;
  const encoderSequence = Number(model.options["encoderSequence"]);
  const sizes = spanSizes(encoderSequence);
  const end = needed(model, meaning, "end");
  const pad = needed(model, meaning, "pad");
  const target = sizes.cut + sizes.spans + 1;
  if (target > sequence)
    throw new GalvatronError(
      "DATA_INVALID",
      `${model.name} reads ${encoderSequence} tokens, of which ${sizes.cut} are cut out in ${sizes.spans} spans: its decoder writes ${target} tokens and has room for ${sequence}. Give the model { sequence: ${target} } or a smaller encoderSequence.`,
      { target, sequence, encoderSequence },
    );
  const sentinels =
    meaning.sentinels === "last"
      ? Array.from({ length: sizes.spans }, (_, i) => vocabulary - 1 - i)
      : meaning.sentinels.slice(0, sizes.spans);
  if (sentinels.length < sizes.spans)
    throw new GalvatronError(
      "DATA_INVALID",
      `${model.name} reads ${encoderSequence} tokens with ${sizes.spans} spans cut out; ${meaning.source} has ${sentinels.length} sentinels ("<extra_id_0>", …). Give the model a smaller encoderSequence, or a tokenizer with more.`,
      { spans: sizes.spans, sentinels: sentinels.length },
    );
  const named = Math.max(meaning.words, end + 1, pad + 1);
  mustFit(
    model,
    meaning,
    meaning.sentinels === "last" ? named + sizes.spans : Math.max(named, ...sentinels.map((id) => id + 1)),
  );
  return { kind: "spanCorruption", vocabulary, ...sizes, encoderSequence, sequence, sentinels, end, pad };
}

/** The text of which, with every span replaced by one token and an end, an encoder's sequence is left. */
function spanSizes(encoderSequence: number): Pick<SpanCorruptionObjective, "tokens" | "cut" | "spans"> {
  for (let tokens = 2; ; tokens++) {
    const cut = Math.max(1, Math.round(HIDDEN_SHARE * tokens));
    const spans = Math.max(1, Math.round(cut / SPAN_TOKENS));
    // One token more makes the rest longer by one or not at all, so no length is passed over.
    if (tokens - cut + spans + 1 >= encoderSequence) return { tokens, cut, spans };
  }
}

function needed(model: TextModel, meaning: TokenMeaning, name: "mask" | "end" | "pad"): number {
  const id = meaning[name];
  if (id !== null) return id;
  const examples = { mask: '"[MASK]" or "<mask>"', end: '"</s>"', pad: '"<pad>"' };
  throw new GalvatronError(
    "DATA_INVALID",
    `${model.name} needs a token for "${name}" (${examples[name]}); ${meaning.source} has none. Give a tokenizer.json that has one.`,
    { family: model.family, token: name },
  );
}

function mustFit(model: TextModel, meaning: TokenMeaning, ids: number): void {
  if (ids <= model.vocabulary) return;
  throw new GalvatronError(
    "DATA_INVALID",
    `${model.name} trained on ${meaning.source} needs a vocabulary of at least ${ids}; it has ${model.vocabulary}. Give the model { vocabulary: ${ids} }.`,
    { vocabulary: model.vocabulary, needed: ids },
  );
}

/** What a model learns from images. */
export function imageObjective(
  model: Pick<ModelSpec, "family" | "name" | "vocabulary" | "options">,
  scaling: Pick<ClassificationObjective, "mean" | "deviation" | "shift">,
): ClassificationObjective {
  if (!learnsImages(model))
    throw new GalvatronError(
      "DATA_INVALID",
      `${model.name} learns text, this data is images. Give it text("…"), jsonl(…), columns(…), indexed(…) or synthetic().`,
      { family: model.family },
    );
  const option = (name: string): number => Number(model.options[name]);
  return {
    kind: "classification",
    classes: model.vocabulary,
    image: option("image"),
    patch: option("patch"),
    channels: option("channels"),
    mean: scaling.mean,
    deviation: scaling.deviation,
    shift: scaling.shift,
  };
}

/** What a model learns from synthetic data: special tokens are the last of its vocabulary. */
export function syntheticObjective(model: TextModel & Pick<ModelSpec, "vocabulary">): Objective {
  if (learnsImages(model)) return imageObjective(model, { mean: 0, deviation: 1, shift: 0 });
  const kind = familyOf(model.family).objective;
  const spans = kind === "spanCorruption" ? spanSizes(Number(model.options["encoderSequence"])).spans + 2 : 0;
  const special = kind === "masked" ? 1 : spans;
  const words = Math.max(1, model.vocabulary - special);
  return textObjective(model, {
    source: "synthetic data",
    words,
    mask: words,
    edges: null,
    end: words,
    pad: words + 1,
    sentinels: "last",
  });
}
