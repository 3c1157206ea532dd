import { describe, expect, it } from "vitest";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { clockSkew, clonedAt, countHosts, fleetViewParams, parseFleetView, selectHosts, type FleetView } from "@/lib/fleet";

function host(hostId: number, hostname: string, values: Record<string, number> = {}, more: Partial<HostJson> = {}): HostJson {
  return { hostId, facts: { hostname, os: "linux", platform: "debian" }, status: "HOST_STATUS_UP", latest: { time: "2026-01-01T00:00:00Z", values }, ...more };
}

const hosts = [
  host(1, "web-10", { cpu_usage_percent: 5 }),
  host(2, "web-9", { cpu_usage_percent: 80 }),
  host(3, "db-1", {}, { status: "HOST_STATUS_DOWN" }),
];

const byName: FleetView = { text: "", status: "all", sort: "name", descending: false };

describe("selectHosts", () => {
  it("orders names as people count", () => {
    expect(selectHosts(hosts, byName, new Map())).toEqual([3, 2, 1]);
  });

  it("puts a host without the value last, whichever way", () => {
    expect(selectHosts(hosts, { ...byName, sort: "cpu", descending: true }, new Map())).toEqual([2, 1, 3]);
    expect(selectHosts(hosts, { ...byName, sort: "cpu", descending: false }, new Map())).toEqual([1, 2, 3]);
  });

  it("wants every word, in name or system", () => {
    expect(selectHosts(hosts, { ...byName, text: "WEB debian" }, new Map())).toEqual([2, 1]);
    expect(selectHosts(hosts, { ...byName, text: "web windows" }, new Map())).toEqual([]);
  });

  it("filters by status and by firing alerts", () => {
    expect(selectHosts(hosts, { ...byName, status: "down" }, new Map())).toEqual([3]);
    expect(selectHosts(hosts, { ...byName, status: "firing" }, new Map([[1, 2]]))).toEqual([1]);
  });
});

it("counts a late host as up", () => {
  const late = [host(4, "web-9", {}, { status: "HOST_STATUS_LATE" })];
  expect(countHosts(late, new Map())).toEqual({ all: 1, up: 1, down: 0, firing: 0 });
  expect(selectHosts(late, { ...byName, status: "up" }, new Map())).toEqual([4]);
});

it("tells of a clock only where it is wrong", () => {
  expect(clockSkew(host(1, "a", {}, { clockSkewSeconds: -3600.5 }))).toBe(-3600.5);
  expect(clockSkew(host(1, "a", {}, { clockSkewSeconds: 1.9 }))).toBeUndefined();
  expect(clockSkew(host(1, "a", {}))).toBeUndefined();
});

it("tells of two machines until it is over", () => {
  const two = host(1, "a", {}, { clonedAt: "2026-01-01T00:00:00Z" });
  const seen = Date.UTC(2026, 0, 1) / 1000;
  expect(clonedAt(two, seen + 3599)).toBe(seen);
  expect(clonedAt(two, seen + 3600)).toBeUndefined();
  expect(clonedAt(host(1, "a"), seen)).toBeUndefined();
});

it("counts hosts, not alerts", () => {
  expect(countHosts(hosts, new Map([[1, 2]]))).toEqual({ all: 3, up: 2, down: 1, firing: 1 });
});

describe("parseFleetView", () => {
  it("reads what it writes", () => {
    const view: FleetView = { text: "db", status: "firing", sort: "cpu", descending: false };
    const params = new URLSearchParams();
    for (const [name, value] of Object.entries(fleetViewParams(view))) if (value !== null) params.set(name, value);
    expect(params.toString()).toBe("q=db&status=firing&sort=cpu&dir=asc");
    expect(parseFleetView(params)).toEqual(view);
  });

  it("falls back from nonsense", () => {
    expect(parseFleetView(new URLSearchParams("status=x&sort=constructor"))).toEqual(byName);
  });

  it("shows the largest values first", () => {
    expect(parseFleetView(new URLSearchParams("sort=memory")).descending).toBe(true);
  });
});
