import { GalvatronError } from "../base/errors.js";

/** Sizes by which a model may differ from its family's default or preset. */
export interface ModelOptions {
  readonly layers?: number;
  readonly hidden?: number;
  readonly heads?: number;
  /** Fewer than `heads`: grouped-query attention. */
  readonly keyValueHeads?: number;
  /** Inner width of the feed-forward. */
  readonly feedForward?: number;
  /** Tokens of a sequence. */
  readonly sequence?: number;
  readonly vocabulary?: number;
  /** The head shares the embedding's table. */
  readonly tied?: boolean;
  /** Share of hidden states that training drops (Srivastava et al. 2014); 0 when left out. */
  readonly dropout?: number;
  /** Share of attention probabilities that training drops; 0 when left out. */
  readonly attentionDropout?: number;
  /** What only one family knows: "epsilon", "activation", "imageSize", … */
  readonly [option: string]: number | string | boolean | readonly number[] | undefined;
}

function invalid(message: string, context: Readonly<Record<string, string | number>>): GalvatronError {
  return new GalvatronError("MODEL_INVALID", message, context);
}

/** A whole number above zero. */
export function positive(options: ModelOptions, name: string): number {
  const value = options[name];
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1) {
    throw invalid(`${name}: expected a whole number of at least 1, got ${value}`, { option: name });
  }
  return value;
}

/** Any finite number above zero. */
export function positiveReal(options: ModelOptions, name: string): number {
  const value = options[name];
  if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) {
    throw invalid(`${name}: expected a number above 0, got ${value}`, { option: name });
  }
  return value;
}

/** A share of what training drops; no rate and a rate of 0 are the same model. */
export function rateOf(name: string, rate: ModelOptions[string]): Readonly<Record<string, number>> {
  if (rate === undefined || rate === 0) return {};
  if (typeof rate !== "number" || !(rate > 0 && rate < 1))
    throw invalid(`${name}: expected a rate of at least 0 and below 1, got ${rate}`, { option: name });
  return { [name]: rate };
}

export function oneOf<T extends string>(options: ModelOptions, name: string, choices: readonly T[]): T {
  const value = options[name];
  const found = choices.find((choice) => choice === value);
  if (found === undefined) {
    throw invalid(`${name}: expected one of ${choices.join(", ")}, got ${String(value)}`, { option: name });
  }
  return found;
}

export function flag(options: ModelOptions, name: string): boolean {
  const value = options[name];
  if (typeof value !== "boolean")
    throw invalid(`${name}: expected true or false, got ${value}`, { option: name });
  return value;
}

/** @throws GalvatronError `MODEL_INVALID` where `whole` does not divide by `parts` */
export function mustDivide(what: string, whole: number, parts: number, by: string): void {
  if (whole % parts !== 0) {
    throw invalid(`${what} (${whole}) must be a multiple of ${by} (${parts})`, { whole, parts });
  }
}

/** Refuses options that the family does not know, naming those it does. */
export function mustKnow(family: string, options: ModelOptions, known: ModelOptions): void {
  const stranger = Object.keys(options).find((name) => options[name] !== undefined && !(name in known));
  if (stranger !== undefined) {
    const names = Object.keys(known).sort().join(", ");
    throw invalid(`${family} has no option ${stranger}; it knows ${names}`, { option: stranger });
  }
}
