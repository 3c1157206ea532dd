import { expect, it } from "vitest";
import { backoffMillis } from "@/live/backoff";

it("doubles its ceiling up to half a minute", () => {
  const ceilings = [0, 1, 2, 5, 6, 100].map((attempt) => backoffMillis(attempt, () => 1));
  expect(ceilings).toEqual([500, 1_000, 2_000, 16_000, 30_000, 30_000]);
});

it("may wait for any part of it", () => {
  expect(backoffMillis(3, () => 0)).toBe(0);
  expect(backoffMillis(3, () => 0.5)).toBe(2_000);
});
