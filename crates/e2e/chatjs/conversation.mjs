// Owns one whole conversation of Amazon Connect's own chat client, unmodified, with whatever answers at the given
// addresses. Started by `tests/chatjs.rs`, which plays the agent.
//
//   node conversation.mjs <participant service endpoint> <start-chat URL>
//
// Standard output is JSON lines: {"observed": …} for each callback, {"cue": …} where the agent has to act, and at the
// end {"summary": …}. Any failure is a message on standard error and a status other than 0.

import { File as BufferFile } from "node:buffer";
import { webcrypto } from "node:crypto";
import { WebSocket } from "ws";

const [endpoint, startUrl] = process.argv.slice(2);
const REGION = "us-west-2";
const PATIENCE_MS = 20_000;
const PAGE = 7;
const EXTRA_MESSAGES = 18;

// What a browser has and Node has not. The first four are all that the client asks for.
const define = (name, value) =>
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
define("self", globalThis);
define("window", globalThis);
define("navigator", { onLine: true, userAgent: `node/${process.versions.node}` });
define("WebSocket", WebSocket);
// Node 18 has these in modules only.
globalThis.File ??= BufferFile;
globalThis.crypto ??= webcrypto;

await import("amazon-connect-chatjs");
const { connect } = globalThis;

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const cue = (name, data = {}) => print({ cue: name, ...data });
const expect = (truth, what) => {
  if (!truth) throw new Error(`expected: ${what}`);
};

// Everything that the callbacks said, and those who wait for something in it.
const observed = [];
let waiting = [];
function observe(callback, data) {
  const entry = { callback, data };
  observed.push(entry);
  print({ observed: callback, ...summarise(data) });
  waiting = waiting.filter((waiter) => !waiter(entry));
}
function summarise(data) {
  if (data === undefined || data === null) return {};
  const { Id, Type, ContentType, Content, ParticipantRole, DisplayName, Attachments, MessageMetadata } = data;
  return { Id, Type, ContentType, Content, ParticipantRole, DisplayName, Attachments, MessageMetadata };
}
/** The first entry from number `from` on, past or coming, for which `matches` holds. */
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
const message = (matches) => (entry) => entry.callback === "onMessage" && matches(entry.data);
const eventType = (suffix) => `application/vnd.amazonaws.connect.event.${suffix}`;

async function startChat() {
  const answer = await fetch(startUrl, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      InstanceId: "instance",
      ContactFlowId: "flow",
      ParticipantDetails: { DisplayName: "Jane" },
      Attributes: { customerName: "Jane" },
      SupportedMessagingContentTypes: ["text/plain", "text/markdown"],
    }),
  });
  expect(answer.ok, `a chat, not ${answer.status}`);
  const { data } = await answer.json();
  return data.startChatResult;
}

function listen(session) {
  for (const name of [
    "onMessage",
    "onTyping",
    "onReadReceipt",
    "onDeliveredReceipt",
    "onConnectionEstablished",
    "onConnectionLost",
    "onConnectionBroken",
    "onDeepHeartbeatSuccess",
    "onDeepHeartbeatFailure",
    "onEnded",
  ]) {
    session[name]((event) => observe(name, event?.data));
  }
}

/** Pages backwards, to the start. */
async function wholeTranscript(session) {
  const items = [];
  let pages = 0;
  let nextToken;
  do {
    const { data } = await session.getTranscript({
      maxResults: PAGE,
      sortOrder: "ASCENDING",
      scanDirection: "BACKWARD",
      ...(nextToken ? { nextToken } : {}),
    });
    expect(data.Transcript.length <= PAGE, `at most ${PAGE} items a page`);
    items.unshift(...data.Transcript);
    nextToken = data.NextToken;
    pages += 1;
    expect(pages < 50, "paging comes to an end");
  } while (nextToken);
  return { items, pages };
}

