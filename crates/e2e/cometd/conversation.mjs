// Owns one whole conversation of the CometD project's own client, unmodified, with whatever serves GMS's chat over CometD at
// the given address. Started by `tests/cometd_client.rs` and `tests/cometd_server.rs`, which play the agent.
//
//   node conversation.mjs '{"url", "service", "transport", "ack", "subscribe", "companion"}'
//
// `transport` is "long-polling" or "websocket"; `subscribe` says whether the channel is subscribed to or only listened on;
// without a `companion` address there are no files. Standard output is JSON lines: {"observed": …} for each message of the
// channel and each change of the connection, {"cue": …} where the agent has to act, and at the end {"summary": …}. Any failure
// is a message on standard error and a status other than 0.

import { AckExtension } from "cometd/AckExtension.js";
import { CometD } from "cometd";
import { adapt } from "cometd-nodejs-client";

const { url, service, transport, ack, subscribe, companion } = JSON.parse(process.argv[2]);
const CHANNEL = `/service/chatV2/${service}`;
const PATIENCE_MS = 20_000;
const BURST = 20;

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const cue = (name, data = {}) => print({ cue: name, ...data });
const expect = (truth, what) => {
  if (!truth) throw new Error(`expected: ${what}`);
};

// Everything that happened, and those who wait for something in it.
const observed = [];
let waiting = [];
function observe(kind, data) {
  const entry = { kind, data };
  observed.push(entry);
  print({ observed: kind, data });
  waiting = waiting.filter((waiter) => !waiter(entry));
}
/** The data of the first entry from number `from` on, past or coming, for which `matches` holds. */
function seen(what, matches, from = 0) {
  const found = observed.slice(from).find(matches);
  if (found) return Promise.resolve(found.data);
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), PATIENCE_MS);
    waiting.push((entry) => {
      if (!matches(entry)) return false;
      clearTimeout(late);
      resolve(entry.data);
      return true;
    });
  });
}
const event = (matches) => (entry) => entry.kind === "event" && matches(entry.data);
const said = (type, text) => event((e) => e.type === "Message" && e.from.type === type && e.text === text);

// The session of the chat, and its transcript by index.
let keys = {};
let ended = false;
const transcript = new Map();
const conflicts = [];
function hear({ data }) {
  const { secureKey, chatId, messages = [], statusCode } = data;
  if (statusCode === 0 && secureKey) keys = { secureKey };
  observe("data", { statusCode, chatId, chatEnded: data.chatEnded, nextPosition: data.nextPosition, errors: data.errors });
  for (const message of messages) {
    const known = transcript.get(message.index);
    if (known === undefined) {
      transcript.set(message.index, message);
      observe("event", message);
    } else if (known.type !== message.type || known.text !== message.text) {
      conflicts.push([known, message]);
    }
  }
  if (data.chatEnded === true) ended = true;
}

const options = {};
adapt(options);
// The adapter makes this write to standard output, where it would stand between our lines.
console.debug = () => {};
const cometd = new CometD();
cometd.websocketEnabled = transport === "websocket";
if (transport === "websocket") cometd.unregisterTransport("long-polling");
if (ack) cometd.registerExtension("ack", new AckExtension());
cometd.configure({ url, logLevel: "warn", backoffIncrement: 100 });

// A connection that is new, or back, asks for what was missed: pushes are not repeated.
let connected = false;
let handshakes = 0;
cometd.addListener("/meta/handshake", (message) => {
  handshakes += message.successful ? 1 : 0;
  connected = false;
  observe("handshake", { successful: message.successful, types: message.supportedConnectionTypes, ext: message.ext });
  if (message.successful && subscribe) {
    cometd.subscribe(CHANNEL, hear, undefined, (answer) => observe("subscribed", { successful: answer.successful }));
  }
});
cometd.addListener("/meta/connect", (message) => {
  if (connected === message.successful) return;
  connected = message.successful;
  observe(connected ? "connected" : "disconnected", { error: message.error, clientId: cometd.getClientId() });
  if (connected && keys.secureKey && !ended) {
    const transcriptPosition = Math.max(0, ...transcript.keys()) + 1;
    // If it is lost, so is the connection, and the next one asks again.
    publish({ operation: "requestNotifications", transcriptPosition }).then(
      () => observe("asked", { transcriptPosition }),
      (error) => observe("not asked", { error: error.message }),
    );
  }
});
if (!subscribe) cometd.addListener(CHANNEL, (message) => message.data !== undefined && hear(message));

/** Resolves when the server has the operation; what it makes of it comes as a message of the channel. */
function publish(data) {
  return new Promise((resolve, reject) => {
    cometd.publish(CHANNEL, { ...data, ...keys }, (answer) =>
      answer.successful ? resolve() : reject(new Error(`${data.operation}: ${JSON.stringify(answer)}`)),
    );
  });
}

