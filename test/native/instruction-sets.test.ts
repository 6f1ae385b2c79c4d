import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../../src/device/package-root.js";

test("kernels give the same bits under every instruction set of this machine", () => {
  const folder = mkdtempSync(join(tmpdir(), "galvatron-kernels-"));
  try {
    const objects = join(packageRoot(), "build", "native", "objects");
    const program = join(folder, "instruction-sets");
    const kernels = readdirSync(objects).filter((file) => /^kernels[A-Z]\w+\.o$/.test(file));
    const built = spawnSync(
      "g++",
      [
        "-std=c++20",
        "-O1",
        `-I${join(packageRoot(), "native", "src")}`,
        "-o",
        program,
        join(__dirname, "instruction-sets.cc"),
        ...kernels.map((file) => join(objects, file)),
      ],
      { encoding: "utf8" },
    );
    expect(built.stderr).toBe("");
    const run = spawnSync(program, { encoding: "utf8" });
    expect({ status: run.status, output: run.stdout.match(/differs/g) }).toEqual({ status: 0, output: null });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