async function conversation() {
  // The client caches its HTTP client by region: the endpoint has to be set before the first session.
  connect.ChatSession.setGlobalConfig({
    endpoint,
    region: REGION,
    features: { messageReceipts: { shouldSendMessageReceipts: true, throttleTime: 50 } },
  });
  const details = await startChat();
  expect(details.ContactId && details.ParticipantId && details.ParticipantToken, "the three chat details");
  const session = connect.ChatSession.create({
    chatDetails: {
      contactId: details.ContactId,
      participantId: details.ParticipantId,
      participantToken: details.ParticipantToken,
    },
    type: "CUSTOMER",
    options: { region: REGION },
    disableCSM: true,
  });
  listen(session);

  const connected = await session.connect();
  expect(connected.connectSuccess, "connectSuccess");
  await seen("the open socket", (e) => e.callback === "onConnectionEstablished" && e.data !== undefined);
  await seen("the answer to a deep heartbeat", (e) => e.callback === "onDeepHeartbeatSuccess");
  cue("connected");
  const greeting = await seen(
    "the agent's greeting",
    message((item) => item.Type === "MESSAGE" && item.ParticipantRole === "AGENT"),
  );
  const joined = await seen(
    "the agent joining",
    message((i) => i.ContentType === eventType("participant.joined") && i.ParticipantRole === "AGENT"),
  );

  // Text: the answer and the echo on the own socket are one item.
  const text = "Grüße & 100 % <b>=</b> \u{1F44B}\u{1F3FD}";
  const { data: sent } = await session.sendMessage({ contentType: "text/plain", message: text });
  const echo = await seen("the echo", message((item) => item.Id === sent.Id));
  expect(echo.Content === text, "the text as it was sent");
  expect(echo.AbsoluteTime === sent.AbsoluteTime, "one time for answer and echo");
  expect(echo.ParticipantId === details.ParticipantId, "the echo's sender is the customer");

  // Typing, both ways.
  await session.sendEvent({ contentType: eventType("typing") });
  cue("typing");
  const typing = await seen(
    "the agent typing",
    (e) => e.callback === "onTyping" && e.data.ParticipantRole === "AGENT",
  );

  // Receipts, both ways.
  const receipt = JSON.stringify({ messageId: greeting.Id });
  await session.sendEvent({ contentType: eventType("message.delivered"), content: receipt });
  await session.sendEvent({ contentType: eventType("message.read"), content: receipt });
  cue("receipts", { text });
  const about = (id) => (entry) => entry.data?.MessageMetadata?.MessageId === id;
  const delivered = await seen(
    "the delivered receipt",
    (e) => e.callback === "onDeliveredReceipt" && about(sent.Id)(e),
  );
  const read = await seen("the read receipt", (e) => e.callback === "onReadReceipt" && about(sent.Id)(e));

  // The socket is cut: the client comes back by itself, and hears what is said from then on.
  const before = observed.length;
  cue("cut");
  await seen("the loss", (e) => e.callback === "onConnectionLost", before);
  await seen("the new socket", (e) => e.callback === "onConnectionEstablished" && e.data !== undefined, before);
  // Asked for after the subscription, and answered after it.
  const open = observed.length;
  await seen("the new socket's deep heartbeat", (e) => e.callback === "onDeepHeartbeatSuccess", open);
  cue("back");
  await seen("the agent after the cut", message((item) => item.Content === "Still there?"), before);

  // A transcript of several pages.
  const ids = [];
  for (let n = 0; n < EXTRA_MESSAGES; n += 1) {
    const { data } = await session.sendMessage({ contentType: "text/plain", message: `message ${n}` });
    ids.push(data.Id);
  }
  const { items, pages } = await wholeTranscript(session);
  const times = items.map((item) => Date.parse(item.AbsoluteTime));

  // A file up, and the same bytes down again.
  const bytes = Uint8Array.from({ length: 70_001 }, (_, index) => (index * 31) % 251);
  await session.sendAttachment({ attachment: new File([bytes], "picture.png", { type: "image/png" }) });
  const approved = (role) =>
    message((i) => i.Type === "ATTACHMENT" && i.ParticipantRole === role && i.Attachments?.[0]?.Status === "APPROVED");
  const upload = await seen("the own attachment", approved("CUSTOMER"));
  const ownId = upload.Attachments[0].AttachmentId;
  const ownUrl = await session.getAttachmentURL({ attachmentId: ownId });
  const ownBytes = Buffer.from(await (await session.downloadAttachment({ attachmentId: ownId })).arrayBuffer());

  // The agent's file.
  cue("attachment");
  const file = await seen("the agent's attachment", approved("AGENT"));
  const fileId = file.Attachments[0].AttachmentId;
  const fileBytes = Buffer.from(await (await session.downloadAttachment({ attachmentId: fileId })).arrayBuffer());

  // The end is the service's word, not the call's.
  await session.disconnectParticipant();
  await seen("the end", (e) => e.callback === "onEnded");
  const refusal = await session
    .sendMessage({ contentType: "text/plain", message: "too late" })
    .then(() => "accepted", (error) => String(error?.reason ?? error));

  print({
    summary: {
      participantId: details.ParticipantId,
      greeting: greeting.Content,
      joined: joined.DisplayName,
      text,
      sentId: sent.Id,
      typing: typing.DisplayName,
      greetingId: greeting.Id,
      delivered: delivered.MessageMetadata,
      read: read.MessageMetadata,
      ids,
      transcript: items.map(({ Id, Type, ContentType, Content }) => ({ Id, Type, ContentType, Content })),
      inOrder: times.every((time, index) => index === 0 || times[index - 1] <= time),
      pages,
      pageSize: PAGE,
      upload: { ...upload.Attachments[0], url: typeof ownUrl, identical: Buffer.compare(ownBytes, Buffer.from(bytes)) === 0 },
      download: { ...file.Attachments[0], length: fileBytes.length, hex: fileBytes.toString("hex") },
      refusal,
      counts: observed.reduce((all, { callback }) => ({ ...all, [callback]: (all[callback] ?? 0) + 1 }), {}),
      endedItems: observed.filter(message((i) => i.ContentType === eventType("chat.ended"))).length,
    },
  });
}

try {
  await conversation();
  // The client leaves timers behind.
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error?.stack ?? JSON.stringify(error)}\n`);
  process.exit(1);
}
