import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/python/**", "test/gpu/**", "test/bench/**"],
    globalSetup: ["./test/support/fresh-build.ts"],
    reporters: ["default", "./test/support/plain-line-reporter.ts"],
    // The machine may have two cores and a test may start several ranks: files run a few at a time.
    maxWorkers: 2,
    // A kernel starts in 4 s of one core: where ten others want it too, a test of three starts takes two minutes.
    testTimeout: 240_000,
    hookTimeout: 240_000,
  },
});
