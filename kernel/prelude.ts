import { readFileSync } from "node:fs";

/**
 * The import that puts the SDK in scope before the first cell: every value and every type that the package's door
 * exports.
 * @param declarations path of the door's compiled declarations
 */
export function sdkPrelude(sdk: string, declarations: string): string {
  const names = exportedNames(readFileSync(declarations, "utf8"));
  return names.length === 0 ? "" : `import { ${names.join(", ")} } from "${sdk}";`;
}

/** Names in `export { a, type B } from` and `export declare …` of a declaration file, in order. */
export function exportedNames(text: string): string[] {
  const names = new Set<string>();
  for (const list of text.matchAll(/^export\s+(?:type\s+)?\{([^}]*)\}/gm)) {
    for (const entry of list[1]!.split(",")) {
      const name = /(?:type\s+)?[\w$]+(?:\s+as\s+([\w$]+))?\s*$/.exec(entry.trim());
      const exported = name?.[1] ?? /([\w$]+)\s*$/.exec(entry.trim())?.[1];
      if (exported) names.add(exported);
    }
  }
  const declaration =
    /^export\s+(?:declare\s+)?(?:abstract\s+)?(?:const|let|function|class|interface|type|enum)\s+([\w$]+)/gm;
  for (const found of text.matchAll(declaration)) names.add(found[1]!);
  names.delete("default");
  return [...names];
}
