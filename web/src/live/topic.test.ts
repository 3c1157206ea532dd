import { describe, expect, it } from "vitest";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { advance, requestFor, sameTopic, type Topic } from "@/live/topic";

const fleet: Topic = { kind: "fleet" };
const three: Topic = { kind: "host", hostId: 3 };
const hosts: HostJson[] = [{ hostId: 3 }];

describe("advance", () => {
  it("takes a snapshot at any time, and counts from it", () => {
    expect(advance(fleet, null, { seq: 7, snapshot: { hosts } })).toEqual({ kind: "snapshot", seq: 7, hosts });
    expect(advance(fleet, 99, { seq: 7, snapshot: { hosts } })).toEqual({ kind: "snapshot", seq: 7, hosts });
  });

  it("takes an empty snapshot, whose fields may be left out", () => {
    expect(advance(fleet, null, { snapshot: {} })).toEqual({ kind: "snapshot", seq: 0, hosts: [] });
  });

  it("takes the delta that follows", () => {
    expect(advance(fleet, 7, { seq: 8, delta: { hosts } })).toEqual({ kind: "delta", seq: 8, hosts });
  });

  it("goes on with 0 after the largest number", () => {
    expect(advance(fleet, 0xffffffff, { delta: { hosts } })).toEqual({ kind: "delta", seq: 0, hosts });
  });

  it("notices a gap", () => {
    expect(advance(fleet, 7, { seq: 9, delta: { hosts } })).toEqual({ kind: "gap" });
    expect(advance(fleet, 7, { seq: 3, delta: { hosts } })).toEqual({ kind: "gap" });
  });

  it("ignores a repetition, and deltas before the snapshot", () => {
    expect(advance(fleet, 7, { seq: 7, delta: { hosts } })).toEqual({ kind: "ignore" });
    expect(advance(fleet, null, { seq: 8, delta: { hosts } })).toEqual({ kind: "ignore" });
  });

  it("ignores the snapshot of the subscription before", () => {
    expect(advance(three, null, { seq: 1, snapshot: { hosts: [{ hostId: 4 }] } })).toEqual({ kind: "ignore" });
    expect(advance(three, null, { seq: 1, snapshot: { hosts: [{ hostId: 3 }, { hostId: 4 }] } })).toEqual({ kind: "ignore" });
  });

  it("takes alerts and errors whatever their number", () => {
    expect(advance(fleet, 7, { seq: 0, alerts: { alerts: [] } })).toEqual({ kind: "alerts" });
    expect(advance(fleet, 7, { seq: 0, error: "no host with id 3" })).toEqual({ kind: "error", message: "no host with id 3" });
  });

  it("ignores a message of a later version", () => {
    expect(advance(fleet, 7, { seq: 8 })).toEqual({ kind: "ignore" });
  });
});

it("asks for a topic in the contract's words", () => {
  expect(requestFor(fleet)).toEqual({ fleet: {} });
  expect(requestFor(three)).toEqual({ host: { hostId: 3 } });
});

it("tells topics apart", () => {
  expect(sameTopic(three, { kind: "host", hostId: 3 })).toBe(true);
  expect(sameTopic(three, { kind: "host", hostId: 4 })).toBe(false);
  expect(sameTopic(three, fleet)).toBe(false);
  expect(sameTopic(null, fleet)).toBe(false);
});
