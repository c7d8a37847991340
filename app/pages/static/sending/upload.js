// A file on its way: started, sent in parts, several at once, each repeated alone, and completed.
"use strict";

const AT_ONCE = 3; // parts that are sent at the same time
const ATTEMPTS = 6; // of a call, before somebody has to say that it goes on
const PAUSE_SECONDS = 0.5; // before the second attempt; twice as long before each further one
const PATIENCE_SECONDS = 60; // the longest pause that a server may ask for without being taken to say no
const REPEATED = [500, 502, 503, 504];
const TOO_MANY = 429;

// A problem, as the API reports it.
class Refused extends Error {
  constructor(problem) {
    super(problem.title);
    this.problem = problem;
  }
}

// No answer, after all attempts.
class Unreachable extends Error {}

// With `whole`, the call itself is not broken off by the signal: what it makes on the server is only known from its answer.
function request(method, url, { token, headers = {}, body = null, signal, progress, whole = false }) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest(); // fetch tells nothing of what has been sent
    call.open(method, url);
    call.setRequestHeader("Accept", "application/json");
    if (token) call.setRequestHeader("Authorization", `Bearer ${token}`);
    for (const [name, value] of Object.entries(headers)) call.setRequestHeader(name, value);
    if (progress) call.upload.onprogress = ({ loaded }) => progress(loaded);
    call.onload = () => resolve(call);
    call.onerror = () => reject(new Unreachable("the connection was lost"));
    call.onabort = () => reject(signal.reason);
    signal.throwIfAborted();
    if (!whole) signal.addEventListener("abort", () => call.abort(), { once: true });
    call.send(body);
  });
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

// Returns what the answer holds; throws Refused for an error of ours, Unreachable when all attempts failed.
async function repeated(method, url, options) {
  let last;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt) {
      options.progress?.(0);
      await pause(Math.max(PAUSE_SECONDS * 2 ** (attempt - 1) * (0.5 + Math.random() / 2), last.after), options.signal);
    }
    try {
      const answer = await request(method, url, options);
      const after = Number(answer.getResponseHeader("Retry-After") ?? 0) || 0;
      const again = REPEATED.includes(answer.status) || (answer.status === TOO_MANY && after);
      if (!again || after > PATIENCE_SECONDS) return read(answer);
      last = { why: `status ${answer.status}`, after };
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      last = { why: error.message, after: 0 };
    }
  }
  throw new Unreachable(last.why);
}

function read(answer) {
  let content = null;
  try {
    content = JSON.parse(answer.responseText || "null");
  } catch {
    // Not ours: a proxy may have answered. Its status says enough.
  }
  if (answer.status >= 200 && answer.status < 300) return content;
  if (content?.code) throw new Refused(content);
  throw new Unreachable(`status ${answer.status}`);
}

class Upload {
  // `started` is the answer to the start; `progress` is told how many bytes have been sent.
  constructor(file, started, progress) {
    this.file = file;
    this.started = started;
    this.progress = progress;
    this.sent = new Map(started.parts.map(({ number, received, size }) => [number, received ? size : 0]));
    this.missing = started.parts.filter(({ received }) => !received);
  }

  // Sends what is missing and completes; after an abort or a failure it can be run again. Returns the submission.
  async run(signal) {
    const controller = new AbortController();
    const ends = AbortSignal.any([signal, controller.signal]);
    const waiting = [...this.missing];
    const sendAll = async () => {
      for (let part = waiting.shift(); part; part = waiting.shift()) await this.send(part, ends);
    };
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, sendAll));
    } catch (error) {
      controller.abort(error); // the other parts' calls
      throw error;
    }
    return repeated("POST", this.started.links.complete, { token: this.started.capability, signal });
  }

  // Lets the server throw away what has arrived.
  giveUp() {
    return repeated("DELETE", this.started.links.parts, { token: this.started.capability, signal: new AbortController().signal });
  }

  async send(part, signal) {
    const body = this.file.slice(part.offset, part.offset + part.size);
    const told = (bytes) => {
      this.sent.set(part.number, Math.min(bytes, part.size));
      this.progress([...this.sent.values()].reduce((whole, bytes) => whole + bytes, 0));
    };
    const headers = { "Content-Type": "application/octet-stream" };
    try {
      await repeated("PUT", part.url, { token: this.started.capability, headers, body, signal, progress: told });
    } catch (error) {
      told(0);
      throw error;
    }
    told(part.size);
    this.missing = this.missing.filter(({ number }) => number !== part.number);
  }
}
