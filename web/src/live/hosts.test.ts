import { describe, expect, it, vi } from "vitest";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { HostStore, TRACE_SECONDS, TRACE_STEP_SECONDS } from "@/live/hosts";

function host(hostId: number, seconds: number, cpu: number): HostJson {
  return { hostId, latest: { time: new Date(seconds * 1000).toISOString(), values: { cpu } } };
}

describe("HostStore", () => {
  it("calls only the listeners of hosts that changed", () => {
    const store = new HostStore("cpu");
    store.replace([host(1, 100, 1), host(2, 100, 1)]);
    const one = vi.fn();
    const two = vi.fn();
    store.subscribeHost(1, one);
    store.subscribeHost(2, two);
    store.update([host(2, 110, 2)]);
    expect([one.mock.calls.length, two.mock.calls.length]).toEqual([0, 1]);
    expect(store.get(2)?.latest?.values).toEqual({ cpu: 2 });
  });

  it("forgets hosts that a snapshot does not have, and tells their rows", () => {
    const store = new HostStore("cpu");
    store.replace([host(1, 100, 1), host(2, 100, 1)]);
    const gone = vi.fn();
    store.subscribeHost(1, gone);
    store.replace([host(2, 100, 1)]);
    expect([store.size, store.get(1), gone.mock.calls.length]).toEqual([1, undefined, 1]);
  });

  it("stops calling who left", () => {
    const store = new HostStore("cpu");
    const listener = vi.fn();
    store.subscribeHost(1, listener)();
    store.update([host(1, 100, 1)]);
    expect(listener).not.toHaveBeenCalled();
  });

  it("grows its version with every change", () => {
    const store = new HostStore("cpu");
    store.update([host(1, 100, 1)]);
    const before = store.version;
    store.update([host(1, 110, 1)]);
    expect(store.version).toBeGreaterThan(before);
  });
});

describe("traces", () => {
  it("keep the last minutes, a point a step", () => {
    const store = new HostStore("cpu");
    for (let second = 1; second <= 2 * TRACE_SECONDS; second++) store.update([host(1, 1000 + second, second)]);
    const trace = store.traceOf(1);
    const newest = 1000 + 2 * TRACE_SECONDS;
    expect(trace?.times.at(-1)).toBe(newest);
    expect(trace?.values.at(-1)).toBe(2 * TRACE_SECONDS);
    expect(trace?.times[0]).toBeGreaterThanOrEqual(newest - TRACE_SECONDS);
    expect(trace?.times.length).toBeLessThan((TRACE_SECONDS / TRACE_STEP_SECONDS) * 1.2);
    expect(trace?.times.length).toBeGreaterThan(TRACE_SECONDS / TRACE_STEP_SECONDS - 2);
  });

  it("do not go back in time", () => {
    const store = new HostStore("cpu");
    store.update([host(1, 100, 1)]);
    store.update([host(1, 90, 2)]);
    expect(store.traceOf(1)).toEqual({ times: [100], values: [1] });
  });

  it("take stored values in front of the live ones, once", () => {
    const store = new HostStore("cpu");
    store.update([host(1, 100, 1)]);
    store.backfill(1, [80, 90, 100], [8, 9, 10]);
    store.backfill(1, [80, 90, 100], [8, 9, 10]);
    expect(store.traceOf(1)).toEqual({ times: [80, 90, 100], values: [8, 9, 1] });
  });

  it("skip a host that can not read the value", () => {
    const store = new HostStore("cpu");
    store.update([{ hostId: 1, latest: { time: "2026-01-01T00:00:00Z", values: {} } }]);
    expect(store.traceOf(1)).toBeUndefined();
  });
});
