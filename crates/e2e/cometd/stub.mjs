// Owns a chat service with GMS's operations on the CometD project's own server for Node, unmodified. Started by
// `tests/cometd_server.rs`, which plays the agent and kills it. Long polling alone: that server has no WebSocket.
//
//   node stub.mjs <port, or 0> <file of the chats> [ack]
//
// The file stands for the chat server behind a GMS node: it is written before anything is told, and outlives the process. Each
// line is {"chat", "secureKey", "nickname"} for a new chat, {"chat", "item"} for what happened in it, or {"chat", "ended"}.
//
// Standard input is the agent, a JSON object a line: {"join": name}, {"say": text}, {"type": true or false}, {"leave": true},
// {"end": true}, {"die": "after the next message"}; it acts in the newest chat. The end of the input ends the process. Standard
// output is JSON lines: {"listening": port}, {"called": operation, "position": …}, {"stored": item} and, after each of the
// agent's acts, {"acted": act}.

import { randomBytes, randomUUID } from "node:crypto";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import acknowledgement from "cometd-nodejs-server/ack-extension.js";
import cometdServer from "cometd-nodejs-server";

const [port, file, ...options] = process.argv.slice(2);
const CHANNEL = "/service/chatV2/customer-support";
const CUSTOMER = 1;
const AGENT = 2;

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

// The chats, as the file tells them: id → {id, secureKey, nickname, items, ended}.
const chats = new Map();
function apply({ chat: id, secureKey, nickname, item, ended }) {
  if (secureKey !== undefined) chats.set(id, { id, secureKey, nickname, agent: "Maria", items: [], ended: false });
  const chat = chats.get(id);
  if (item !== undefined) chat.items.push(item);
  if (ended !== undefined) chat.ended = ended;
}
function record(fact) {
  appendFileSync(file, `${JSON.stringify(fact)}\n`);
  apply(fact);
}
if (existsSync(file)) {
  for (const line of readFileSync(file, "utf8").split("\n")) if (line !== "") apply(JSON.parse(line));
}

// Which Bayeux sessions are told of a chat. In the memory of one node: gone with it.
const audience = new Map();
function attach(chat, session) {
  if (!audience.has(chat.id)) audience.set(chat.id, new Set());
  const listeners = audience.get(chat.id);
  if (listeners.has(session)) return;
  listeners.add(session);
  session.addListener("removed", () => listeners.delete(session));
}

const nextPosition = (chat) => (chat.items.at(-1)?.index ?? 0) + 1;

/** The envelope of each reply. */
function reply(chat, messages) {
  return {
    messages: messages.map(({ live, ...item }) => item),
    chatEnded: chat.ended,
    statusCode: 0,
    alias: "204",
    secureKey: chat.secureKey,
    userId: `user-of-${chat.id}`,
    chatId: chat.id,
    nextPosition: nextPosition(chat),
  };
}

const refusal = (code, advice) => ({
  messages: [],
  chatEnded: code === 249,
  statusCode: 2,
  errors: [{ code, advice: `${advice} referenceId[20000005]` }],
});

/** Keeps `items` as what happened next, in one go, and tells all who listen. */
function happen(chat, ...items) {
  const stored = items.map((item) => {
    // Whole seconds, as the service writes them.
    const utcTime = Math.floor(Date.now() / 1000) * 1000;
    const whole = { index: nextPosition(chat), utcTime, ...item };
    record({ chat: chat.id, item: whole });
    print({ stored: whole });
    return whole;
  });
  if (dieAfterMessage && stored.some((item) => item.from.participantId === CUSTOMER && item.type === "Message")) {
    process.kill(process.pid, "SIGKILL");
  }
  for (const session of audience.get(chat.id) ?? []) session.deliver(null, CHANNEL, reply(chat, stored));
}

const customer = (chat) => ({ nickname: chat.nickname, participantId: CUSTOMER, type: "Client" });
const agent = (chat) => ({ nickname: chat.agent, participantId: AGENT, type: "Agent" });

/** What stands in the transcript from `position` on. Typing is only told live, and leaves a hole. */
const from = (chat, position) => chat.items.filter((item) => !item.live && item.index >= position);

