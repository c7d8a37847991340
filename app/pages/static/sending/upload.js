// Multipart uploads: sends several parts at a time, retries each part separately, and completes the upload.
"use strict";

const CONCURRENT_PARTS = 3;
const ATTEMPTS = 6; // per request, before the upload waits for the user to resume it
const PAUSE_SECONDS = 0.5; // before the second attempt; doubled before each further attempt
const MAX_RETRY_AFTER_SECONDS = 60; // a longer Retry-After is an error
const RETRIED_STATUSES = [500, 502, 503, 504];
const TOO_MANY_REQUESTS = 429;

// A problem object of the API.
class ApiProblem extends Error {
  constructor(problem) {
    super(problem.title);
    this.problem = problem;
  }
}

// No usable response after all attempts.
class Unreachable extends Error {}

// With `finish`, an abort does not interrupt a request that has been sent, because only its response says what it created.
function request(method, url, { token, headers = {}, body = null, signal, progress, finish = false }) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest(); // unlike fetch, it reports upload progress
    xhr.open(method, url);
    xhr.setRequestHeader("Accept", "application/json");
    if (token) xhr.setRequestHeader("Authorization", `Bearer ${token}`);
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    if (progress) xhr.upload.onprogress = ({ loaded }) => progress(loaded);
    xhr.onload = () => resolve(xhr);
    xhr.onerror = () => reject(new Unreachable("the connection was lost"));
    xhr.onabort = () => reject(signal.reason);
    signal.throwIfAborted();
    if (!finish) signal.addEventListener("abort", () => xhr.abort(), { once: true });
    xhr.send(body);
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

// Returns the JSON of the response; throws ApiProblem for an error of the API, Unreachable after the last failed attempt.
async function requestWithRetries(method, url, options) {
  let last;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt) {
      options.progress?.(0);
      await pause(Math.max(PAUSE_SECONDS * 2 ** (attempt - 1) * (0.5 + Math.random() / 2), last.retryAfter), options.signal);
    }
    try {
      const response = await request(method, url, options);
      const retryAfter = Number(response.getResponseHeader("Retry-After") ?? 0) || 0;
      const retry = RETRIED_STATUSES.includes(response.status) || (response.status === TOO_MANY_REQUESTS && retryAfter);
      if (!retry || retryAfter > MAX_RETRY_AFTER_SECONDS) return read(response);
      last = { reason: `status ${response.status}`, retryAfter };
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      last = { reason: error.message, retryAfter: 0 };
    }
  }
  throw new Unreachable(last.reason);
}

function read(response) {
  let content = null;
  try {
    content = JSON.parse(response.responseText || "null");
  } catch {
    // A proxy may have answered; the status below is enough.
  }
  if (response.status >= 200 && response.status < 300) return content;
  if (content?.code) throw new ApiProblem(content);
  throw new Unreachable(`status ${response.status}`);
}

class Upload {
  // `started` is the API's response to the start of the upload; `progress` is called with the number of bytes sent.
  constructor(file, started, progress) {
    this.file = file;
    this.started = started;
    this.progress = progress;
    this.sent = new Map(started.parts.map(({ number, received, size }) => [number, received ? size : 0]));
    this.missing = started.parts.filter(({ received }) => !received);
  }

  // Sends the missing parts, completes the upload and returns the submission. It can be called again after an abort or a failure.
  async run(signal) {
    const controller = new AbortController();
    const anySignal = AbortSignal.any([signal, controller.signal]);
    const queue = [...this.missing];
    const sendAll = async () => {
      for (let part = queue.shift(); part; part = queue.shift()) await this.send(part, anySignal);
    };
    try {
      await Promise.all(Array.from({ length: CONCURRENT_PARTS }, sendAll));
    } catch (error) {
      controller.abort(error); // the requests of the other parts
      throw error;
    }
    return requestWithRetries("POST", this.started.links.complete, { token: this.started.capability, signal });
  }

  // Cancels the upload, so that the server deletes the received parts.
  cancel() {
    return requestWithRetries("DELETE", this.started.links.parts, { token: this.started.capability, signal: new AbortController().signal });
  }

  async send(part, signal) {
    const body = this.file.slice(part.offset, part.offset + part.size);
    const report = (bytes) => {
      this.sent.set(part.number, Math.min(bytes, part.size));
      this.progress([...this.sent.values()].reduce((sum, bytes) => sum + bytes, 0));
    };
    const headers = { "Content-Type": "application/octet-stream" };
    try {
      await requestWithRetries("PUT", part.url, { token: this.started.capability, headers, body, signal, progress: report });
    } catch (error) {
      report(0);
      throw error;
    }
    report(part.size);
    this.missing = this.missing.filter(({ number }) => number !== part.number);
  }
}
