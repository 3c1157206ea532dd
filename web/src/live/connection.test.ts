import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LiveConnection, type LiveEvents } from "@/live/connection";

type Said = { seq: number; snapshot?: { hosts: { hostId: number }[] }; delta?: { hosts: { hostId: number }[] }; alerts?: object };

/** A message of small numbers in the binary form. */
function encode({ seq, snapshot, delta, alerts }: Said): ArrayBuffer {
  const text = new TextEncoder().encode(JSON.stringify(alerts ?? {}));
  // Of a host: its entry's kind, its id, and zeros for the status, the skew and the lag.
  const entries = (snapshot ?? delta)?.hosts.flatMap(({ hostId }) => [1, hostId, 0, 0, 0]) ?? [];
  const bytes = alerts ? [3, seq, ...text] : snapshot ? [1, seq, 0, ...entries, 0] : [2, seq, ...entries, 0];
  return new Uint8Array(bytes).buffer;
}

class FakeSocket {
  static readonly OPEN = 1;
  static all: FakeSocket[] = [];
  readyState = 0;
  sent: string[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;

  constructor(
    readonly url: string,
    readonly protocol: string,
  ) {
    FakeSocket.all.push(this);
  }

  send(text: string): void {
    this.sent.push(text);
  }

  close(): void {
    this.readyState = 3;
  }

  open(): void {
    this.readyState = FakeSocket.OPEN;
    this.onopen?.();
  }

  say(message: Said): void {
    this.onmessage?.({ data: encode(message) });
  }

  break(): void {
    this.readyState = 3;
    this.onclose?.();
  }
}

function newest(): FakeSocket {
  const socket = FakeSocket.all.at(-1);
  if (!socket) throw new Error("no socket was opened");
  return socket;
}

function events() {
  return { onSnapshot: vi.fn(), onDelta: vi.fn(), onAlerts: vi.fn(), onRefused: vi.fn() } satisfies LiveEvents;
}

let connection: LiveConnection;

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all = [];
  const target = { addEventListener: () => undefined, removeEventListener: () => undefined, visibilityState: "visible" };
  vi.stubGlobal("WebSocket", FakeSocket);
  vi.stubGlobal("window", { ...globalThis, ...target, setInterval, clearInterval, setTimeout, clearTimeout });
  vi.stubGlobal("document", target);
});

afterEach(() => {
  connection.stop();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function live(seen: LiveEvents): FakeSocket {
  connection = new LiveConnection("ws://test/api/v1/live", seen);
  connection.start();
  connection.want({ kind: "fleet" });
  newest().open();
  newest().say({ seq: 5, snapshot: { hosts: [{ hostId: 1 }] } });
  return newest();
}

describe("LiveConnection", () => {
  it("is live only after the snapshot", () => {
    connection = new LiveConnection("ws://test/api/v1/live", events());
    connection.start();
    connection.want({ kind: "fleet" });
    expect(connection.state.state).toBe("connecting");
    newest().open();
    expect(newest().protocol).toBe("gohub.v1.binary");
    expect(newest().sent).toEqual(['{"fleet":{}}']);
    expect(connection.state.state).toBe("connecting");
    newest().say({ seq: 5, snapshot: { hosts: [] } });
    expect(connection.state.state).toBe("live");
  });

  it("asks again after a gap, and is stale until the answer", () => {
    const seen = events();
    const socket = live(seen);
    socket.say({ seq: 7, delta: { hosts: [{ hostId: 1 }] } });
    expect(connection.state.state).toBe("stale");
    expect(socket.sent).toHaveLength(2);
    socket.say({ seq: 8, delta: { hosts: [{ hostId: 1 }] } });
    expect(seen.onDelta).not.toHaveBeenCalled();
    socket.say({ seq: 8, snapshot: { hosts: [] } });
    expect(connection.state.state).toBe("live");
  });

  it("is stale when the socket breaks, reconnects, and keeps the time of the last values", () => {
    const socket = live(events());
    const heardAt = connection.state.heardAt;
    vi.advanceTimersByTime(1_000);
    socket.break();
    expect(connection.state).toEqual({ state: "stale", heardAt, error: null });
    vi.advanceTimersByTime(30_000);
    expect(FakeSocket.all).toHaveLength(2);
    newest().open();
    newest().say({ seq: 0, snapshot: { hosts: [] } });
    expect(connection.state.state).toBe("live");
  });

  it("asks a silent server, and gives up on one that does not answer", () => {
    const socket = live(events());
    vi.advanceTimersByTime(17_000);
    expect(socket.sent).toHaveLength(2);
    expect(connection.state.state).toBe("live");
    vi.advanceTimersByTime(9_000);
    expect(socket.readyState).toBe(3);
    expect(connection.state.state).toBe("stale");
  });

  it("stays live while a silent server answers", () => {
    const socket = live(events());
    for (let round = 0; round < 5; round++) {
      vi.advanceTimersByTime(17_000);
      socket.say({ seq: 5, snapshot: { hosts: [] } });
    }
    expect(FakeSocket.all).toHaveLength(1);
    expect(connection.state.state).toBe("live");
  });

  it("tells of a refused connection, for the session may be over", () => {
    const seen = events();
    connection = new LiveConnection("ws://test/api/v1/live", seen);
    connection.start();
    newest().break();
    expect(seen.onRefused).toHaveBeenCalledWith(0);
  });

  it("gives alerts on without a topic", () => {
    const seen = events();
    connection = new LiveConnection("ws://test/api/v1/live", seen);
    connection.start();
    newest().open();
    newest().say({ seq: 0, alerts: { alerts: [{ id: "a" }] } });
    expect(seen.onAlerts).toHaveBeenCalledWith({ alerts: [{ id: "a" }] });
  });

  it("leaves a server whose messages it can not read", () => {
    const socket = live(events());
    socket.onmessage?.({ data: new Uint8Array([9]).buffer });
    expect(socket.readyState).toBe(3);
    expect(connection.state.state).toBe("stale");
  });

  it("opens nothing after it was stopped", () => {
    const socket = live(events());
    connection.stop();
    socket.break();
    vi.advanceTimersByTime(60_000);
    expect(FakeSocket.all).toHaveLength(1);
  });
});
