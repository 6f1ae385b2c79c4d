/** What a result rests on: a profile, a plan, a data file, a checkpoint, or a seed. */
export interface Provenance {
  readonly kind: "profile" | "plan" | "data" | "seed" | "model" | "checkpoint";
  readonly name: string;
  /** SHA-256 in hexadecimal, or the number itself for a seed. */
  readonly value: string;
}

const LEDGER: unique symbol = Symbol.for("galvatron.provenance") as never;

type Ledger = { [LEDGER]?: Map<string, Provenance> };

/**
 * Notes what this process worked with. A notebook run asks for the notes at its end and writes them into its
 * manifest. The same kind and name noted again replaces the earlier value.
 */
export function noteProvenance(entry: Provenance): void {
  const place = globalThis as Ledger;
  place[LEDGER] ??= new Map();
  place[LEDGER].set(`${entry.kind}:${entry.name}`, entry);
}
