import { GalvatronError } from "../base/errors.js";
import { type CodeCell, tagsOf } from "./notebook-json.js";

/** Numbers in cells tagged so are measurements: they may differ within a range. */
const MEASURED_TAG = "measured";

/** What such a cell shows was chosen by measurements, such as a plan: words may differ too, only kinds are compared. */
const CHOSEN_TAG = "chosen";

/** What a number counts or measures, as its unit and the words beside it tell. */
export type Quantity = "count" | "loss" | "memory" | "time";

/** How many times larger or smaller a measured number may be. Counts (steps, ranks) are never measured. */
type Factors = Readonly<Record<Exclude<Quantity, "count">, number>>;

/**
 * Times and rates: a machine three times as fast or slow, nearly three times as busy. Memory: what a plan and its Programs decide,
 * whatever the machine. Losses: sums in another order.
 */
const FACTORS: Factors = { time: 8, memory: 1.5, loss: 1.1 };

/** How numbers of a cell are compared. */
export type Tolerance =
  | { readonly kind: "exact" }
  | { readonly kind: "range"; readonly factors: Factors }
  | { readonly kind: "any" };

/**
 * A cell's tolerance: exact, or by its tags "measured" and "chosen". `metadata.galvatron.factor` sets other factors:
 * `{ "time": 10 }`, or a number for all.
 *
 * @throws GalvatronError NOTEBOOK_INVALID for a factor that is none
 */
export function toleranceOf(cell: CodeCell): Tolerance {
  if (tagsOf(cell).includes(CHOSEN_TAG)) return { kind: "any" };
  if (!tagsOf(cell).includes(MEASURED_TAG)) return { kind: "exact" };
  const own = (cell.metadata.galvatron as { factor?: unknown } | undefined)?.factor;
  if (own === undefined) return { kind: "range", factors: FACTORS };
  const given =
    typeof own === "number" ? { time: own, memory: own, loss: own } : (own as Record<string, unknown> | null);
  const isRight =
    typeof given === "object" &&
    given !== null &&
    Object.entries(given).every(
      ([name, factor]) => name in FACTORS && typeof factor === "number" && factor >= 1,
    );
  if (!isRight)
    throw new GalvatronError(
      "NOTEBOOK_INVALID",
      `Cell ${cell.id}: expected metadata.galvatron.factor to be a number of at least 1, or such numbers by ${Object.keys(FACTORS).join(", ")}; got ${JSON.stringify(own)}.`,
      { cell: cell.id },
    );
  return { kind: "range", factors: { ...FACTORS, ...given } };
}

/** How many times a measured number may be another; counts must be equal. */
export function factorFor(quantity: Quantity, { factors }: Extract<Tolerance, { kind: "range" }>): number {
  return quantity === "count" ? 1 : factors[quantity];
}

export function isWithin(a: number, b: number, factor: number): boolean {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
  if (Math.sign(a) !== Math.sign(b)) return false;
  const ratio = Math.abs(a / b);
  return ratio <= factor && ratio >= 1 / factor;
}
