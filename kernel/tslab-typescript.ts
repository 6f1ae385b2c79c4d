import { createRequire, isBuiltin } from "node:module";
import path from "node:path";
import type TypeScript from "@tslab/typescript-for-tslab";
import type * as ConverterModule from "tslab/dist/converter.js";
import type * as ExecutorModule from "tslab/dist/executor.js";
import { type EmittedMaps, takeInlineMap } from "./cell-positions.js";

export type TypeScriptLibrary = typeof TypeScript;

/** tslab's parts, loaded on a TypeScript that knows where our packages lie. */
export interface Tslab {
  readonly typescript: TypeScriptLibrary;
  readonly createConverter: typeof ConverterModule.createConverter;
  readonly createExecutor: typeof ExecutorModule.createExecutor;
  /** Position maps of the text that tslab emitted last. */
  lastMaps(): EmittedMaps | undefined;
}

/** Names that cells may import whatever folder they run in. */
export interface KnownModules {
  /** Import name of the SDK. */
  readonly sdk: string;
  /** The SDK's compiled entry, without its extension. */
  readonly sdkEntry: string;
  /** Folder of our own package; what it can import, a cell can, when the notebook's folder has nothing of that name. */
  readonly packageFolder: string;
}

type AnyFunction = (...parameters: never[]) => unknown;

/**
 * Loads tslab. It fixes its compiler options and exposes no door to them, so the TypeScript module that it is about
 * to load is replaced by one whose program host resolves our modules and whose emit keeps source maps.
 */
export function loadTslab(modules: KnownModules): Tslab {
  const load = createRequire(__filename);
  const id = createRequire(load.resolve("tslab")).resolve("@tslab/typescript-for-tslab");
  const ts = load(id) as TypeScriptLibrary;
  let maps: EmittedMaps | undefined;

  const createWatchCompilerHost = (
    files: string[],
    options: TypeScript.CompilerOptions,
    ...rest: never[]
  ): unknown => {
    const merged = { ...options, ...compilerOptions(ts, options, modules) };
    const host = (ts.createWatchCompilerHost as AnyFunction as (...p: unknown[]) => object)(
      files,
      merged,
      ...rest,
    );
    return Object.assign(host, oneTimer(host as TimerHost), {
      resolveModuleNameLiterals: moduleResolver(ts, merged, modules, host as TypeScript.ModuleResolutionHost),
      hasInvalidatedResolutions: mayImportOtherwise(modules),
    });
  };

  const transpileModule = (
    text: string,
    options: TypeScript.TranspileOptions,
  ): TypeScript.TranspileOutput => {
    const { code, map } = takeInlineMap(text);
    const output = ts.transpileModule(code, {
      ...options,
      compilerOptions: { ...options.compilerOptions, sourceMap: true },
    });
    maps = map && output.sourceMapText ? { first: map, second: JSON.parse(output.sourceMapText) } : undefined;
    return { ...output, outputText: output.outputText.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n") };
  };

  // The library's exports cannot be redefined, so a copy of them with two changed takes its place.
  load.cache[id]!.exports = Object.defineProperties(
    {},
    {
      ...Object.getOwnPropertyDescriptors(ts),
      createWatchCompilerHost: { enumerable: true, value: createWatchCompilerHost },
      transpileModule: { enumerable: true, value: transpileModule },
    },
  );
  const { createConverter } = load("tslab/dist/converter.js") as typeof ConverterModule;
  const { createExecutor } = load("tslab/dist/executor.js") as typeof ExecutorModule;
  return { typescript: ts, createConverter, createExecutor, lastMaps: () => maps };
}

/**
 * Whether a file that did not change may find other modules than before: the person's own, and packages beside the
 * notebook. All other declarations are as they were: looking for their imports again took most of a cell's time.
 */
function mayImportOtherwise(modules: KnownModules): (file: string) => boolean {
  const canonical = (folder: string): string => `${folder.replaceAll("\\", "/").toLowerCase()}/`;
  const ownTypes = canonical(path.dirname(modules.sdkEntry));
  const beside = canonical(path.join(process.cwd(), "node_modules"));
  return (file) => {
    const name = file.toLowerCase();
    return name.startsWith(beside) || !(name.includes("/node_modules/") || name.startsWith(ownTypes));
  };
}

interface TimerHost {
  setTimeout(callback: (...parameters: unknown[]) => void, ms: number, ...parameters: unknown[]): unknown;
}

/**
 * The compiler sets a timer for every kind of change that it hears of; tslab has room for one, and runs it with the
 * next cell. So that files which come and go in the notebook's folder are no error, all wait behind that one.
 */
function oneTimer(host: TimerHost): object {
  const setTimer = host.setTimeout.bind(host);
  const waiting = new Map<object, () => void>();
  let isSet = false;
  const runAll = (): void => {
    try {
      for (const [timer, run] of waiting) {
        waiting.delete(timer);
        run();
      }
    } finally {
      isSet = false;
    }
  };
  return {
    setTimeout: (
      callback: (...parameters: unknown[]) => void,
      ms: number,
      ...parameters: unknown[]
    ): object => {
      const timer = {};
      waiting.set(timer, () => callback(...parameters));
      if (!isSet) {
        isSet = true;
        setTimer(runAll, ms);
      }
      return timer;
    },
    clearTimeout: (timer: object): void => {
      waiting.delete(timer);
    },
  };
}

function compilerOptions(
  ts: TypeScriptLibrary,
  given: TypeScript.CompilerOptions,
  modules: KnownModules,
): TypeScript.CompilerOptions {
  return {
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    lib: ["lib.es2023.d.ts"],
    types: ["node"],
    typeRoots: [path.join(modules.packageFolder, "node_modules", "@types"), ...(given.typeRoots ?? [])],
    inlineSourceMap: true,
    inlineSources: false,
  };
}

/** Ordinary resolution first, then the SDK by its name, then whatever our own package can import. */
function moduleResolver(
  ts: TypeScriptLibrary,
  options: TypeScript.CompilerOptions,
  modules: KnownModules,
  host: TypeScript.ModuleResolutionHost,
): TypeScript.CompilerHost["resolveModuleNameLiterals"] {
  const cache = ts.createModuleResolutionCache(process.cwd(), (name) => name, options);
  const ownFile = path.join(modules.packageFolder, "package.ts");
  return (literals, containingFile) =>
    literals.map(({ text }) => {
      if (text === modules.sdk) {
        return ts.resolveModuleName(modules.sdkEntry, ownFile, options, host, cache);
      }
      // Declared by node's types, and never a file: a search would look through every folder.
      if (isBuiltin(text)) return { resolvedModule: undefined };
      const found = ts.resolveModuleName(text, containingFile, options, host, cache);
      if (found.resolvedModule || isRelative(text)) return found;
      const ours = ts.resolveModuleName(text, ownFile, options, host, cache);
      if (ours.resolvedModule) return ours;
      // The cache remembers also what was not there: a package that was installed since is looked for anew.
      return ts.resolveModuleName(text, containingFile, options, host);
    });
}

export function isRelative(name: string): boolean {
  return name.startsWith(".") || path.isAbsolute(name);
}
