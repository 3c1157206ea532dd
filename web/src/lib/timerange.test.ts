import { describe, expect, it } from "vitest";
import { boundsOf, fromInputValue, parseTimeRange, timeRangeParams, toInputValue, zoomOut, zoomTo } from "@/lib/timerange";

function parse(query: string) {
  return parseTimeRange(new URLSearchParams(query));
}

describe("parseTimeRange", () => {
  it("follows the last hour by default", () => {
    expect(parse("")).toEqual({ kind: "follow", preset: "1h" });
  });

  it.each(["15m", "1h", "6h", "24h", "7d"])("knows the preset %s", (preset) => {
    expect(parse(`range=${preset}`)).toEqual({ kind: "follow", preset });
  });

  it("reads a fixed range, which goes before a preset", () => {
    expect(parse("range=6h&from=1000&to=2000.5")).toEqual({ kind: "fixed", from: 1000, to: 2000.5 });
  });

  it.each(["from=2000&to=1000", "from=1000&to=1005", "from=x&to=2000", "from=&to=2000", "from=-5&to=2000", "from=1000", "to=Infinity&from=1", "range=toString", "range=2h"])(
    "falls back from %s",
    (query) => {
      expect(parse(query)).toEqual({ kind: "follow", preset: "1h" });
    },
  );

  it("reads what it writes", () => {
    for (const range of [{ kind: "follow", preset: "7d" }, { kind: "follow", preset: "1h" }, { kind: "fixed", from: 1000, to: 2000 }] as const) {
      const params = new URLSearchParams();
      for (const [name, value] of Object.entries(timeRangeParams(range))) if (value !== null) params.set(name, value);
      expect(parseTimeRange(params)).toEqual(range);
    }
  });
});

describe("zoomTo", () => {
  it("takes a drag in either direction", () => {
    expect(zoomTo(200, 100)).toEqual({ kind: "fixed", from: 100, to: 200 });
  });

  it("widens what is too narrow to show", () => {
    expect(zoomTo(100, 102)).toEqual({ kind: "fixed", from: 96, to: 106 });
  });
});

describe("zoomOut", () => {
  it("doubles the range about its middle", () => {
    expect(zoomOut({ from: 1000, to: 1100 }, 9999)).toEqual({ kind: "fixed", from: 950, to: 1150 });
  });

  it("ends now at the latest", () => {
    expect(zoomOut({ from: 1000, to: 1100 }, 1100)).toEqual({ kind: "fixed", from: 900, to: 1100 });
  });
});

it("counts a preset back from now", () => {
  expect(boundsOf({ kind: "follow", preset: "15m" }, 10_000)).toEqual({ from: 9_100, to: 10_000 });
});

it("survives the date field and back", () => {
  expect(fromInputValue(toInputValue(1_763_000_001))).toBe(1_763_000_001);
  expect(fromInputValue("")).toBeNull();
});
