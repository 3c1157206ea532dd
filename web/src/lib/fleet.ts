// Which hosts the list shows, and in what order: pure functions of the hosts and the URL.
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { orZero, toNumber, toUnixSeconds } from "@/lib/json";

export type StatusFilter = "all" | "up" | "down" | "firing";

export const sortKeys = ["name", "cpu", "memory", "disk", "load", "network", "io", "uptime", "seen"] as const;
export type SortKey = (typeof sortKeys)[number];

export type FleetView = {
  text: string;
  status: StatusFilter;
  sort: SortKey;
  descending: boolean;
};

export type FleetCounts = Record<StatusFilter, number>;

/** Host id to the number of its alerts that fire. */
export type FiringByHost = ReadonlyMap<number, number>;

function isSortKey(value: string): value is SortKey {
  return (sortKeys as readonly string[]).includes(value);
}

function isStatus(value: string): value is StatusFilter {
  return value === "up" || value === "down" || value === "firing";
}

export function parseFleetView(params: { get: (name: string) => string | null }): FleetView {
  const status = params.get("status") ?? "";
  const sort = params.get("sort") ?? "";
  const key = isSortKey(sort) ? sort : "name";
  const direction = params.get("dir");
  return {
    text: params.get("q") ?? "",
    status: isStatus(status) ? status : "all",
    sort: key,
    descending: direction === null ? descendingFirst(key) : direction === "desc",
  };
}

/** The parameters that differ from the default; null takes one out. */
export function fleetViewParams(view: FleetView): Record<"q" | "status" | "sort" | "dir", string | null> {
  return {
    q: view.text === "" ? null : view.text,
    status: view.status === "all" ? null : view.status,
    sort: view.sort === "name" ? null : view.sort,
    dir: view.descending === descendingFirst(view.sort) ? null : view.descending ? "desc" : "asc",
  };
}

/** Names read from A; of values one wants the largest first, and of times the one that is late. */
export function descendingFirst(key: SortKey): boolean {
  return key !== "name" && key !== "seen";
}

export function valueOf(host: HostJson, metric: string): number | undefined {
  return toNumber(host.latest?.values?.[metric]);
}

function sum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined && b === undefined ? undefined : (a ?? 0) + (b ?? 0);
}

const sortValue: Record<Exclude<SortKey, "name">, (host: HostJson) => number | undefined> = {
  cpu: (host) => valueOf(host, "cpu_usage_percent"),
  memory: (host) => valueOf(host, "memory_used_percent"),
  disk: (host) => valueOf(host, "filesystem_fullest_percent"),
  load: (host) => valueOf(host, "load1"),
  network: (host) => sum(valueOf(host, "networks_receive_bytes_per_second"), valueOf(host, "networks_transmit_bytes_per_second")),
  io: (host) => sum(valueOf(host, "disks_read_bytes_per_second"), valueOf(host, "disks_written_bytes_per_second")),
  uptime: (host) => valueOf(host, "uptime_seconds"),
  seen: (host) => toUnixSeconds(host.latest?.time),
};

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

export function hostname(host: HostJson): string {
  return host.facts?.hostname || `host ${orZero(host.hostId)}`;
}

/** A host that is late is not down yet. */
function isUp(host: HostJson): boolean {
  return host.status === "HOST_STATUS_UP" || host.status === "HOST_STATUS_LATE";
}

// A clock that is wrong by less may be right, and the samples slow.
const SKEW_SHOWN_SECONDS = 2;

/** By how many seconds the host's clock is ahead; undefined where it is about right. */
export function clockSkew(host: HostJson): number | undefined {
  const skew = toNumber(host.clockSkewSeconds) ?? 0;
  return Math.abs(skew) > SKEW_SHOWN_SECONDS ? skew : undefined;
}

// Two that send push each other out every few minutes at the longest, so after this time it is over.
const CLONED_SHOWN_SECONDS = 3600;

/** When two machines were last seen to send as this host, in Unix seconds; undefined where that is not so, or over. */
export function clonedAt(host: HostJson, now: number): number | undefined {
  const seen = toUnixSeconds(host.clonedAt);
  return seen !== undefined && now - seen < CLONED_SHOWN_SECONDS ? seen : undefined;
}

function matchesText(host: HostJson, words: string[]): boolean {
  if (words.length === 0) return true;
  const { os, platform, platformVersion, arch } = host.facts ?? {};
  const haystack = [hostname(host), os, platform, platformVersion, arch, ...Object.values(host.labels ?? {})].join(" ").toLowerCase();
  return words.every((word) => haystack.includes(word));
}

function matchesStatus(host: HostJson, status: StatusFilter, firing: FiringByHost): boolean {
  switch (status) {
    case "all":
      return true;
    case "up":
      return isUp(host);
    case "down":
      return host.status === "HOST_STATUS_DOWN";
    case "firing":
      return firing.has(orZero(host.hostId));
  }
}

/** selected are the hosts that the text picks, where it is a selector; else it is words to look for. */
export function selectHosts(hosts: HostJson[], view: FleetView, firing: FiringByHost, selected?: ReadonlySet<number>): number[] {
  const words = selected ? [] : view.text.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = hosts
    .filter((host) => matchesStatus(host, view.status, firing) && (selected ? selected.has(orZero(host.hostId)) : matchesText(host, words)))
    .map((host) => ({ id: orZero(host.hostId), name: hostname(host), value: view.sort === "name" ? undefined : sortValue[view.sort](host) }));
  const sign = view.descending ? -1 : 1;
  rows.sort((a, b) => {
    if (view.sort === "name") return sign * collator.compare(a.name, b.name) || a.id - b.id;
    // A host without the value stands last, whichever way the rest goes.
    if (a.value === undefined || b.value === undefined) {
      if (a.value !== b.value) return a.value === undefined ? 1 : -1;
    } else if (a.value !== b.value) return sign * (a.value - b.value);
    return collator.compare(a.name, b.name) || a.id - b.id;
  });
  return rows.map(({ id }) => id);
}

export function countHosts(hosts: HostJson[], firing: FiringByHost): FleetCounts {
  const counts: FleetCounts = { all: hosts.length, up: 0, down: 0, firing: 0 };
  for (const host of hosts) {
    if (isUp(host)) counts.up++;
    if (host.status === "HOST_STATUS_DOWN") counts.down++;
    if (firing.has(orZero(host.hostId))) counts.firing++;
  }
  return counts;
}
