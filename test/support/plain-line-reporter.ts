import type { Reporter, TestModule } from "vitest/node";

/** Ends a run with `N passed, N failed, N skipped`, the line that CI reads. */
export default class PlainLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const states = modules.flatMap((module) =>
      [...module.children.allTests()].map((test) => test.result().state),
    );
    const count = (state: string): number => states.filter((s) => s === state).length;
    process.stdout.write(
      `${count("passed")} passed, ${count("failed")} failed, ${count("skipped")} skipped\n`,
    );
  }
}
