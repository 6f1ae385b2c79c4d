import { GalvatronError } from "../base/errors.js";

/** A number that a person may move. */
export interface SliderControl {
  readonly kind: "slider";
  readonly min: number;
  readonly max: number;
  readonly step: number;
  readonly value: number;
  /** Stands behind the number: "GB". */
  readonly unit: string;
}

/** One of several values. */
export interface ChoiceControl<Value extends string | number = string | number> {
  readonly kind: "choice";
  readonly options: readonly Value[];
  readonly value: Value;
}

/** Something that a person may move or choose. */
export type Control = SliderControl | ChoiceControl;
/** Controls by the name that stands beside them. */
export type Controls = Readonly<Record<string, Control>>;

/** The value that a control gives. */
export type ControlValue<C extends Control> = C extends ChoiceControl<infer Value> ? Value : number;
/** The values of controls, by their names. */
export type ControlValues<C extends Controls> = { readonly [Name in keyof C]: ControlValue<C[Name]> };

/** Where a slider may go. */
export interface SliderRange {
  readonly min: number;
  readonly max: number;
  /** Where it stands at first; the middle without it. */
  readonly value?: number;
  /** A hundredth of the range without it, or 1 when min and max are whole. */
  readonly step?: number;
  readonly unit?: string;
}

/** @throws GalvatronError ARGUMENT_INVALID when the range is empty or the value lies outside it */
export function sliderControl(range: SliderRange): SliderControl {
  const { min, max, unit = "" } = range;
  const whole = Number.isInteger(min) && Number.isInteger(max);
  const step = range.step ?? (whole ? 1 : (max - min) / 100);
  const value = range.value ?? min + Math.round((max - min) / 2 / step) * step;
  if (!(min < max) || !(step > 0) || !(value >= min && value <= max)) {
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `A slider needs min < max, a step above 0 and a value between; got ${min} to ${max} by ${step}, at ${value}.`,
      { min, max, step, value },
    );
  }
  return { kind: "slider", min, max, step, value, unit };
}

/** @throws GalvatronError ARGUMENT_INVALID when there is nothing to choose from */
export function choiceControl<const Value extends string | number>(
  options: readonly Value[],
  value: Value | undefined,
): ChoiceControl<Value> {
  const first = value ?? options[0];
  if (first === undefined || !options.includes(first)) {
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `A choice needs options, and its value among them; got ${String(value)} of [${options.join(", ")}].`,
    );
  }
  return { kind: "choice", options, value: first };
}

/** What a page sent, as a value of the control; nothing when it cannot be one. */
export function readControl(control: Control, sent: unknown): string | number | undefined {
  if (control.kind === "choice") return control.options.find((option) => option === sent);
  const inside = typeof sent === "number" && sent >= control.min && sent <= control.max;
  return inside ? sent : undefined;
}
