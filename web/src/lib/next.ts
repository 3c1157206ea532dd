// The page to go to after the log-in comes from the URL, so anyone can write it.

const base = "https://gohub.invalid";

/** A path of this site, or "/". */
export function safeNext(value: string | null): string {
  if (value === null || !value.startsWith("/")) return "/";
  let url: URL;
  try {
    url = new URL(value, base);
  } catch {
    return "/";
  }
  // "//host" and "/\host" are other sites to a browser.
  if (url.origin !== base || url.pathname.startsWith("//") || url.pathname.startsWith("/login")) return "/";
  return `${url.pathname}${url.search}`;
}