/** One operation of the companion, which has the files in this mode. */
async function files(operation, fields = {}) {
  const form = new FormData();
  for (const [name, value] of Object.entries({ operation, ...keys, ...fields })) {
    form.append(name, ...(Array.isArray(value) ? value : [value]));
  }
  const cookie = Object.values(options.globalCookies).flatMap((jar) => Object.values(jar)).join("; ");
  const answer = await fetch(companion, { method: "POST", body: form, headers: cookie ? { cookie } : {} });
  expect(answer.ok, `${operation} to be answered, not ${answer.status}`);
  return answer;
}

async function sendFile() {
  const limits = (await (await files("fileGetLimits")).json()).messages[0].userData;
  const bytes = Uint8Array.from({ length: 7_001 }, (_, index) => (index * 31) % 251);
  const file = [new Blob([bytes], { type: "image/png" }), "picture.png"];
  const answer = await (await files("fileUpload", { file })).json();
  const id = answer.userData["file-id"];
  const own = await seen("the own file", event((e) => e.type === "FileUploaded" && e.userData["file-id"] === id));
  return { limits, own };
}

async function fetchFile() {
  const from = observed.length;
  cue("file");
  const file = await seen("the agent's file", event((e) => e.type === "FileUploaded" && e.from.type === "Agent"), from);
  const answer = await files("fileDownload", { fileId: file.userData["file-id"] });
  return { file, hex: Buffer.from(await answer.arrayBuffer()).toString("hex") };
}

async function conversation() {
  const greeted = new Promise((resolve) => cometd.handshake(resolve));
  expect((await greeted).successful, "a handshake");
  if (subscribe) await seen("the subscription", (e) => e.kind === "subscribed" && e.data.successful);
  const userData = { orderId: "A-17" };
  await publish({ operation: "requestChat", nickname: "Jane", subject: "an order", userData });
  const joined = await seen("the own joining", event((e) => e.type === "ParticipantJoined" && e.from.type === "Client"));
  expect(keys.secureKey, "a secure key");

  cue("connected");
  await seen("the agent joining", event((e) => e.type === "ParticipantJoined" && e.from.nickname === "Maria"));
  const greeting = await seen("the greeting", said("Agent", "Hello, this is Maria"));

  // Typing, both ways.
  await publish({ operation: "startTyping", message: "Where is" });
  cue("typing");
  const typing = await seen("the agent typing", event((e) => e.type === "TypingStarted" && e.from.type === "Agent"));

  // A text, and its echo.
  const text = "Grüße & 100 % <b>=</b> + \u{1F44B}\u{1F3FD}";
  await publish({ operation: "sendMessage", message: text, messageType: "text;token=1-2-3" });
  const echo = await seen("the echo", said("Client", text));

  const uploaded = companion ? await sendFile() : undefined;
  const downloaded = companion ? await fetchFile() : undefined;

  // The network is cut: the same session goes on, and what was said meanwhile is asked for.
  let from = observed.length;
  const before = cometd.getClientId();
  cue("cut");
  await seen("the loss", (e) => e.kind === "disconnected", from);
  cue("lost");
  const back = await seen("the connection", (e) => e.kind === "connected", from);
  await seen("what was said meanwhile", said("Agent", "Still there?"), from);
  await seen("the question for it", (e) => e.kind === "asked", from);
  const sameSession = back.clientId === before;

  // The node restarts and knows nobody: a new session for the same chat.
  from = observed.length;
  const sessions = handshakes;
  cue("restart");
  await seen("the new session", (e) => e.kind === "handshake" && e.data.successful, from);
  await seen("what was said at the restart", said("Agent", "We had to restart"), from);
  expect(handshakes > sessions, "another handshake");

  // Both sides at once.
  cue("burst", { count: BURST });
  for (let n = 0; n < BURST; n += 1) {
    await publish({ operation: "sendMessage", message: `customer ${n}`, messageType: "text" });
  }
  await seen("the last of the own", said("Client", `customer ${BURST - 1}`));
  await seen("the last of the agent's", said("Agent", `agent ${BURST - 1}`));

  await publish({ operation: "disconnect" });
  await seen("the end", (e) => e.kind === "data" && e.data.chatEnded === true);
  await new Promise((resolve) => cometd.disconnect(resolve));

  const entries = [...transcript.values()].sort((a, b) => a.index - b.index);
  print({
    summary: {
      joined,
      greeting,
      typing,
      text,
      echo,
      uploaded,
      downloaded,
      sameSession,
      conflicts,
      burst: BURST,
      transcript: entries.map(({ index, type, from, text }) => ({ index, type, from, text })),
    },
  });
}

try {
  await conversation();
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error?.stack ?? JSON.stringify(error)}\n`);
  process.exit(1);
}
