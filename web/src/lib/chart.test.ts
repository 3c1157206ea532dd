import { describe, expect, it } from "vitest";
import { chartData, type Line } from "@/lib/chart";

function line(label: string, times: number[], avg: number[], more: Partial<Line> & { spread?: number } = {}): Line {
  const { spread = 0, ...rest } = more;
  const points = { metric: label, labels: {}, times, avg, min: avg.map((v) => v - spread), max: avg.map((v) => v + spread) };
  return { label, colour: 1, points, ...rest };
}

describe("chartData", () => {
  it("draws what goes out below the axis, and tells it as it is", () => {
    const data = chartData([line("sent", [0, 10], [5, 6], { below: true, spread: 1 })], "lines", 10);
    expect(data.drawn).toEqual([[-5, -6]]);
    expect(data.told).toEqual([[5, 6]]);
    expect(data.bands[0]).toEqual({ low: [-6, -7], high: [-4, -5] });
  });

  it("has bands only where averages hide spikes", () => {
    const data = chartData([line("raw", [0], [5]), line("rolled", [0], [5], { spread: 2 })], "lines", 10);
    expect(data.bands).toEqual([null, { low: [3], high: [7] }]);
  });

  it("stacks, without bands", () => {
    const data = chartData([line("a", [0], [1], { spread: 1 }), line("b", [0], [2])], "stack", 10);
    expect(data.drawn).toEqual([[1], [3]]);
    expect(data.bands).toEqual([null, null]);
  });

  it("draws an overlay as it is, over the stack", () => {
    const lines = [line("a", [0], [1]), line("b", [0], [2]), line("peak", [0], [9], { overlay: true })];
    expect(chartData(lines, "stack", 10).drawn).toEqual([[1], [3], [9]]);
  });

  it("counts the values of all lines, gaps left out", () => {
    expect(chartData([line("a", [0, 100], [1, 2]), line("b", [0], [2])], "lines", 10).points).toBe(3);
  });

  it("is empty without lines", () => {
    expect(chartData([], "lines", 10)).toEqual({ times: [], drawn: [], told: [], bands: [], points: 0 });
  });
});
