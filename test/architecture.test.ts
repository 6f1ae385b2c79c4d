import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cruise } from "dependency-cruiser";
import { describe, expect, it } from "vitest";

/** The rooms of src/, lowest first. A file imports its own room and rooms before it, never after. */
const ROOMS = [
  "base",
  "cluster",
  "plan",
  "model",
  "cost",
  "search",
  "ancestor",
  "graph",
  "families",
  "program",
  "device",
  "runtime",
  "profiler",
  "display",
  "notebook",
  "session",
  "cli",
];
const PURE = [
  "base",
  "cluster",
  "plan",
  "model",
  "cost",
  "search",
  "ancestor",
  "graph",
  "families",
  "program",
  "display",
];

const files = ["src", "kernel"].flatMap((root) =>
  readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => ({ path: join(root, name), text: readFileSync(join(root, name), "utf8") })),
);

describe("architecture", () => {
  it("has no import that goes up, around, or from a pure room to the outside", async () => {
    const forbidden = [
      ...ROOMS.map((room, i) => ({
        name: `${room} imports a room above it`,
        severity: "error" as const,
        from: { path: `^src/${room}/` },
        // Types may be named from anywhere that is pure: they vanish. Code may not.
        to: {
          path: `^src/(${[...ROOMS.slice(i + 1), "index"].join("|")})[/.]`,
          dependencyTypesNot: ["type-only" as const],
        },
      })),
      {
        name: "pure room imports a room that acts",
        severity: "error" as const,
        from: { path: `^src/(${PURE.join("|")})/` },
        to: {
          path: `^src/(${ROOMS.filter((room) => !PURE.includes(room)).join("|")})/`,
          dependencyTypesNot: ["type-only" as const],
        },
      },
      {
        name: "pure room does I/O",
        severity: "error" as const,
        from: { path: `^src/(${PURE.join("|")})/` },
        to: { dependencyTypes: ["core" as const], pathNot: "^(node:)?crypto$" },
      },
      {
        name: "worker and coordinator know each other",
        severity: "error" as const,
        from: { path: "^src/runtime/(worker|coordinator)/" },
        to: { path: "^src/runtime/(worker|coordinator)/", pathNot: "^src/runtime/$1/" },
      },
      {
        name: "src imports kernel or test",
        severity: "error" as const,
        from: { path: "^src/" },
        to: { path: "^(kernel|test)/" },
      },
      {
        name: "cycle",
        severity: "error" as const,
        from: {},
        to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only" as const] } },
      },
    ];
    const { output } = await cruise(["src", "kernel"], {
      ruleSet: { forbidden },
      validate: true,
      tsPreCompilationDeps: true,
      doNotFollow: { path: "node_modules" },
    });
    if (typeof output === "string") throw new TypeError("expected a report object");
    expect(output.summary.totalCruised).toBeGreaterThan(50);
    expect(output.summary.violations.map((v) => `${v.rule.name}: ${v.from} -> ${v.to}`)).toEqual([]);
  });

  it("lists every room, in the test and on the page", () => {
    const rooms = readdirSync("src", { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
    expect(rooms.sort()).toEqual([...ROOMS].sort());
    const page = readFileSync("docs/architecture.md", "utf8");
    expect(ROOMS.filter((room) => !page.includes(`| \`${room}\` |`))).toEqual([]);
  });

  it.each([
    ["the environment", /process\.(env|argv)/, /(cli\/main|runtime\/worker\/main|kernel\/main)\.ts$/],
    ["the console", /console\.(log|info|warn|error)/, /(cli\/main|runtime\/worker\/main)\.ts$|^kernel\//],
    ["zod", /from "zod"/, /(-json|wire|cli\/[a-z-]+)\.ts$/],
    ["Arrow", /^import (?!type).*from "apache-arrow"/m, /-table\.ts$/],
    ["tslab", /from "tslab|require\("tslab/, /^kernel\//],
  ])("keeps %s in its place", (_, pattern, allowed) => {
    const code = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*$/gm, "");
    expect(
      files.filter((f) => pattern.test(code(f.text)) && !allowed.test(f.path)).map((f) => f.path),
    ).toEqual([]);
  });

  it("keeps every file short enough to hold in the head", () => {
    expect(files.filter((f) => f.text.split("\n").length > 400).map((f) => f.path)).toEqual([]);
  });
});
