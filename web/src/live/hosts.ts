// The newest state of every host, kept outside React: a row subscribes to its own host and nothing else, so a delta
// re-renders the rows that are on screen and changed.
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { orZero, toNumber, toUnixSeconds } from "@/lib/json";

/** A metric's recent values, oldest first. */
export type Trace = { times: number[]; values: number[] };

// How far back a trace goes, and how far its points are apart at least: agents that sample every second would fill it
// with more than a sparkline shows.
export const TRACE_SECONDS = 600;
export const TRACE_STEP_SECONDS = 10;

type Listener = () => void;

export class HostStore {
  private hosts = new Map<number, HostJson>();
  private traces = new Map<number, Trace>();
  private hostListeners = new Map<number, Set<Listener>>();
  private fleetListeners = new Set<Listener>();
  private fleetVersion = 0;

  constructor(private readonly traced: string) {}

  replace(hosts: HostJson[]): void {
    const next = new Map(hosts.map((host) => [orZero(host.hostId), host]));
    const touched = new Set([...this.hosts.keys(), ...next.keys()]);
    this.hosts = next;
    for (const host of hosts) this.trace(host);
    for (const id of this.traces.keys()) if (!next.has(id)) this.traces.delete(id);
    this.notify(touched);
  }

  update(hosts: HostJson[]): void {
    const touched = new Set<number>();
    for (const host of hosts) {
      const id = orZero(host.hostId);
      this.hosts.set(id, host);
      this.trace(host);
      touched.add(id);
    }
    this.notify(touched);
  }

  /** Puts stored values in front of those that came live. */
  backfill(id: number, times: number[], values: number[]): void {
    const trace = this.traces.get(id) ?? { times: [], values: [] };
    const first = trace.times[0] ?? Number.POSITIVE_INFINITY;
    const older = times.filter((time) => time < first).length;
    if (older === 0) return;
    this.traces.set(id, {
      times: [...times.slice(0, older), ...trace.times],
      values: [...values.slice(0, older), ...trace.values],
    });
    this.notify(new Set([id]));
  }

  get(id: number): HostJson | undefined {
    return this.hosts.get(id);
  }

  traceOf(id: number): Trace | undefined {
    return this.traces.get(id);
  }

  all(): HostJson[] {
    return [...this.hosts.values()];
  }

  get size(): number {
    return this.hosts.size;
  }

  /** Grows with every change of any host. */
  get version(): number {
    return this.fleetVersion;
  }

  subscribeHost(id: number, listener: Listener): () => void {
    const listeners = this.hostListeners.get(id) ?? new Set();
    listeners.add(listener);
    this.hostListeners.set(id, listeners);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.hostListeners.get(id) === listeners) this.hostListeners.delete(id);
    };
  }

  subscribeFleet(listener: Listener): () => void {
    this.fleetListeners.add(listener);
    return () => this.fleetListeners.delete(listener);
  }

  private trace(host: HostJson): void {
    const time = toUnixSeconds(host.latest?.time);
    const value = toNumber(host.latest?.values?.[this.traced]);
    if (time === undefined || value === undefined) return;
    const id = orZero(host.hostId);
    const trace = this.traces.get(id);
    if (!trace) {
      this.traces.set(id, { times: [time], values: [value] });
      return;
    }
    if (time <= (trace.times.at(-1) ?? 0)) return;
    const start = Math.max(0, trace.times.findIndex((at) => at >= time - TRACE_SECONDS));
    // The newest point is replaced until it is a step away from the one before.
    const fresh = time - (trace.times.at(-2) ?? Number.NEGATIVE_INFINITY) < TRACE_STEP_SECONDS;
    const end = fresh ? -1 : trace.times.length;
    // A new object, for React tells a change by identity.
    this.traces.set(id, { times: [...trace.times.slice(start, end), time], values: [...trace.values.slice(start, end), value] });
  }

  private notify(ids: Set<number>): void {
    this.fleetVersion++;
    for (const id of ids) {
      for (const listener of this.hostListeners.get(id) ?? []) listener();
    }
    for (const listener of this.fleetListeners) listener();
  }
}
