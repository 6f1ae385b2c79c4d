import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { GalvatronError } from "../base/errors.js";
import type { NativeAddon } from "./addon.js";
import { packageRoot } from "./package-root.js";

/** The addon's ABI that this SDK speaks: `kAddonAbi` of native/src/addon.cc. */
const ADDON_ABI = 4;

/** What the addon exports beside {@link NativeAddon}: it throws our error class, once it has it. */
interface RawAddon extends NativeAddon {
  useErrorClass(errorClass: typeof GalvatronError): void;
}

let loaded: NativeAddon | undefined;

/** Where `npm run build:native` puts the addon. */
export function addonPath(): string {
  return join(packageRoot(), "build", "native", "galvatron.node");
}

/**
 * The native addon, loaded on the first call. Its errors are {@link GalvatronError}s.
 * @throws GalvatronError NATIVE_MISSING: not built, not for this machine, or built from other sources than the SDK.
 */
export function loadAddon(): NativeAddon {
  loaded ??= loadAddonFrom(addonPath());
  return loaded;
}

/** {@link loadAddon} from a given file, every time anew. */
export function loadAddonFrom(path: string): NativeAddon {
  if (!existsSync(path)) {
    throw new GalvatronError(
      "NATIVE_MISSING",
      `The native addon is not built: there is no ${path}. Run \`npm run build:native\` in the package's folder.`,
      { path },
    );
  }
  let addon: RawAddon;
  try {
    addon = createRequire(__filename)(path) as RawAddon;
  } catch (error) {
    throw new GalvatronError(
      "NATIVE_MISSING",
      `The native addon ${path} does not load on this machine. Build it here with \`npm run build:native\`.`,
      { path },
      { cause: error },
    );
  }
  if (addon.abi !== ADDON_ABI) {
    throw new GalvatronError(
      "NATIVE_MISSING",
      `The native addon ${path} speaks ABI ${addon.abi}, the SDK ${ADDON_ABI}. Build it again with \`npm run build:native\`.`,
      { path, abi: addon.abi },
    );
  }
  addon.useErrorClass(GalvatronError);
  return addon;
}
