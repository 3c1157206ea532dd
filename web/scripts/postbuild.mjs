// Finishes the static export: lists the hashes of the inline scripts for the server's Content-Security-Policy, and
// puts back the file that keeps `go build` working before the dashboard is built.
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

const out = new URL("../out/", import.meta.url).pathname;

// The content between <script> without src and </script>. HTML ends a script at the first "</script", whatever it holds.
const inlineScript = /<script(?![^>]*\ssrc=)[^>]*>([\s\S]*?)<\/script/gi;

/** @param {string} html */
function hashes(html) {
  return [...html.matchAll(inlineScript)].map(
    ([, body]) => `sha256-${createHash("sha256").update(body).digest("base64")}`,
  );
}

const files = await readdir(out, { recursive: true });
const found = new Set();
for (const file of files.filter((name) => name.endsWith(".html")).sort()) {
  for (const hash of hashes(await readFile(join(out, file), "utf8"))) found.add(hash);
}
await writeFile(join(out, "csp-hashes.json"), `${JSON.stringify([...found].sort(), null, 2)}\n`);
await writeFile(join(out, ".gitkeep"), "");
console.log(`csp-hashes.json: ${found.size} inline scripts`);
