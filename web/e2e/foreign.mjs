// Follows the live WebSocket as a script of somebody else would: with the npm package ws, the JSON form, and what docs/live.md says.
//
//   node e2e/foreign.mjs BASE_URL API_TOKEN
//
// It prints what it has seen, and fails where the server does otherwise.
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { clearTimeout, setTimeout } from "node:timers";
import WebSocket from "ws";

const [base, token] = process.argv.slice(2);
if (!base || !token) {
  console.error("usage: node e2e/foreign.mjs BASE_URL API_TOKEN");
  process.exit(2);
}
const address = new URL("/api/v1/live", base.replace(/^http/, "ws")).href;
const authorised = { headers: { Authorization: `Bearer ${token}` } };

/** A connection whose messages are taken one after the other. */
async function connect(protocols = ["gohub.v1.json"], options = authorised) {
  const socket = new WebSocket(address, protocols, options);
  const waiting = [];
  const messages = [];
  socket.on("message", (data, binary) => {
    assert.equal(binary, false, "the JSON form is in text frames");
    const message = JSON.parse(data.toString());
    const first = waiting.shift();
    if (first) first(message);
    else messages.push(message);
  });
  await once(socket, "open");
  return {
    socket,
    ask: (request) => socket.send(JSON.stringify(request)),
    next: () => (messages.length > 0 ? Promise.resolve(messages.shift()) : new Promise((resolve) => waiting.push(resolve))),
    async nextOf(...kinds) {
      for (;;) {
        const message = await this.next();
        if (kinds.some((kind) => kind in message)) return message;
      }
    },
  };
}

/** The code that the server closes with. */
async function closeCode(socket) {
  const [code] = await once(socket, "close");
  return code;
}

/** The status of a handshake that is refused. */
async function refusal(protocols, options) {
  const socket = new WebSocket(address, protocols, options);
  socket.on("error", () => {}); // the response tells more
  const [, response] = await once(socket, "unexpected-response");
  socket.terminate();
  return response.statusCode;
}

const timer = setTimeout(() => {
  console.error("nothing came for a minute");
  process.exit(1);
}, 60_000);

// The fleet: a snapshot, then what changes, in the order of the sequence.
const fleet = await connect();
assert.equal(fleet.socket.protocol, "gohub.v1.json");
fleet.ask({ fleet: { metrics: ["cpu_usage_percent", "uptime_seconds"] } });
const { seq, snapshot } = await fleet.nextOf("snapshot");
assert.ok(snapshot.hosts.length > 0);
const hosts = new Map(snapshot.hosts.map((host) => [host.hostId, host]));
let last = seq;
const times = new Set();
for (let changes = 0; changes < 3; ) {
  const message = await fleet.nextOf("delta", "snapshot");
  assert.ok(message.delta, "one that reads gets no second snapshot");
  assert.equal(message.seq, last === 4294967295 ? 0 : last + 1);
  last = message.seq;
  for (const host of message.delta.hosts) {
    hosts.set(host.hostId, host);
    for (const metric of Object.keys(host.latest?.values ?? {})) assert.ok(["cpu_usage_percent", "uptime_seconds"].includes(metric), metric);
    if (host.latest && !times.has(host.latest.time)) {
      times.add(host.latest.time);
      changes++;
    }
  }
}
console.log("fleet: a snapshot and deltas without a gap");

// A host, with all its instances.
const [hostId] = hosts.keys();
fleet.ask({ host: { hostId } });
const one = (await fleet.nextOf("snapshot")).snapshot.hosts;
assert.equal(one.length, 1);
assert.equal(one[0].hostId, hostId);
assert.ok(one[0].latest.instances.some((instance) => instance.family === "filesystem" && instance.labels.mountpoint));
console.log("host: with its filesystems");

// What can not be served changes nothing.
fleet.ask({ fleet: { metrics: ["cpu_use"] } });
assert.match((await fleet.nextOf("error")).error, /cpu_use/);
fleet.ask({ host: { hostId: 4_000_000 } });
assert.match((await fleet.nextOf("error")).error, /4000000/);
await fleet.nextOf("delta");
console.log("errors: told, and the topic stays");

// Alerts only, and a close of the client's own.
const alerts = await connect([]);
alerts.ask({ alerts: {} });
assert.ok(Array.isArray((await alerts.nextOf("alerts")).alerts.alerts ?? []));
const closed = closeCode(alerts.socket);
alerts.socket.close(1000);
assert.equal(await closed, 1000);
console.log("alerts: without a subprotocol too");

// The codes of the page.
const binary = await connect();
binary.socket.send(Buffer.from([1, 2, 3]));
assert.equal(await closeCode(binary.socket), 1003);
const long = await connect();
long.socket.send("x".repeat(5000));
assert.equal(await closeCode(long.socket), 1009);
assert.equal(await refusal(["chat"], authorised), 400);
assert.equal(await refusal(["gohub.v1.json"], { headers: { Authorization: "Bearer wrong" } }), 401);
assert.equal(await refusal(["gohub.v1.json"], { ...authorised, origin: "https://elsewhere.example" }), 403);
console.log("refusals: 1003, 1009, 400, 401, 403");

clearTimeout(timer);
fleet.socket.close(1000);
