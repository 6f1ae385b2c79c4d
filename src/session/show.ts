import type { Figure } from "../display/figure.js";
import { DISPLAY, type Displayable, type MimeBundle } from "../display/mime.js";
import { plotBundle } from "../display/plot-bundle.js";
import { escapeXml, figureToSvg, stackSvgs } from "../display/svg.js";

/** A handle that shows itself. */
export interface Shown extends Displayable {
  /** How it looks in a notebook. */
  bundle(): MimeBundle;
}

abstract class ShownHandle implements Shown {
  abstract bundle(): MimeBundle;

  [DISPLAY](): MimeBundle {
    return this.bundle();
  }
}

/** Base of handles. Its type is written out: declarations cannot be inferred past a symbol's name. */
export const Shown: abstract new () => Shown = ShownHandle;

/** A picture with a few words: shows itself in a notebook, prints as its words elsewhere. */
export class Picture extends Shown {
  /** What it says without a picture. */
  readonly text: string;
  /** As plotly data and layout. */
  readonly figures: readonly Figure[];

  constructor(text: string, figures: readonly Figure[]) {
    super();
    this.text = text;
    this.figures = figures;
  }

  override toString(): string {
    return this.text;
  }

  override bundle(): MimeBundle {
    return figuresBundle(this.text, this.figures);
  }
}

/** Several figures as one output, words above them. One figure without words keeps its richest form. */
export function figuresBundle(text: string, figures: readonly Figure[]): MimeBundle {
  const bundles = figures.map((figure) => plotBundle(figure, figureToSvg(figure)));
  if (bundles.length === 1 && text === "") return bundles[0]!;
  const pictures = bundles.map((bundle) => bundle["image/svg+xml"] as string);
  const words = text === "" ? "" : `<pre style="white-space:pre-wrap">${escapeXml(text)}</pre>`;
  return {
    "text/html": `${words}${bundles.map((bundle) => bundle["text/html"] as string).join("\n")}`,
    ...(pictures.length > 0 && { "image/svg+xml": stackSvgs(pictures) }),
    "text/plain": text || bundles.map((bundle) => bundle["text/plain"] as string).join("\n"),
  };
}
