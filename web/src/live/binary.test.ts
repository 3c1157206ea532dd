// The golden frames are those that the server's tests write and check (live/testdata).
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { LiveDecoder } from "@/live/binary";

function golden(name: string): ArrayBuffer {
  const bytes = readFileSync(new URL(`../../../live/testdata/${name}.bin`, import.meta.url));
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
}

function asJson(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../../live/testdata/${name}.json`, import.meta.url), "utf8"));
}

describe("LiveDecoder", () => {
  it.each(["fleet", "host", "columns", "set"])("reads of a snapshot and a delta (%s) what the JSON says", (topic) => {
    const decoder = new LiveDecoder();
    expect(decoder.decode(golden(`${topic}_snapshot`))).toEqual(asJson(`${topic}_snapshot`));
    expect(decoder.decode(golden(`${topic}_delta`))).toEqual(asJson(`${topic}_delta`));
  });

  it.each(["empty_snapshot", "alerts", "no_alerts", "error"])("reads what belongs to no host (%s)", (name) => {
    expect(new LiveDecoder().decode(golden(name))).toEqual(asJson(name));
  });

  it("refuses a message that is cut anywhere", () => {
    const whole = golden("host_snapshot");
    for (let length = 0; length < whole.byteLength; length++) {
      expect(() => new LiveDecoder().decode(whole.slice(0, length)), `${length} bytes`).toThrow();
    }
    const longer = new Uint8Array(whole.byteLength + 1);
    longer.set(new Uint8Array(whole));
    expect(() => new LiveDecoder().decode(longer.buffer)).toThrow();
  });

  it("never hangs on a message with any one byte changed, nor takes room for what is not there", () => {
    const whole = new Uint8Array(golden("host_snapshot"));
    for (let at = 0; at < whole.length; at++) {
      const changed = whole.slice();
      changed[at] = 0xff;
      try {
        new LiveDecoder().decode(changed.buffer);
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
      }
    }
  });
});
