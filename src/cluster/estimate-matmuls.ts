import type { MatmulSample } from "./hardware-profile.js";
import type { MachinePreset } from "./presets.js";

const SIZES: readonly number[] = [128, 256, 512, 1024, 2048, 4096, 8192, 16384];
/** Share of the peak that a large product reaches. */
const REACHED = 0.75;
const START_MS = 0.004;

/**
 * Times of square products from the peak: t = start + max(flops / (0.75 · peak), bytes / bandwidth). Small products
 * are bound by their start and by memory, as on the real device.
 */
export function estimateMatmuls(preset: MachinePreset): MatmulSample[] {
  return (["bfloat16", "float32"] as const).flatMap((dtype) => {
    const peakPerMs = (dtype === "bfloat16" ? preset.halfTflops : preset.floatTflops) * 1e9;
    const elementBytes = dtype === "bfloat16" ? 2 : 4;
    return SIZES.map((size) => {
      const computeMs = (2 * size ** 3) / (REACHED * peakPerMs);
      const memoryMs = (3 * size * size * elementBytes) / (preset.memoryGBps * 1e6);
      return { m: size, k: size, n: size, dtype, timeMs: START_MS + Math.max(computeMs, memoryMs) };
    });
  });
}
