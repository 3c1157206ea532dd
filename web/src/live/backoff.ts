// How long to wait before the next try to connect. Full jitter: a server that comes back must not meet all viewers in
// the same second.

const BASE_MILLIS = 500;
const CAP_MILLIS = 30_000;

export function backoffMillis(attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(CAP_MILLIS, BASE_MILLIS * 2 ** Math.min(attempt, 16));
  return Math.round(random() * ceiling);
}
