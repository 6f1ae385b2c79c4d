import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { GalvatronError } from "../../src/base/errors.js";
import { addonPath, loadAddon, loadAddonFrom } from "../../src/device/load-addon.js";
import { onnxRuntimePath } from "../../src/device/onnx-runtime-path.js";
import { packageRoot } from "../../src/device/package-root.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "galvatron-addon-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const refusal = (path: string): GalvatronError => {
  try {
    loadAddonFrom(path);
  } catch (error) {
    return error as GalvatronError;
  }
  throw new Error("it should not have loaded");
};

test("an addon that is not built, or not for this machine, is told with what to do", () => {
  const missing = refusal(join(folder, "none.node"));
  expect(missing).toBeInstanceOf(GalvatronError);
  expect(missing.code).toBe("NATIVE_MISSING");
  expect(missing.message).toMatch(/is not built.*npm run build:native/);

  const broken = join(folder, "broken.node");
  writeFileSync(broken, "not a library");
  expect(refusal(broken).code).toBe("NATIVE_MISSING");
  expect(refusal(broken).message).toContain("does not load on this machine");
  expect(refusal(broken).cause).toBeInstanceOf(Error);
});

test("the addon finds ONNX Runtime of the pinned release, and says where it looked for CUDA", () => {
  const probe = loadAddon().probe({ onnxRuntimePath: onnxRuntimePath(), libraries: true });
  expect(probe.onnxRuntime.version).toBe("1.29.0");
  expect(probe.onnxRuntime.providers).toContain("CPUExecutionProvider");
  const cuda = probe.libraries.find((library) => library.name === "libgalvatron_cuda.so");
  const place = join(packageRoot(), "build", "native", "libgalvatron_cuda.so");
  expect(cuda?.searched[0]?.startsWith(place)).toBe(true);
  const nccl = probe.libraries.find((library) => library.name === "NCCL (libnccl.so.2, 2.28 expected)");
  if (!nccl?.found) expect(nccl?.searched.some((folder) => folder.startsWith("system"))).toBe(true);
});

test("native failures are the SDK's own errors", () => {
  const attempt = (): void => loadAddon().createShared({ name: "a/b/c", ranks: 1, bytesPerRank: 2 ** 20 });
  expect(attempt).toThrow(GalvatronError);
});

test("a machine without a compiler is told which one to install", () => {
  const built = spawnSync(process.execPath, [join(packageRoot(), "native", "build.mjs")], {
    encoding: "utf8",
    env: { PATH: folder },
  });
  expect(built.status).toBe(1);
  expect(built.stderr).toMatch(
    /No C\+\+ compiler was found \(tried g\+\+, c\+\+, clang\+\+\).*\n.*apt-get install g\+\+/s,
  );
  expect(addonPath().startsWith(packageRoot())).toBe(true);
});
