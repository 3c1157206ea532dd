// The WebSocket to /api/v1/live: connects, subscribes, notices silence, reconnects.
//
//   connecting ──snapshot──▶ live ──closed, silent, gap──▶ stale ──snapshot──▶ live
//
// "live" is said only while a snapshot of the wanted topic came over the present socket and the server keeps talking.
import type { ListAlertsResponseJson } from "@/gen/gohub/v1/alert_pb";
import type { LiveMessageJson } from "@/gen/gohub/v1/live_pb";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { backoffMillis } from "@/live/backoff";
import { BINARY_PROTOCOL, LiveDecoder } from "@/live/binary";
import { advance, requestFor, sameTopic, type Sequence, type Topic } from "@/live/topic";

export type LiveState = {
  state: "connecting" | "live" | "stale";
  /** When the newest message came, by the viewer's clock in milliseconds; null before the first. */
  heardAt: number | null;
  /** What the server said against the subscription. */
  error: string | null;
};

export type LiveEvents = {
  onSnapshot: (topic: Topic, hosts: HostJson[]) => void;
  onDelta: (topic: Topic, hosts: HostJson[]) => void;
  onAlerts: (alerts: ListAlertsResponseJson) => void;
  /** The socket could not be opened: the session may have ended, which a browser does not tell. */
  onRefused: (attempt: number) => void;
};

// A server that has said nothing for this long is asked for a snapshot …
const SILENCE_MILLIS = 15_000;
// … and if that does not come either, the connection is taken for dead.
const PROBE_MILLIS = 8_000;
// A socket that stayed open this long is no failed try; the next back-off starts anew.
const SETTLED_MILLIS = 10_000;

export class LiveConnection {
  private socket: WebSocket | null = null;
  private topic: Topic | null = null;
  private seq: Sequence = null;
  private attempt = 0;
  private retryTimer: number | undefined;
  private watchTimer: number | undefined;
  private probedAt: number | null = null;
  private openedAt = 0;
  private socketHeardAt = 0;
  private stopped = true;
  private listeners = new Set<() => void>();
  private current: LiveState = { state: "connecting", heardAt: null, error: null };

  constructor(
    private readonly url: string,
    private readonly events: LiveEvents,
  ) {}

  start(): void {
    if (!this.stopped) return;
    this.stopped = false;
    this.watchTimer = window.setInterval(() => {
      this.watch();
    }, 1_000);
    window.addEventListener("online", this.hurry);
    document.addEventListener("visibilitychange", this.hurry);
    this.open();
  }

  /** Idempotent; afterwards nothing is running. */
  stop(): void {
    this.stopped = true;
    window.clearInterval(this.watchTimer);
    window.clearTimeout(this.retryTimer);
    window.removeEventListener("online", this.hurry);
    document.removeEventListener("visibilitychange", this.hurry);
    this.drop();
    this.listeners.clear();
  }

  want(topic: Topic): void {
    if (sameTopic(this.topic, topic)) return;
    this.topic = topic;
    this.seq = null;
    this.set({ state: "connecting", heardAt: null, error: null });
    this.subscribe();
  }

  /** Values came another way, while this one was closed: they are shown, but they are not live. */
  filled(at: number): void {
    if (this.current.state !== "live") this.set({ ...this.current, state: "stale", heardAt: at });
  }

  get state(): LiveState {
    return this.current;
  }

  onState(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private open(): void {
    window.clearTimeout(this.retryTimer);
    const socket = new WebSocket(this.url, BINARY_PROTOCOL);
    socket.binaryType = "arraybuffer";
    const decoder = new LiveDecoder();
    let opened = false;
    this.socket = socket;
    socket.onopen = () => {
      opened = true;
      this.openedAt = Date.now();
      this.socketHeardAt = this.openedAt;
      this.probedAt = null;
      if (this.topic) this.subscribe();
      else this.set({ ...this.current, state: "live", heardAt: Date.now() });
    };
    socket.onmessage = (event: MessageEvent<unknown>) => {
      if (!(event.data instanceof ArrayBuffer)) return;
      let message: LiveMessageJson;
      try {
        message = decoder.decode(event.data);
      } catch {
        this.lost();
        return;
      }
      this.receive(message);
    };
    socket.onclose = () => {
      if (this.socket !== socket) return;
      if (!opened) this.events.onRefused(this.attempt);
      this.lost();
    };
  }

  private subscribe(): void {
    if (!this.topic || this.socket?.readyState !== WebSocket.OPEN) return;
    this.seq = null;
    this.socket.send(JSON.stringify(requestFor(this.topic)));
  }

  private receive(message: LiveMessageJson): void {
    const now = Date.now();
    this.socketHeardAt = now;
    if (!this.topic) {
      if (message.alerts) this.events.onAlerts(message.alerts);
      return;
    }
    const step = advance(this.topic, this.seq, message);
    switch (step.kind) {
      case "snapshot":
        this.seq = step.seq;
        this.attempt = 0;
        this.probedAt = null;
        this.events.onSnapshot(this.topic, step.hosts);
        this.set({ state: "live", heardAt: now, error: null });
        return;
      case "delta":
        this.seq = step.seq;
        this.probedAt = null;
        this.events.onDelta(this.topic, step.hosts);
        this.set({ state: "live", heardAt: now, error: null });
        return;
      case "alerts":
        if (message.alerts) this.events.onAlerts(message.alerts);
        return;
      case "gap":
        this.set({ ...this.current, state: "stale" });
        this.subscribe();
        return;
      case "error":
        this.set({ ...this.current, state: this.current.heardAt === null ? "connecting" : "stale", error: step.message });
        return;
      case "ignore":
        return;
    }
  }

  /** Runs every second: a dead connection need not say that it is dead. */
  private watch(): void {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    const now = Date.now();
    if (now - this.openedAt > SETTLED_MILLIS) this.attempt = 0;
    if (!this.topic) return;
    if (this.probedAt !== null && now - this.probedAt > PROBE_MILLIS) {
      this.lost();
    } else if (this.probedAt === null && now - this.socketHeardAt > SILENCE_MILLIS) {
      this.probedAt = now;
      this.subscribe();
    }
  }

  private lost(): void {
    this.drop();
    if (this.stopped) return;
    this.set({ ...this.current, state: this.current.heardAt === null ? "connecting" : "stale" });
    this.retryTimer = window.setTimeout(() => {
      this.open();
    }, backoffMillis(this.attempt));
    this.attempt++;
  }

  private drop(): void {
    const socket = this.socket;
    this.socket = null;
    this.seq = null;
    this.probedAt = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private hurry = (): void => {
    if (this.stopped || this.socket || document.visibilityState === "hidden") return;
    this.attempt = 0;
    this.open();
  };

  private set(next: LiveState): void {
    const { state, heardAt, error } = this.current;
    if (state === next.state && heardAt === next.heardAt && error === next.error) return;
    this.current = next;
    for (const listener of this.listeners) listener();
  }
}
