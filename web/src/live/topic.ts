// What one subscription has told so far: a pure state machine over the server's messages.
//
//   subscribed ──snapshot──▶ current ──delta n+1──▶ current
//                               └──delta, but not n+1──▶ broken (ask again)
import type { LiveMessageJson, LiveRequestJson } from "@/gen/gohub/v1/live_pb";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { orZero } from "@/lib/json";

export type Topic = { kind: "fleet" } | { kind: "host"; hostId: number };

export function requestFor(topic: Topic): LiveRequestJson {
  return topic.kind === "fleet" ? { fleet: {} } : { host: { hostId: topic.hostId } };
}

export function sameTopic(a: Topic | null, b: Topic | null): boolean {
  if (a === null || b === null) return a === b;
  if (a.kind === "host" && b.kind === "host") return a.hostId === b.hostId;
  return a.kind === b.kind;
}

/** The number of the newest message, null before the snapshot. */
export type Sequence = number | null;

export type Step =
  | { kind: "snapshot"; seq: number; hosts: HostJson[] }
  | { kind: "delta"; seq: number; hosts: HostJson[] }
  | { kind: "alerts" }
  | { kind: "error"; message: string }
  /** Messages are missing: what the viewer has may be wrong until a new snapshot. */
  | { kind: "gap" }
  /** Left over from the subscription before this one, or a repetition. */
  | { kind: "ignore" };

// uint32 on the wire: after the largest comes 0.
function next(seq: number): number {
  return (seq + 1) >>> 0;
}

/** A message of the subscription before may still be under way when a new one is asked for. */
function belongsTo(topic: Topic, hosts: HostJson[]): boolean {
  if (topic.kind === "fleet") return true;
  return hosts.length <= 1 && hosts.every((host) => orZero(host.hostId) === topic.hostId);
}

export function advance(topic: Topic, seq: Sequence, message: LiveMessageJson): Step {
  const messageSeq = orZero(message.seq);
  if (message.snapshot) {
    const hosts = message.snapshot.hosts ?? [];
    return belongsTo(topic, hosts) ? { kind: "snapshot", seq: messageSeq, hosts } : { kind: "ignore" };
  }
  if (message.delta) {
    if (seq === null || messageSeq === seq) return { kind: "ignore" };
    if (messageSeq !== next(seq)) return { kind: "gap" };
    const hosts = message.delta.hosts ?? [];
    return belongsTo(topic, hosts) ? { kind: "delta", seq: messageSeq, hosts } : { kind: "gap" };
  }
  // Alerts and errors belong to no topic, so their seq says nothing.
  if (message.alerts) return { kind: "alerts" };
  if (message.error !== undefined) return { kind: "error", message: message.error };
  return { kind: "ignore" };
}
