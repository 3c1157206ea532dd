// The server's clock, as far as the browser knows it. "Last seen 4 s ago" and the right edge of a live chart must not
// depend on how well the viewer's own clock is set.

let offsetSeconds = 0;

// The Date header has whole seconds; a smaller difference is noise.
const NOISE_SECONDS = 2;

export function learnServerTime(dateHeader: string | null): void {
  if (dateHeader === null) return;
  const server = Date.parse(dateHeader);
  if (Number.isNaN(server)) return;
  const difference = (server - Date.now()) / 1000;
  offsetSeconds = Math.abs(difference) > NOISE_SECONDS ? difference : 0;
}

/** Unix seconds by the server's clock. */
export function serverNow(): number {
  return Date.now() / 1000 + offsetSeconds;
}
