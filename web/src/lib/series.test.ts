import { describe, expect, it } from "vitest";
import { appendLive, countPoints, dropBefore, insertGaps, isDownsampled, joinTables, readSeries, stack, type Points } from "@/lib/series";

function points(times: number[], avg: number[], spread = 0): Points {
  return { metric: "m", labels: {}, times, avg, min: avg.map((v) => v - spread), max: avg.map((v) => v + spread) };
}

describe("readSeries", () => {
  it("reads numbers that come as strings, and skips values that are none", () => {
    const read = readSeries({ metric: "m", times: [10, 20, 30], avg: [1, "NaN", 3], min: [0, 0, 2], max: [2, 0, 4] });
    expect(read).toEqual({ metric: "m", labels: {}, times: [10, 30], avg: [1, 3], min: [0, 2], max: [2, 4] });
  });

  it("takes a missing column for empty", () => {
    expect(readSeries({ metric: "m" }).times).toEqual([]);
  });
});

describe("insertGaps", () => {
  it("leaves a whole series alone", () => {
    expect(insertGaps([0, 10, 20], [[1, 2, 3]], 10)).toEqual({ times: [0, 10, 20], columns: [[1, 2, 3]] });
  });

  it("puts a null where a bucket was left out", () => {
    expect(insertGaps([0, 10, 30], [[1, 2, 3]], 10)).toEqual({ times: [0, 10, 20, 30], columns: [[1, 2, null, 3]] });
  });

  it("takes one and a half steps for late, not for missing", () => {
    expect(insertGaps([0, 15], [[1, 2]], 10).times).toEqual([0, 15]);
    expect(insertGaps([0, 15.1], [[1, 2]], 10).times).toEqual([0, 7.55, 15.1]);
  });

  it("keeps several columns in line", () => {
    expect(insertGaps([0, 40], [[1, 2], [3, 4]], 10).columns).toEqual([
      [1, null, 2],
      [3, null, 4],
    ]);
  });
});

describe("joinTables", () => {
  it("keeps columns that share their times", () => {
    const joined = joinTables([
      { times: [1, 2], columns: [[1, 2]] },
      { times: [1, 2], columns: [[3, 4]] },
    ]);
    expect(joined).toEqual({ times: [1, 2], columns: [[1, 2], [3, 4]] });
  });

  it("spreads columns over the union of times, without making gaps of it", () => {
    const joined = joinTables([
      { times: [1, 3], columns: [[1, 3]] },
      { times: [2, 3], columns: [[20, null]] },
    ]);
    expect(joined).toEqual({
      times: [1, 2, 3],
      columns: [
        [1, undefined, 3],
        [undefined, 20, null],
      ],
    });
  });

  it("joins nothing to nothing", () => {
    expect(joinTables([])).toEqual({ times: [], columns: [] });
  });
});

describe("stack", () => {
  it("adds each layer to those below", () => {
    expect(stack([[1, 2], [10, 20], [100, 200]])).toEqual([[1, 2], [11, 22], [111, 222]]);
  });

  it("keeps a gap that all layers have, and bridges one that a single layer has", () => {
    expect(stack([[1, null, 3], [10, null, null]])).toEqual([[1, null, 3], [11, null, 3]]);
  });
});

it("counts values, not gaps", () => {
  expect(countPoints([[1, null, undefined, 0], [2]])).toBe(3);
});

it("knows averages that hide spikes", () => {
  expect(isDownsampled(points([1], [5]))).toBe(false);
  expect(isDownsampled(points([1], [5], 1))).toBe(true);
});

describe("appendLive", () => {
  it("appends raw points after the stored ones and skips those that are stored already", () => {
    const live = [10, 20, 30].map((time) => ({ time, value: time }));
    const out = appendLive(points([0, 10], [0, 1]), live, { step: 10, interval: 10, coveredTo: 12 });
    expect(out.times).toEqual([0, 10, 20, 30]);
    expect(out.avg).toEqual([0, 1, 20, 30]);
  });

  it("puts live values into buckets of the stored step", () => {
    const live = [60, 70, 80].map((time) => ({ time, value: time }));
    const out = appendLive(points([0], [1]), live, { step: 60, interval: 10, coveredTo: 60 });
    expect(out.times).toEqual([0, 60]);
    expect(out.avg[1]).toBeCloseTo(70);
    expect([out.min[1], out.max[1]]).toEqual([60, 80]);
  });

  it("weighs the stored part of the newest bucket by the time that it covers", () => {
    const out = appendLive(points([0], [10]), [{ time: 30, value: 50 }], { step: 60, interval: 10, coveredTo: 30 });
    // Three samples of 10 and one of 50.
    expect(out.avg[0]).toBeCloseTo(20);
    expect([out.min[0], out.max[0]]).toEqual([10, 50]);
  });

  it("does not count twice what the answer covers", () => {
    const out = appendLive(points([0], [10]), [{ time: 20, value: 50 }], { step: 60, interval: 10, coveredTo: 30 });
    expect(out.avg).toEqual([10]);
  });

  it("starts a series that has no stored point", () => {
    const out = appendLive(points([], []), [{ time: 65, value: 2 }], { step: 60, interval: 10, coveredTo: 60 });
    expect([out.times, out.avg]).toEqual([[60], [2]]);
  });

  it("leaves the stored series as it was", () => {
    const stored = points([0], [1]);
    appendLive(stored, [{ time: 10, value: 2 }], { step: 10, interval: 10, coveredTo: 5 });
    expect(stored.times).toEqual([0]);
  });
});

describe("dropBefore", () => {
  it("drops what a following chart has scrolled past", () => {
    expect(dropBefore(points([0, 10, 20], [1, 2, 3]), 10).times).toEqual([10, 20]);
  });

  it("drops everything that is too old", () => {
    expect(dropBefore(points([0, 10], [1, 2]), 11).times).toEqual([]);
  });
});
