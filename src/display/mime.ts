/** What a notebook can draw: one value in several forms; the front end takes the richest it knows. */
export type MimeBundle = Readonly<Record<string, unknown>>;

/** Key of the method by which a value shows itself in a notebook (Deno's convention, which our kernel follows). */
export const DISPLAY: unique symbol = Symbol.for("Jupyter.display") as never;

/** A value that shows itself. */
export interface Displayable {
  /** How the value looks in a notebook, in every form that it has. */
  [DISPLAY](): MimeBundle;
}
