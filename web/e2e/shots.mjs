// Takes screenshots of every page, wide and narrow, light and dark, and fails where the browser complains: an error in
// the console, a violation of the Content-Security-Policy, a request to another origin.
//
//   node e2e/shots.mjs BASE_URL OUTPUT_DIR [PASSWORD]
//
// CHROMIUM names the browser, /usr/bin/chromium if it is not set.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [base, output, password] = process.argv.slice(2);
if (!base || !output) {
  console.error("usage: node e2e/shots.mjs BASE_URL OUTPUT_DIR [PASSWORD]");
  process.exit(2);
}

const sizes = { desktop: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } };
const themes = ["light", "dark"];

// Time for fonts, charts and a first live value.
const SETTLE_MILLIS = 2_500;

const complaints = [];

function watch(page, where) {
  const origin = new URL(base).origin;
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(`${where}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`${where}: ${error.message}`));
  page.on("request", (request) => {
    const url = new URL(request.url().replace(/^ws/, "http"));
    if (url.protocol.startsWith("http") && url.origin !== origin) complaints.push(`${where}: request to ${url.origin}`);
  });
}

async function logIn(context) {
  const page = await context.newPage();
  await page.goto(new URL("/login/", base).href);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL((url) => !url.pathname.startsWith("/login"));
  await page.close();
}

/** The id of the first host in the list, undefined where there is none. */
async function firstHost(page) {
  const link = page.locator('[data-testid="host-row"] a').first();
  const href = await link.getAttribute("href", { timeout: 5_000 }).catch(() => null);
  return href ? new URL(href, base).searchParams.get("id") : undefined;
}

async function shoot(page, path, name, full) {
  await page.goto(new URL(path, base).href);
  await page.waitForTimeout(SETTLE_MILLIS);
  await page.screenshot({ path: join(output, `${name}.png`), fullPage: full });
}

await mkdir(output, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

for (const [size, viewport] of Object.entries(sizes)) {
  for (const theme of themes) {
    const suffix = `${size}-${theme}`;
    const context = await browser.newContext({ viewport, colorScheme: theme, deviceScaleFactor: size === "phone" ? 2 : 1 });
    if (password) {
      const visitor = await context.newPage();
      watch(visitor, `login ${suffix}`);
      await shoot(visitor, "/login/", `login-${suffix}`, false);
      await visitor.close();
      await logIn(context);
    }
    const page = await context.newPage();
    watch(page, suffix);
    await shoot(page, "/", `hosts-${suffix}`, false);
    const host = await firstHost(page);
    if (host) await shoot(page, `/host/?id=${host}&range=15m`, `host-${suffix}`, true);
    await shoot(page, "/alerts/", `alerts-${suffix}`, true);
    await shoot(page, "/storage/", `storage-${suffix}`, true);
    await shoot(page, "/docs/api/", `api-${suffix}`, false);
    await context.close();
  }
}
await browser.close();

for (const complaint of complaints) console.error(complaint);
console.log(`screenshots in ${output}, ${complaints.length} complaints`);
process.exit(complaints.length > 0 ? 1 : 0);
