// What the drivers of Chromium share: a browser, one JSON line per thing seen, pixels of an element.
import { mkdirSync } from "node:fs";
import path from "node:path";
import { chromium } from "playwright-core";

const FLAGS =
  "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";

/** Says whether one thing was as it should be. */
export const tell = (name, ok, detail = "") =>
  process.stdout.write(`${JSON.stringify({ name, ok: Boolean(ok), detail: String(detail) })}\n`);

/** A page, pictures of it in `shots`, and the hosts other than this one that it asked for anything. */
export async function openPage(executablePath, shots, options = {}) {
  mkdirSync(shots, { recursive: true });
  const browser = await chromium.launch({ executablePath, args: FLAGS.split(" "), timeout: 180_000 });
  const page = await browser.newPage({ viewport: { width: 1280, height: 1000 }, ...options });
  page.setDefaultTimeout(120_000);
  const strangers = new Set();
  page.on("request", (request) => {
    const { hostname, protocol } = new URL(request.url());
    if (protocol.startsWith("http") && hostname !== "127.0.0.1") strangers.add(hostname);
  });
  const shot = (name) => page.screenshot({ path: path.join(shots, `${name}.png`) });
  return { browser, page, shot, strangers };
}

/** How many pixels of an element are near a colour; without one, how many are not grey. */
export async function pixels(page, element, color) {
  await element.scrollIntoViewIfNeeded();
  const picture = (await element.screenshot()).toString("base64");
  return await page.evaluate(
    async ({ picture, color }) => {
      const image = new Image();
      image.src = `data:image/png;base64,${picture}`;
      await image.decode();
      const canvas = new OffscreenCanvas(image.width, image.height);
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      const { data } = context.getImageData(0, 0, image.width, image.height);
      let count = 0;
      for (let i = 0; i < data.length; i += 4) {
        const [r, g, b] = [data[i], data[i + 1], data[i + 2]];
        const isNear = color
          ? Math.abs(r - color[0]) + Math.abs(g - color[1]) + Math.abs(b - color[2]) < 30
          : Math.max(r, g, b) - Math.min(r, g, b) > 40;
        if (isNear) count++;
      }
      return count;
    },
    { picture, color },
  );
}

/** JupyterLab's menus by their words. */
export async function menu(page, ...names) {
  for (const [index, name] of names.entries()) {
    const place = index === 0 ? page.locator(".lm-MenuBar-item") : page.locator(".lm-Menu-item");
    await place.filter({ hasText: name }).first().click();
  }
}

/** Waits for JupyterLab's question about the kernel, and picks ours. */
export async function pickKernel(page) {
  const dialog = page.locator(".jp-Dialog");
  await dialog.waitFor();
  await dialog.locator("select").selectOption({ label: "Galvatron" });
  await dialog.locator("button.jp-mod-accept").click();
  await dialog.waitFor({ state: "detached" });
  await page.locator("#jp-main-statusbar", { hasText: "Galvatron | Idle" }).waitFor();
}

/** Restarts the kernel by the menu. */
export async function restartKernel(page) {
  await menu(page, "Kernel", "Restart Kernel…");
  const dialog = page.locator(".jp-Dialog");
  await dialog.waitFor();
  await dialog.locator("button.jp-mod-accept").click();
  await dialog.waitFor({ state: "detached" });
}
