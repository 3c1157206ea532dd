// The binary form of the live messages (subprotocol gohub.v1.binary), as docs/live.md describes it: the same messages as in
// JSON, a third to a tenth of the bytes. A decoder belongs to one socket: a delta builds on the snapshot before it.
import type { LiveMessageJson } from "@/gen/gohub/v1/live_pb";
import type { ListAlertsResponseJson } from "@/gen/gohub/v1/alert_pb";
import type { HostJson, HostStatusJson, InstanceJson, ReadingJson } from "@/gen/gohub/v1/query_pb";

export const BINARY_PROTOCOL = "gohub.v1.binary";

type Family = {
  name: string;
  labels: string[];
  metrics: { name: string; kind: number }[];
};

const SNAPSHOT = 1;
const DELTA = 2;
const ALERTS = 3;
const ERROR = 4;

const END = 0;
const HOST = 1;
const HOST_WITH_FACTS = 2;
const GONE = 3;

const STATUS_BITS = 0x0f;
const HAS_SINCE = 0x10;
const HAS_SAMPLE = 0x20;

const statuses: HostStatusJson[] = ["HOST_STATUS_UNSPECIFIED", "HOST_STATUS_UP", "HOST_STATUS_DOWN", "HOST_STATUS_LATE"];

// The kinds of a metric's readings; the others are counts.
const FLOAT = 0;
const DOUBLE = 2;

// A single has seven decimal digits; the others are noise of its binary form.
const FLOAT_DIGITS = 7;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Reads from the front of a message; whatever is not there throws a RangeError. */
class Reader {
  private at = 0;
  private readonly view: DataView;

  constructor(private readonly buffer: ArrayBuffer) {
    this.view = new DataView(buffer);
  }

  byte(): number {
    return this.view.getUint8(this.at++);
  }

  float(): number {
    const value = this.view.getFloat32(this.at, true);
    this.at += 4;
    return Number(value.toPrecision(FLOAT_DIGITS));
  }

  double(): number {
    const value = this.view.getFloat64(this.at, true);
    this.at += 8;
    return value;
  }

  /** Seven bits a byte, the lowest first; over 2^53 it is as exact as a number can be. */
  count(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      if (scale > 2 ** 63) throw new RangeError("a number of more than 64 bits");
    }
  }

  /** 0, -1, 1, -2, 2 … as 0, 1, 2, 3, 4 … */
  signed(): number {
    const value = this.count();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  bytes(length: number): Uint8Array {
    const part = new Uint8Array(this.buffer, this.at, length);
    this.at += length;
    return part;
  }

  text(): string {
    return utf8.decode(this.bytes(this.count()));
  }

  rest(): string {
    return utf8.decode(this.bytes(this.buffer.byteLength - this.at));
  }

  list<T>(read: () => T): T[] {
    return Array.from({ length: this.length() }, read);
  }

  /** A number of things that have a byte each at least: one that is too large must not make room first. */
  private length(): number {
    const length = this.count();
    if (length > this.buffer.byteLength) throw new RangeError("a list longer than its message");
    return length;
  }

  rows(): number {
    return this.length();
  }

  get ended(): boolean {
    return this.at === this.buffer.byteLength;
  }
}

function time(millis: number): string {
  return new Date(millis).toISOString().replace(".000Z", "Z");
}

function reading(reader: Reader, kind: number): number {
  switch (kind) {
    case FLOAT:
      return reader.float();
    case DOUBLE:
      return reader.double();
    default:
      return reader.count();
  }
}

export class LiveDecoder {
  private families: Family[] = [];
  /** What a host's entry has only when it is new: its ids, facts and first_seen. */
  private facts = new Map<number, HostJson>();

  /** Throws where the message is not one. */
  decode(buffer: ArrayBuffer): LiveMessageJson {
    const reader = new Reader(buffer);
    const kind = reader.byte();
    const seq = reader.count();
    switch (kind) {
      case SNAPSHOT:
        this.families = reader.list(() => this.family(reader));
        this.facts.clear();
        return { seq, snapshot: this.hosts(reader) };
      case DELTA:
        return { seq, delta: this.hosts(reader) };
      case ALERTS:
        return { seq, alerts: JSON.parse(reader.rest()) as ListAlertsResponseJson };
      case ERROR:
        return { seq, error: reader.rest() };
      default:
        throw new RangeError(`a message of kind ${kind}`);
    }
  }

  private family(reader: Reader): Family {
    return {
      name: reader.text(),
      labels: reader.list(() => reader.text()),
      metrics: reader.list(() => ({ name: reader.text(), kind: reader.byte() })),
    };
  }

  private hosts(reader: Reader): { hosts: HostJson[]; gone?: number[] } {
    const hosts: HostJson[] = [];
    const gone: number[] = [];
    for (;;) {
      const entry = reader.byte();
      switch (entry) {
        case END:
          if (!reader.ended) throw new RangeError("bytes behind the end");
          return gone.length > 0 ? { hosts, gone } : { hosts };
        case HOST:
        case HOST_WITH_FACTS: {
          const id = reader.count();
          if (entry === HOST_WITH_FACTS) this.facts.set(id, JSON.parse(reader.text()) as HostJson);
          hosts.push(this.host(reader, this.facts.get(id) ?? { hostId: id }));
          break;
        }
        case GONE: {
          const id = reader.count();
          this.facts.delete(id);
          gone.push(id);
          break;
        }
        default:
          throw new RangeError(`an entry of kind ${entry}`);
      }
    }
  }

  private host(reader: Reader, facts: HostJson): HostJson {
    const flags = reader.byte();
    const host: HostJson = { ...facts, status: statuses[flags & STATUS_BITS] ?? "HOST_STATUS_UNSPECIFIED" };
    if (flags & HAS_SINCE) host.statusSince = time(reader.signed());
    host.clockSkewSeconds = reader.signed() / 1000;
    host.ingestLagSeconds = reader.count() / 1000;
    if (flags & HAS_SAMPLE) host.latest = this.reading(reader);
    return host;
  }

  private reading(reader: Reader): ReadingJson {
    const reading: ReadingJson = { time: time(reader.signed()), values: {} };
    const instances: InstanceJson[] = [];
    this.families.forEach((family, place) => {
      for (let rows = reader.rows(); rows > 0; rows--) {
        const labels = Object.fromEntries(family.labels.map((label) => [label, reader.text()]));
        const values = this.values(reader, family);
        if (place === 0) reading.values = values;
        else instances.push({ family: family.name, labels, values });
      }
    });
    if (this.families.length > 1) reading.instances = instances;
    return reading;
  }

  private values(reader: Reader, family: Family): Record<string, number> {
    const present = reader.bytes(Math.ceil(family.metrics.length / 8));
    const values: Record<string, number> = {};
    family.metrics.forEach(({ name, kind }, place) => {
      if (((present[place >> 3] ?? 0) >> (place & 7)) & 1) values[name] = reading(reader, kind);
    });
    return values;
  }
}
