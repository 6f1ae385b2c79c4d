import { type ParseArgsConfig, parseArgs } from "node:util";
import { z } from "zod";
import { GalvatronError } from "../base/errors.js";
import type { GradientOrder } from "../plan/plan.js";

export type FlagValues = Readonly<Record<string, string | boolean | undefined>>;

/** What a command line came to: flags by name, and the words that are no flags. */
export interface Arguments {
  readonly flags: FlagValues;
  readonly words: readonly string[];
}

/**
 * Reads a command line. Flags named in `switches` take no value, those in `values` take one.
 *
 * @param flags - with `words` where the verb takes words that are no flags, and looks at them itself
 * @throws GalvatronError ARGUMENT_INVALID for any other flag, and for a word where none is expected
 */
export function readArguments(
  args: readonly string[],
  flags: {
    readonly values: readonly string[];
    readonly switches: readonly string[];
    readonly words?: true;
  },
): Arguments {
  const options: NonNullable<ParseArgsConfig["options"]> = {};
  for (const name of flags.values) options[name] = { type: "string" };
  for (const name of flags.switches) options[name] = { type: "boolean" };
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (cause) {
    const known = [
      ...flags.values.map((name) => `--${name} …`),
      ...flags.switches.map((name) => `--${name}`),
    ];
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `${(cause as Error).message.split(". ")[0]}. Known: ${known.join(", ")}.`,
      {},
      { cause },
    );
  }
  const [word] = parsed.positionals;
  if (word !== undefined && !flags.words)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `Expected flags only, got the word "${word}". A pattern of files goes between quotes, such as --data 'docs/*.md': without them the shell makes many words of it.`,
      { word },
    );
  return { flags: parsed.values as FlagValues, words: parsed.positionals };
}

const wholeNumber = z
  .string()
  .regex(/^\d+$/)
  .transform(Number)
  .refine((value) => Number.isSafeInteger(value));
const realNumber = z
  .string()
  .regex(/\S/)
  .transform(Number)
  .refine((value) => Number.isFinite(value));

/** @throws GalvatronError ARGUMENT_INVALID */
export function wholeFlag(flags: FlagValues, name: string): number | undefined {
  return numberFlag(flags, name, wholeNumber, "a whole number");
}

/** @throws GalvatronError ARGUMENT_INVALID */
export function realFlag(flags: FlagValues, name: string): number | undefined {
  return numberFlag(flags, name, realNumber, "a number");
}

export function textFlag(flags: FlagValues, name: string): string | undefined {
  const value = flags[name];
  return typeof value === "string" ? value : undefined;
}

/** @throws GalvatronError ARGUMENT_INVALID when it is missing */
export function neededFlag(flags: FlagValues, name: string, example: string): string {
  const value = textFlag(flags, name);
  if (value === undefined)
    throw new GalvatronError("ARGUMENT_INVALID", `--${name} is needed, for example --${name} ${example}.`, {
      flag: name,
    });
  return value;
}

/** @throws GalvatronError ARGUMENT_INVALID for a word that is not among `choices` */
export function choiceFlag<Choice extends string>(
  flags: FlagValues,
  name: string,
  choices: readonly Choice[],
): Choice | undefined {
  const value = textFlag(flags, name);
  const chosen = choices.find((choice) => choice === value);
  if (value !== undefined && chosen === undefined)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `--${name} expects ${choices.join(" or ")}, got "${value}".`,
      { flag: name },
    );
  return chosen;
}

function numberFlag(
  flags: FlagValues,
  name: string,
  schema: z.ZodType<number, string>,
  what: string,
): number | undefined {
  const value = textFlag(flags, name);
  if (value === undefined) return undefined;
  const parsed = schema.safeParse(value);
  if (!parsed.success)
    throw new GalvatronError("ARGUMENT_INVALID", `--${name} expects ${what}, got "${value}".`, {
      flag: name,
    });
  return parsed.data;
}

/** `--gradient-order`: how gradients are added up; undefined: as the plan, or the machine, does by itself. */
export function orderFlag(flags: FlagValues): GradientOrder | undefined {
  return choiceFlag(flags, "gradient-order", ["deferred", "canonical"]);
}
