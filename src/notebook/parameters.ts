import { GalvatronError } from "../base/errors.js";
import { type CodeCell, type Notebook, tagsOf } from "./notebook-json.js";

/** A value that a notebook can be run with. */
export type ParameterValue =
  | string
  | number
  | boolean
  | null
  | readonly ParameterValue[]
  | { readonly [key: string]: ParameterValue };

export type Parameters = Readonly<Record<string, ParameterValue>>;

const INJECTED_TAG = "injected-parameters";

/**
 * The notebook with a cell that sets the parameters, after the cell tagged "parameters" or at the top; a cell that
 * an earlier run injected is replaced. Same manner as papermill's.
 */
export function withParameters(notebook: Notebook, parameters: Parameters): Notebook {
  if (Object.keys(parameters).length === 0) return notebook;
  const cells = notebook.cells.filter((cell) => !tagsOf(cell).includes(INJECTED_TAG));
  const defaults = cells.findIndex((cell) => tagsOf(cell).includes("parameters"));
  const injected: CodeCell = {
    kind: "code",
    id: INJECTED_TAG,
    source: parameterCode(parameters),
    metadata: { tags: [INJECTED_TAG] },
    executionCount: null,
    outputs: [],
  };
  return { ...notebook, cells: [...cells.slice(0, defaults + 1), injected, ...cells.slice(defaults + 1)] };
}

/** TypeScript that declares the parameters. @throws GalvatronError ARGUMENT_INVALID for a name that is no identifier. */
function parameterCode(parameters: Parameters): string {
  return Object.entries(parameters)
    .map(([name, value]) => {
      if (!/^[A-Za-z_$][\w$]*$/.test(name)) {
        throw new GalvatronError(
          "ARGUMENT_INVALID",
          `Expected a parameter name that is an identifier; got "${name}".`,
          { name },
        );
      }
      return `let ${name} = ${JSON.stringify(value)};`;
    })
    .join("\n");
}
