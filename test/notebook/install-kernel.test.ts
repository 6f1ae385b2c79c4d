import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import { installKernel, uninstallKernel } from "../../src/notebook/install-kernel.js";

it("the kernel is installed with absolute paths, its logo and plotly.js, and removed without a trace", () => {
  const prefix = mkdtempSync(path.join(tmpdir(), "galvatron-prefix-"));
  const place = { kind: "prefix", prefix } as const;
  try {
    const folder = installKernel(place);
    expect(folder).toBe(path.join(prefix, "share", "jupyter", "kernels", "galvatron"));
    expect(readdirSync(folder).sort()).toEqual([
      "kernel.json",
      "logo-32x32.png",
      "logo-64x64.png",
      "logo-svg.svg",
      "plotly.min.js",
    ]);
    const spec = JSON.parse(readFileSync(path.join(folder, "kernel.json"), "utf8"));
    expect(spec).toMatchObject({ language: "typescript", interrupt_mode: "message" });
    const [program, , main, file] = spec.argv as string[];
    expect(path.isAbsolute(program!) && existsSync(program!)).toBe(true);
    expect(path.isAbsolute(main!) && existsSync(main!)).toBe(true);
    expect(file).toBe("{connection_file}");
    expect(uninstallKernel(place)).toBe(folder);
    expect(existsSync(folder)).toBe(false);
    expect(uninstallKernel(place)).toBeUndefined();
  } finally {
    rmSync(prefix, { recursive: true, force: true });
  }
});
