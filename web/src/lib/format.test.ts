import { describe, expect, it } from "vitest";
import {
  formatAgo,
  formatBytes,
  formatBytesPerSecond,
  formatCelsius,
  formatDuration,
  formatLoad,
  formatNumber,
  formatPercent,
  formatterOf,
  groupThousands,
  MISSING,
} from "@/lib/format";

describe("formatBytes", () => {
  it.each([
    [0, "0 B"],
    [1, "1 B"],
    [1023, "1023 B"],
    [1024, "1.00 KiB"],
    [1536, "1.50 KiB"],
    [10 * 1024, "10.0 KiB"],
    [100 * 1024, "100 KiB"],
    [1024 ** 2 - 1, "1.00 MiB"],
    [17179869184, "16.0 GiB"],
    [3 * 1024 ** 4, "3.00 TiB"],
    [-2048, "-2.00 KiB"],
  ])("writes %d as %s", (value, text) => {
    expect(formatBytes(value)).toBe(text);
  });

  it("adds the second for a rate", () => {
    expect(formatBytesPerSecond(2048)).toBe("2.00 KiB/s");
  });
});

describe("missing values", () => {
  it.each([formatBytes, formatBytesPerSecond, formatPercent, formatCelsius, formatNumber, formatLoad, formatDuration])(
    "are a dash, never a zero (%#)",
    (format) => {
      expect(format(undefined)).toBe(MISSING);
      expect(format(null)).toBe(MISSING);
      expect(format(Number.NaN)).toBe(MISSING);
    },
  );
});

describe("formatPercent", () => {
  it.each([
    [0, "0.0 %"],
    [0.04, "0.0 %"],
    [99.94, "99.9 %"],
    [99.96, "100 %"],
    [100, "100 %"],
    [412.3, "412 %"],
  ])("writes %d as %s", (value, text) => {
    expect(formatPercent(value)).toBe(text);
  });
});

describe("formatNumber", () => {
  it.each([
    [0, "0"],
    [7, "7"],
    [0.5, "0.50"],
    [12_345, "12,345"],
    [1_234_567, "1.23 M"],
    [999_999_999, "1.00 G"],
  ])("writes %d as %s", (value, text) => {
    expect(formatNumber(value)).toBe(text);
  });
});

describe("formatDuration", () => {
  it.each([
    [0, "0 s"],
    [59, "59 s"],
    [60, "1 min"],
    [3_661, "1 h 1 min"],
    [90_000, "1 d 1 h"],
    [86_400 * 12 + 60, "12 d"],
    [86_400 * 374 + 7_200, "374 d"],
  ])("writes %d s as %s", (value, text) => {
    expect(formatDuration(value)).toBe(text);
  });
});

describe("formatAgo", () => {
  it.each([
    [-40, "now"],
    [0.4, "now"],
    [8, "8 s ago"],
    [61, "1 min ago"],
    [90_000, "1 d ago"],
  ])("says %d s as %s", (value, text) => {
    expect(formatAgo(value)).toBe(text);
  });
});

it("takes the formatter of the catalogue's unit", () => {
  expect(formatterOf("UNIT_CELSIUS")(41)).toBe("41.0 °C");
  expect(formatterOf("UNIT_PER_SECOND")(2.5)).toBe("2.50/s");
  expect(formatterOf(undefined)(3)).toBe("3");
});

it("groups thousands", () => {
  expect([999, 1000, 1234567].map(groupThousands)).toEqual(["999", "1,000", "1,234,567"]);
});
