// The submission form: checks and hashes a score file, uploads it in parts, then opens the page of the submission.
"use strict";

const HEADER_BYTES = 64 * 1024; // the part of a file that the server checks before the upload

addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("sending");
  const { benchmark } = form.dataset;
  let checking = new AbortController();
  const part = (name) => form.querySelector(`[data-part=${name}]`);
  const [fileMessage, message, errorBox, progressBox, bar, amount] = ["file-message", "message", "error", "progress", "bar", "amount"].map(part);
  const [submit, pauseButton, resume, cancel] = ["submit", "pause", "resume", "cancel"].map(part);
  const field = (name) => form.elements[name];
  let running = null; // the current submission: {file, upload, controller}

  const say = (text) => (message.textContent = text);
  const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 1);

  function showProgress(done, size) {
    bar.value = size ? done / size : 0;
    amount.textContent = `${megabytes(done)} of ${megabytes(size)} MB`;
  }

  // Shows a problem below the file field (`place` is fileMessage) or above the buttons.
  function showProblem(problem, place) {
    if (place === fileMessage) fileMessage.after(errorBox);
    else progressBox.before(errorBox);
    for (const name of ["title", "detail", "hint", "code"]) {
      errorBox.querySelector(`[data-word=${name}]`).textContent = problem[name] ?? "";
    }
    errorBox.hidden = false;
    errorBox.scrollIntoView({ block: "nearest" });
    place.textContent = "";
  }

  // Shows the buttons of a state: "idle", "busy", "sending" or "paused".
  function show(state) {
    form.querySelectorAll("fieldset[data-part=fields]").forEach((fields) => (fields.disabled = state !== "idle"));
    const shown = { idle: [submit], busy: [cancel], sending: [pauseButton, cancel], paused: [resume, cancel] }[state];
    const focused = [submit, pauseButton, resume, cancel].includes(document.activeElement);
    for (const button of [submit, pauseButton, resume, cancel]) button.hidden = !shown.includes(button);
    progressBox.hidden = state === "idle";
    if (focused) shown[0].focus(); // the focused button may be hidden now
  }

  // Sends the first bytes of the chosen file to the server and shows the result of its check.
  async function check() {
    errorBox.hidden = true;
    fileMessage.textContent = "";
    checking.abort();
    checking = new AbortController(); // ignores the answer for a previously chosen file
    const { signal } = checking;
    const [file] = field("file").files;
    if (!file) return false;
    try {
      const body = file.slice(0, HEADER_BYTES);
      const { dtype, shape, transposed } = await requestWithRetries("POST", `/api/v1/benchmarks/${benchmark}/check?size=${file.size}`, { body, signal });
      const fits = transposed ? "it fits after the server transposes it, since its rows are targets" : "it fits";
      const held = transposed ? [...shape].reverse() : shape;
      fileMessage.textContent = `${file.name} holds ${dtype} scores of shape (${held.join(", ")}): ${fits}.`;
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      if (error instanceof ApiProblem) showProblem(error.problem, fileMessage);
      else fileMessage.textContent = `${file.name} could not be checked: ${error.message}`;
      return false;
    }
  }

  function computeSha256(file, signal) {
    const worker = new Worker(form.dataset.worker);
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      worker.onerror = () => reject(new Error("the browser could not compute the SHA-256 of the file"));
      worker.onmessage = ({ data }) => {
        if (data.sha256) resolve(data.sha256);
        else if (data.failed) reject(new Error(data.failed));
        else showProgress(data.done, file.size);
      };
      worker.postMessage({ library: form.dataset.library, file });
    }).finally(() => worker.terminate());
  }

  // Returns the entered token, or for signed-in users a new token for this upload.
  async function token(signal) {
    if (field("token")) return field("token").value.trim();
    const body = new URLSearchParams({ form: field("form").value });
    const { token } = await requestWithRetries("POST", form.dataset.tokens, { body, signal });
    return token;
  }

  function submissionFields(file, sha256) {
    const value = (name) => field(name).value.trim();
    const cost = {};
    if (value("seconds")) cost.seconds = Number(value("seconds"));
    if (value("device")) cost.device = value("device");
    if (value("models")) cost.models = Number(value("models"));
    const texts = Object.fromEntries(["method", "kind", "visibility", "title", "description"].map((name) => [name, value(name)]));
    const tags = value("tags").split(/\s+/).filter(Boolean);
    const optional = Object.fromEntries(["paper", "code", "replicate_of"].filter(value).map((name) => [name, value(name)]));
    const declared = field("uses_subsets")?.checked ? { uses_subsets: true } : {}; // only forms of practice boards have this field
    return { benchmark, ...texts, ...declared, ...optional, tags, cost, size: file.size, sha256 };
  }

  async function start(file, signal) {
    say("Computing the file's SHA-256.");
    const sha256 = await computeSha256(file, signal);
    const bearer = await token(signal);
    const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16)).join("-");
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
    const body = JSON.stringify(submissionFields(file, sha256));
    const started = await requestWithRetries("POST", "/api/v1/submissions", { token: bearer, headers, body, signal, finish: true });
    return new Upload(file, started, (sent) => showProgress(sent, file.size));
  }

  async function run() {
    const { file } = running;
    const controller = (running.controller = new AbortController());
    errorBox.hidden = true;
    try {
      show("busy");
      running.upload ??= await start(file, controller.signal);
      show("sending");
      say("Uploading the file.");
      const submission = await running.upload.run(controller.signal);
      say("Upload complete.");
      location.assign(submission.links.page);
    } catch (error) {
      handleError(error);
    }
  }

  function handleError(error) {
    if (error === "paused") {
      show("paused");
      say("Paused. The server keeps the parts it has received.");
    } else if (error instanceof Unreachable && running.upload) {
      show("paused");
      say(`Upload interrupted: ${error.message}. The server keeps the parts it has received; resume when the connection is back.`);
    } else {
      const { upload } = running;
      running = null;
      show("idle");
      if (error === "cancelled") {
        cancelUpload(upload);
        return;
      }
      upload?.cancel().catch(() => {}); // if this fails, the upload has ended already or will expire
      if (error instanceof ApiProblem) showProblem(error.problem, message);
      else say(`The file was not submitted: ${error.message}.`);
    }
  }

  async function cancelUpload(upload) {
    try {
      await upload?.cancel();
      say("Cancelled. Nothing was kept, and it does not count as an attempt.");
    } catch {
      say("Cancelled. The server could not be reached; it will delete the received parts when the upload expires.");
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running || !(await check())) return;
    running = { file: field("file").files[0], upload: null, controller: null };
    run();
  });
  // Opens the details element of an invalid field, because a hidden field cannot show its error.
  form.addEventListener("invalid", ({ target }) => target.closest("details")?.setAttribute("open", ""), true);
  field("file").addEventListener("change", check);
  pauseButton.addEventListener("click", () => running.controller.abort("paused"));
  resume.addEventListener("click", run);
  cancel.addEventListener("click", () => {
    running.controller.abort("cancelled");
    say("Cancelling.");
    if (!resume.hidden) handleError("cancelled"); // a paused upload has no running request that would call this
  });
  addEventListener("beforeunload", (event) => {
    if (running && resume.hidden && running.upload?.missing.length) event.preventDefault(); // the browser asks before leaving the page
  });
  show("idle");
  form.hidden = false;
  document.getElementById("without").hidden = true;
});
