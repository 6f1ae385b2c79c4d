// Opens exported pages in Chromium and looks whether every figure is drawn by plotly. Prints one JSON line per page.
// node exported-page.mjs SCREENSHOT_FOLDER CHROMIUM FILE.ipynb|FILE.html…
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { openPage, pixels, tell } from "./browser.mjs";

const [shots, executablePath, ...files] = process.argv.slice(2);
const require = createRequire(path.resolve("dist/src/index.js"));
const { notebookPage } = require("./notebook/notebook-page.js");
const { parseNotebook } = require("./notebook/notebook-json.js");

for (const file of files) {
  for (const colorScheme of ["light", "dark"]) {
    const { browser, page, strangers } = await openPage(executablePath, shots, { colorScheme });
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    try {
      const name = path.basename(file).replace(/\.\w+$/, "");
      await page.goto(pathToFileURL(pageOf(file, name)).href);
      const figures = await page.locator("figure[data-plot]").count();
      await page.waitForFunction(
        (count) => document.querySelectorAll("figure[data-plot] .js-plotly-plot .main-svg").length >= count,
        figures,
      );
      const plots = page.locator("figure[data-plot] .js-plotly-plot");
      const drawn = await plots.count();
      let bare = 0;
      for (let index = 0; index < drawn; index++) if ((await pixels(page, plots.nth(index))) < 100) bare++;
      await page.screenshot({ path: path.join(shots, `${name}-${colorScheme}.png`), fullPage: true });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      const ok = figures > 0 && drawn === figures && bare === 0 && overflow <= 0 && strangers.size === 0;
      tell(
        `${name}, ${colorScheme}`,
        ok && complaints.length === 0,
        `${figures} figures, ${drawn} drawn, ${bare} without colour, ${overflow} px too wide, asked ${[...strangers].join() || "nobody"}, ${complaints.join("; ") || "no complaint"}`,
      );
    } catch (error) {
      tell(`${file}, ${colorScheme}`, false, error instanceof Error ? error.message : error);
    } finally {
      await browser.close();
    }
  }
}

/** The page as `notebook run` exports it. */
function pageOf(file, name) {
  if (file.endsWith(".html")) return path.resolve(file);
  const page = path.join(shots, `${name}.html`);
  writeFileSync(page, notebookPage(parseNotebook(readFileSync(file, "utf8"), file), name));
  return page;
}
