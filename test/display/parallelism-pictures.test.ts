import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

it("the pictures of docs/parallelism.md are as the product draws them", () => {
  const { status, stderr } = spawnSync(process.execPath, ["docs/pictures/make.mjs", "--check"], {
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  expect(status).toBe(0);
});

it("docs/parallelism.md shows pictures that are there", () => {
  const shown = [...readFileSync("docs/parallelism.md", "utf8").matchAll(/\(pictures\/([^)]+)\)/g)].map(
    ([, name]) => name,
  );
  expect(shown.length).toBeGreaterThan(15);
  expect(readdirSync("docs/pictures")).toEqual(expect.arrayContaining(shown));
});
