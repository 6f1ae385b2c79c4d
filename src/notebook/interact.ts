import { createHash } from "node:crypto";
import { type DisplayHandle, type HostComm, notebookHost } from "../base/host.js";
import { DISPLAY, type Displayable, type MimeBundle } from "../display/mime.js";
import {
  type ChoiceControl,
  type Controls,
  type ControlValues,
  choiceControl,
  readControl,
  type SliderControl,
  type SliderRange,
  sliderControl,
} from "./control.js";
import { INTERACT_TARGET, type InteractState, interactHtml, interactState } from "./interact-page.js";
import { present } from "./present.js";

/** Controls on the page and the picture that follows them. Shows nothing itself: it is drawn when it is made. */
export interface Interaction<Values> extends Displayable {
  /** Where the controls stand now. */
  readonly values: Values;
  /** Resolves when the first picture is drawn. */
  readonly drawn: Promise<void>;
}

/** After this long without a movement the notebook's own copy of the picture follows. */
const SETTLE_MS = 800;

const interactions = new Map<string, LiveInteraction>();
let made = 0;

/** A slider: alone with `draw`, or as one of the controls of `interact`. */
export function slider(range: SliderRange): SliderControl;
export function slider(
  range: SliderRange,
  draw: (value: number) => unknown,
): Interaction<{ readonly value: number }>;
export function slider(
  range: SliderRange,
  draw?: (value: number) => unknown,
): SliderControl | Interaction<{ readonly value: number }> {
  const control = sliderControl(range);
  return draw ? interact({ value: control }, ({ value }) => draw(value)) : control;
}

/** One of several values: alone with `draw`, or as one of the controls of `interact`. */
export function choice<const Value extends string | number>(
  options: readonly Value[],
  value?: Value,
): ChoiceControl<Value> {
  return choiceControl(options, value);
}

/**
 * Shows controls, and below them what `draw` makes of their values, again with every movement. Works in a stock
 * JupyterLab or Notebook; a page that reaches no kernel (an export, an untrusted notebook) shows the last picture.
 * @param draw gets the values by name and returns anything a cell can show; it may be asynchronous
 */
export function interact<C extends Controls>(
  controls: C,
  draw: (values: ControlValues<C>) => unknown,
): Interaction<ControlValues<C>> {
  const live = new LiveInteraction(controls, draw as (values: never) => unknown);
  interactions.set(live.id, live);
  answerPages();
  return live as unknown as Interaction<ControlValues<C>>;
}

type Values = Readonly<Record<string, string | number>>;

class LiveInteraction implements Displayable {
  readonly id: string;
  readonly drawn: Promise<void>;
  values: Values;
  readonly #controls: Controls;
  readonly #draw: (values: never) => unknown;
  #handle: DisplayHandle | undefined;
  #latest: MimeBundle = {};
  #settle: NodeJS.Timeout | undefined;

  constructor(controls: Controls, draw: (values: never) => unknown) {
    this.#controls = controls;
    this.#draw = draw;
    this.values = Object.fromEntries(Object.entries(controls).map(([name, { value }]) => [name, value]));
    const content = JSON.stringify([++made, controls]);
    this.id = createHash("sha256").update(content).digest("hex").slice(0, 16);
    // The place on the page is taken now, so that it belongs to the cell that runs now.
    this.#handle = notebookHost()?.display({ "text/plain": "drawing…" });
    this.drawn = this.#first();
  }

  [DISPLAY](): MimeBundle {
    return {};
  }

  /** What it shows now; nothing before the first picture is drawn. */
  get state(): InteractState {
    return interactState(this.#latest);
  }

  /** Draws for the values that a page sent. */
  async move(sent: unknown): Promise<void> {
    // A page that is moved again would be redrawn under the person's hand.
    clearTimeout(this.#settle);
    const given = (sent ?? {}) as Record<string, unknown>;
    const entries = Object.entries(this.#controls).map(([name, control]) => [
      name,
      readControl(control, given[name]) ?? this.values[name]!,
    ]);
    this.values = Object.fromEntries(entries) as Values;
    this.#latest = await this.#bundle();
  }

  /** The notebook's own copy follows once the person lets go. */
  settle(): void {
    this.#settle = setTimeout(() => this.#handle?.update(this.#page()), SETTLE_MS);
    this.#settle.unref();
  }

  async #first(): Promise<void> {
    this.#latest = await this.#bundle();
    this.#handle?.update(this.#page());
  }

  async #bundle(): Promise<MimeBundle> {
    try {
      return await present(await this.#draw(this.values as never));
    } catch (error) {
      const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      return { "text/plain": text };
    }
  }

  #page(): MimeBundle {
    const kernelId = notebookHost()?.kernelId;
    const page = { id: this.id, kernelId, controls: this.#controls, values: this.values };
    const words = Object.entries(this.values)
      .map(([name, value]) => `${name} = ${value}`)
      .join(", ");
    return {
      "text/html": interactHtml(page, this.state),
      "text/plain": `${words}\n${String(this.#latest["text/plain"] ?? "")}`,
    };
  }
}

let answering = false;

/** Pages open a comm for each set of controls; one movement at a time is drawn, in the order they came. */
function answerPages(): void {
  if (answering) return;
  answering = notebookHost()?.onComm?.(INTERACT_TARGET, answer) !== undefined;
}

function answer(comm: HostComm): void {
  const live = interactions.get(String((comm.data as { id?: unknown } | undefined)?.id));
  if (!live) {
    comm.send({
      parts: [{ html: "<p>This picture was drawn before the kernel started anew: run its cell again.</p>" }],
    });
    return;
  }
  // The page has pictures; from here on its figures are plotly's.
  comm.send({ parts: live.state });
  let last: Promise<unknown> = live.drawn;
  comm.onMessage((message) => {
    const { values, settled } = message as { values?: unknown; settled?: unknown };
    last = last.then(async () => {
      await live.move(values);
      comm.send({ parts: live.state, moved: true });
      if (settled) live.settle();
    });
  });
}
