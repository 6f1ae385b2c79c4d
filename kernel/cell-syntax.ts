import type TypeScript from "@tslab/typescript-for-tslab";
import type { Insertion } from "./cell-rewrite.js";
import type { TypeScriptLibrary } from "./tslab-typescript.js";

/** What a front end wants to know when someone presses Enter. */
export type Completeness =
  | { readonly status: "complete" | "invalid" }
  | { readonly status: "incomplete"; readonly indent: string };

const UNTERMINATED_STRING = 1002;
const UNTERMINATED_COMMENT = 1010;
const UNTERMINATED_TEMPLATE = 1160;

function parse(ts: TypeScriptLibrary, code: string): TypeScript.SourceFile {
  return ts.createSourceFile("cell.ts", code, ts.ScriptTarget.Latest, true, ts.ScriptKind.TS);
}

/**
 * Whether the code can run, lacks its end, or can never run. Two blank lines at the end mean "run it", as elsewhere.
 * @param indentOf how far the next line of unfinished code should be indented
 */
export function completenessOf(
  ts: TypeScriptLibrary,
  code: string,
  indentOf: (code: string) => string,
): Completeness {
  if (/\n\s*\n\s*$/.test(code)) return { status: "complete" };
  const { parseDiagnostics } = parse(ts, code) as TypeScript.SourceFile & {
    readonly parseDiagnostics: readonly TypeScript.DiagnosticWithLocation[];
  };
  if (parseDiagnostics.length === 0) return { status: "complete" };
  const end = code.trimEnd().length;
  const onlyLacksItsEnd = parseDiagnostics.every(
    ({ start, code: reason }) =>
      (start >= end && reason !== UNTERMINATED_STRING) ||
      reason === UNTERMINATED_COMMENT ||
      reason === UNTERMINATED_TEMPLATE,
  );
  return onlyLacksItsEnd ? { status: "incomplete", indent: indentOf(code) } : { status: "invalid" };
}

/** Whether the cell itself waits: an `await` or `for await` that stands in no function. */
export function hasTopLevelAwait(ts: TypeScriptLibrary, code: string): boolean {
  if (!/\bawait\b/.test(code)) return false;
  const waits = (node: TypeScript.Node): boolean => {
    if (ts.isFunctionLike(node) || ts.isClassLike(node)) return false;
    if (ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier)) return true;
    return ts.forEachChild(node, waits) ?? false;
  };
  // Only in a module does `await (x)` parse as waiting rather than as a call.
  return waits(parse(ts, `${code}\nexport {}`));
}

/**
 * What writes `{ name }` out as `{ name: name }`. tslab rebuilds a cell's declarations, and the compiler then no
 * longer sees that a shorthand property reads a variable of an earlier cell: the variable would be unknown when the
 * cell runs.
 */
export function shorthandInsertions(ts: TypeScriptLibrary, code: string): Insertion[] {
  const insertions: Insertion[] = [];
  const collect = (node: TypeScript.Node): void => {
    if (
      ts.isShorthandPropertyAssignment(node) &&
      !node.objectAssignmentInitializer &&
      !isTarget(ts, node.parent)
    )
      insertions.push({ at: node.name.end, text: `: ${node.name.text}` });
    ts.forEachChild(node, collect);
  };
  collect(parse(ts, `${code}\nexport {}`));
  return insertions;
}

/** Whether an object literal stands where a value is taken apart: `({ a } = b)`. */
function isTarget(ts: TypeScriptLibrary, literal: TypeScript.Node): boolean {
  const { parent } = literal;
  return (
    ts.isBinaryExpression(parent) &&
    parent.left === literal &&
    parent.operatorToken.kind === ts.SyntaxKind.EqualsToken
  );
}

/** Names of values that a cell declares at its top level. */
export interface DeclaredNames {
  readonly all: ReadonlySet<string>;
  /** Those of `let` and `var`. */
  readonly variable: readonly string[];
}

export function declaredNames(ts: TypeScriptLibrary, code: string): DeclaredNames {
  const all = new Set<string>();
  const variable = new Set<string>();
  const bind = (name: TypeScript.BindingName, constant: boolean): void => {
    if (ts.isIdentifier(name)) {
      all.add(name.text);
      if (!constant) variable.add(name.text);
      return;
    }
    for (const element of name.elements) if (ts.isBindingElement(element)) bind(element.name, constant);
  };
  for (const statement of parse(ts, code).statements) {
    if (ts.isVariableStatement(statement)) {
      const { declarations, flags } = statement.declarationList;
      const constant = (flags & ts.NodeFlags.Const) !== 0 || isAmbient(ts, statement);
      for (const declaration of declarations) bind(declaration.name, constant);
    } else if (ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement)) {
      if (statement.name) all.add(statement.name.text);
    } else if (ts.isEnumDeclaration(statement)) {
      all.add(statement.name.text);
    }
  }
  return { all, variable: [...variable] };
}

function isAmbient(ts: TypeScriptLibrary, statement: TypeScript.VariableStatement): boolean {
  return statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.DeclareKeyword) ?? false;
}

/** The declarations of `text`, a declaration file, whose names `keep` accepts; what has no value always stays. */
export function filterDeclarations(
  ts: TypeScriptLibrary,
  text: string,
  keep: (name: string) => boolean,
  keepTypes: boolean,
): string {
  const file = ts.createSourceFile("decl.d.ts", text, ts.ScriptTarget.Latest, true, ts.ScriptKind.TS);
  const printer = ts.createPrinter({ newLine: ts.NewLineKind.LineFeed });
  const print = (node: TypeScript.Node): string => printer.printNode(ts.EmitHint.Unspecified, node, file);
  return file.statements
    .flatMap((statement): string[] => {
      if (ts.isVariableStatement(statement)) {
        const list = statement.declarationList;
        const kept = list.declarations.filter(({ name }) => ts.isIdentifier(name) && keep(name.text));
        if (kept.length === 0) return [];
        const narrowed = ts.factory.createVariableDeclarationList(kept, list.flags);
        return [print(ts.factory.updateVariableStatement(statement, statement.modifiers, narrowed))];
      }
      const named =
        ts.isFunctionDeclaration(statement) ||
        ts.isClassDeclaration(statement) ||
        ts.isEnumDeclaration(statement);
      if (named && statement.name) return keep(statement.name.text) ? [print(statement)] : [];
      return keepTypes ? [print(statement)] : [];
    })
    .join("\n");
}
