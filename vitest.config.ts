import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/python/**", "test/gpu/**", "test/bench/**"],
    globalSetup: ["./test/support/fresh-build.ts"],
    reporters: ["default", "./test/support/plain-line-reporter.ts"],
    // The machine may have two cores and a test may start several ranks: files run a few at a time.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
