import Module, { createRequire } from "node:module";
import { isRelative, type KnownModules } from "./tslab-typescript.js";

interface ModuleInternals {
  _resolveFilename(request: string, ...rest: unknown[]): string;
}

/**
 * Lets every `require` of this process find the SDK by its name and, where a notebook's own folder has no package of
 * a name, ours. The run-time twin of the compiler's module resolver.
 */
export function resolveKnownModules(modules: KnownModules): void {
  const internals = Module as unknown as ModuleInternals;
  const original = internals._resolveFilename;
  const ours = createRequire(`${modules.packageFolder}/package.js`);
  internals._resolveFilename = function (this: unknown, request: string, ...rest: unknown[]): string {
    if (request === modules.sdk) return original.call(this, modules.sdkEntry, ...rest);
    try {
      return original.call(this, request, ...rest);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND" || isRelative(request)) throw error;
      try {
        internals._resolveFilename = original;
        return ours.resolve(request);
      } catch {
        throw error;
      } finally {
        internals._resolveFilename = known;
      }
    }
  };
  const known = internals._resolveFilename;
}