const operations = {
  refresh(chat, { transcriptPosition }) {
    if (transcriptPosition === 0) return reply(chat, []);
    if (transcriptPosition === -1) return reply(chat, from(chat, 0).slice(-1));
    return reply(chat, from(chat, transcriptPosition ?? 0));
  },
  requestNotifications(chat, { transcriptPosition }, session) {
    attach(chat, session);
    return reply(chat, from(chat, transcriptPosition ?? 0));
  },
  sendMessage(chat, { message, messageType }) {
    if (typeof message !== "string" || message === "") return refusal(500, "no message");
    happen(chat, { type: "Message", from: customer(chat), text: message, ...(messageType ? { messageType } : {}) });
  },
  startTyping(chat, { message }) {
    happen(chat, { type: "TypingStarted", from: customer(chat), live: true, ...(message ? { text: message } : {}) });
  },
  stopTyping(chat) {
    happen(chat, { type: "TypingStopped", from: customer(chat), live: true });
  },
  customNotice(chat, { message }) {
    happen(chat, { type: "CustomNotice", from: customer(chat), text: message });
  },
  updateData(chat) {
    return reply(chat, []);
  },
  disconnect(chat) {
    record({ chat: chat.id, ended: true });
    happen(chat, { type: "ParticipantLeft", from: customer(chat) });
  },
};

function start({ nickname, firstName, lastName }, session) {
  const name = nickname ?? [firstName, lastName].filter(Boolean).join(" ");
  if (!name) return session.deliver(null, CHANNEL, refusal(161, "a name is required"));
  const id = randomUUID();
  record({ chat: id, secureKey: randomBytes(48).toString("base64"), nickname: name });
  const chat = chats.get(id);
  attach(chat, session);
  happen(chat, { type: "ParticipantJoined", from: customer(chat) });
}

function serve(session, channel, message, done) {
  const { operation, ...parameters } = message.data ?? {};
  print({ called: operation, position: parameters.transcriptPosition });
  if (operation === "requestChat") {
    start(parameters, session);
    return done();
  }
  const chat = [...chats.values()].find(({ secureKey }) => secureKey === parameters.secureKey);
  let answer;
  if (chat === undefined) answer = refusal(249, "no such session.");
  else if (!Object.hasOwn(operations, operation)) answer = refusal(500, "no such operation.");
  else if (chat.ended && !["refresh", "requestNotifications"].includes(operation)) answer = refusal(249, "it is over.");
  else answer = operations[operation](chat, parameters, session);
  if (answer !== undefined) session.deliver(null, CHANNEL, answer);
  done();
}

let dieAfterMessage = false;
const acts = {
  join(chat, name) {
    chat.agent = name;
    happen(chat, { type: "ParticipantJoined", from: agent(chat) });
  },
  say: (chat, text) => happen(chat, { type: "Message", from: agent(chat), text }),
  type: (chat, on) => happen(chat, { type: on ? "TypingStarted" : "TypingStopped", from: agent(chat), live: true }),
  leave: (chat) => happen(chat, { type: "ParticipantLeft", from: agent(chat) }),
  end(chat) {
    record({ chat: chat.id, ended: true });
    // The agent leaves, then the client is removed, both in the last batch.
    happen(chat, { type: "ParticipantLeft", from: agent(chat) }, { type: "ParticipantLeft", from: customer(chat) });
  },
  die() {
    dieAfterMessage = true;
  },
};

const server = cometdServer.createCometDServer();
if (options.includes("ack")) server.addExtension(new acknowledgement.AcknowledgedMessagesExtension());
server.createServerChannel(CHANNEL).addListener("message", serve);
const http = createServer((request, response) => {
  if (/^\/genesys\/cometd(\/|$)/.test(request.url)) return server.handle(request, response);
  response.writeHead(404, { "content-type": "text/html" });
  response.end("<html>nothing here</html>");
});
http.listen(Number(port), "127.0.0.1", () => print({ listening: http.address().port }));

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [[act, argument]] = Object.entries(JSON.parse(line));
    acts[act]([...chats.values()].at(-1), argument);
    print({ acted: act });
  })
  .on("close", () => process.exit(0));
