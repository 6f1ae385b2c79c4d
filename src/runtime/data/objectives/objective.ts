/**
 * How samples become what a model's graphs read. Plain data, made from the model and its tokens' meaning.
 */
export type Objective = CausalObjective | MaskedObjective | SpanCorruptionObjective | ClassificationObjective;

/** Each token is predicted from those before it. */
interface CausalObjective {
  readonly kind: "causal";
  readonly sequence: number;
  readonly vocabulary: number;
}

/** Some tokens are hidden and predicted from all others (Devlin et al. 2019, section 3.1). */
export interface MaskedObjective {
  readonly kind: "masked";
  readonly sequence: number;
  readonly vocabulary: number;
  /** Hidden tokens of a sample: always as many, so that every step's loss is a mean over as many. */
  readonly masked: number;
  /** Token that stands for a hidden one. */
  readonly mask: number;
  /** Random replacements are tokens below this. */
  readonly words: number;
  /** Tokens that open and close a sample and are never hidden; null where samples are text from end to end. */
  readonly edges: readonly [number, number] | null;
}

/** Spans of tokens are cut out; the decoder writes them (Raffel et al. 2020, section 3.1.4). */
export interface SpanCorruptionObjective {
  readonly kind: "spanCorruption";
  readonly vocabulary: number;
  /** Tokens of text in a sample, those cut out among them, and how many these are, in how many spans. */
  readonly tokens: number;
  readonly cut: number;
  readonly spans: number;
  readonly encoderSequence: number;
  readonly sequence: number;
  /** Tokens that stand for the first, second, … span. */
  readonly sentinels: readonly number[];
  readonly end: number;
  /** Starts the decoder and fills it up. */
  readonly pad: number;
}

/** The class of an image. */
export interface ClassificationObjective {
  readonly kind: "classification";
  readonly classes: number;
  /** Pixels of a side of the (square) image and of a patch. */
  readonly image: number;
  readonly patch: number;
  readonly channels: number;
  /** Pixels become `(pixel − mean) / deviation`; null: by the kind of the pixels, see `ImageOptions`. */
  readonly mean: number | null;
  readonly deviation: number | null;
  /** Images to train on are moved by up to so many pixels along each axis. */
  readonly shift: number;
}

/** Labels of one sample that count in the loss: the same for every sample. */
export function labelsOf(objective: Objective): number {
  switch (objective.kind) {
    case "causal":
      return objective.sequence;
    case "masked":
      return objective.masked;
    case "spanCorruption":
      return objective.cut + objective.spans + 1;
    case "classification":
      return 1;
  }
}

/** Consecutive tokens that one sample is made of; 0 where it is no text. */
export function tokensOf(objective: Objective): number {
  switch (objective.kind) {
    case "causal":
      return objective.sequence + 1;
    case "masked":
      return objective.sequence - (objective.edges?.length ?? 0);
    case "spanCorruption":
      return objective.tokens;
    case "classification":
      return 0;
  }
}

/** Label of a position that does not count. */
export const IGNORED: number = -100;

/** Shape of one sample's part of a value: `[rows, width]`; in a batch it lies `[rows, samples, width]`. */
export interface ValueShape {
  readonly rows: number;
  readonly width: number;
  readonly type: "int64" | "float32";
  /** What a sample that is not there holds. */
  readonly blank: number;
}

/** The values that graphs may read under an objective, by name. */
export function valueShapes(objective: Objective): Readonly<Record<string, ValueShape>> {
  const row = (rows: number, blank: number): ValueShape => ({ rows, width: 1, type: "int64", blank });
  switch (objective.kind) {
    case "causal":
    case "masked":
      return { tokens: row(objective.sequence, 0), labels: row(objective.sequence, IGNORED) };
    case "spanCorruption":
      return {
        tokens: row(objective.encoderSequence, objective.pad),
        decoderTokens: row(objective.sequence, objective.pad),
        labels: row(objective.sequence, IGNORED),
      };
    case "classification": {
      const { image, patch, channels } = objective;
      return {
        pixels: { rows: (image / patch) ** 2, width: channels * patch ** 2, type: "float32", blank: 0 },
        labels: row(1, IGNORED),
      };
    }
  }
}
