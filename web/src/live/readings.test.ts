import { describe, expect, it } from "vitest";
import type { ReadingJson } from "@/gen/gohub/v1/query_pb";
import { ReadingLog } from "@/live/readings";

function reading(seconds: number, load1: number, busy: number): ReadingJson {
  return {
    time: new Date(seconds * 1000).toISOString(),
    values: { load1 },
    instances: [{ family: "disk", labels: { device: "sda" }, values: { disk_busy_percent: busy } }],
  };
}

describe("ReadingLog", () => {
  it("keeps host values and instances apart", () => {
    const log = new ReadingLog();
    log.add(reading(100, 1, 10));
    log.add(reading(110, 2, 20));
    expect(log.of("load1", {}).map(({ value }) => value)).toEqual([1, 2]);
    expect(log.of("disk_busy_percent", { device: "sda" }).map(({ time }) => time)).toEqual([100, 110]);
    expect(log.instancesOf("disk_busy_percent")).toEqual([{ device: "sda" }]);
  });

  it("skips a reading that it has, as after a new snapshot", () => {
    const log = new ReadingLog();
    log.add(reading(100, 1, 10));
    log.add(reading(100, 1, 10));
    expect(log.of("load1", {})).toHaveLength(1);
  });

  it("names custom metrics as queries do", () => {
    const log = new ReadingLog();
    const labels = { name: "queue", labels: '{q="a"}' };
    log.add({ time: new Date(100_000).toISOString(), instances: [{ family: "custom", labels, values: { custom_value: 3 } }] });
    expect(log.of("custom:queue", { q: "a" })).toEqual([{ time: 100, value: 3 }]);
    expect(log.instancesOf("custom_value")).toEqual([]);
  });

  it("forgets what stored ranges hold by now, and instances that are gone", () => {
    const log = new ReadingLog();
    log.add(reading(100, 1, 10));
    log.add({ time: new Date(10_000 * 1000).toISOString(), values: { load1: 2 } });
    expect(log.of("load1", {})).toEqual([{ time: 10_000, value: 2 }]);
    expect(log.instancesOf("disk_busy_percent")).toEqual([]);
  });
});
