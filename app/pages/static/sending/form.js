// The form that sends a score file: checked, hashed, sent in parts, and then the submission's page.
"use strict";

const HEADER_BYTES = 64 * 1024; // that the server checks

addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("sending");
  const { benchmark } = form.dataset;
  let checking = new AbortController();
  const part = (name) => form.querySelector(`[data-part=${name}]`);
  const [seen, told, refused, going, bar, amount] = ["seen", "told", "refused", "going", "bar", "amount"].map(part);
  const [submit, hold, goOn, cancel] = ["submit", "hold", "go-on", "cancel"].map(part);
  const field = (name) => form.elements[name];
  let running = null; // what is on its way: {controller, upload, edit}

  const say = (text) => (told.textContent = text);
  const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 1);

  function showProgress(done, size) {
    bar.value = size ? done / size : 0;
    amount.textContent = `${megabytes(done)} of ${megabytes(size)} MB`;
  }

  // Shows a problem where what has it is: at the file, or above what was pressed.
  function showRefused(problem, place) {
    if (place === seen) seen.after(refused);
    else going.before(refused);
    for (const name of ["title", "detail", "hint", "code"]) {
      refused.querySelector(`[data-word=${name}]`).textContent = problem[name] ?? "";
    }
    refused.hidden = false;
    refused.scrollIntoView({ block: "nearest" });
    place.textContent = "";
  }

  // Shows the buttons of a state: "idle", "busy", "sending" or "held".
  function show(state) {
    form.querySelectorAll("fieldset[data-part=fields]").forEach((fields) => (fields.disabled = state !== "idle"));
    const shown = { idle: [submit], busy: [cancel], sending: [hold, cancel], held: [goOn, cancel] }[state];
    const focused = [submit, hold, goOn, cancel].includes(document.activeElement);
    for (const button of [submit, hold, goOn, cancel]) button.hidden = !shown.includes(button);
    going.hidden = state === "idle";
    if (focused) shown[0].focus(); // the button that had it may be gone
  }

  // Sends the first bytes of the chosen file to the server, and shows what it says of them.
  async function check() {
    refused.hidden = true;
    seen.textContent = "";
    checking.abort();
    checking = new AbortController(); // an answer about a file chosen before is not shown
    const { signal } = checking;
    const [file] = field("file").files;
    if (!file) return false;
    try {
      const body = file.slice(0, HEADER_BYTES);
      const { dtype, shape } = await repeated("POST", `/api/v1/benchmarks/${benchmark}/check?size=${file.size}`, { body, signal });
      seen.textContent = `${file.name} holds ${dtype} scores of shape (${shape.join(", ")}): it fits.`;
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      if (error instanceof Refused) showRefused(error.problem, seen);
      else seen.textContent = `${file.name} could not be checked: ${error.message}`;
      return false;
    }
  }

  function hashed(file, signal) {
    const worker = new Worker(form.dataset.worker);
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      worker.onerror = () => reject(new Error("the browser could not compute its SHA-256"));
      worker.onmessage = ({ data }) => {
        if (data.sha256) resolve(data.sha256);
        else if (data.failed) reject(new Error(data.failed));
        else showProgress(data.done, file.size);
      };
      worker.postMessage({ library: form.dataset.library, file });
    }).finally(() => worker.terminate());
  }

  // The owner's token for this one upload: asked for by who is signed in, else as it was typed.
  async function token(signal) {
    if (field("token")) return field("token").value.trim();
    const body = new URLSearchParams({ form: field("form").value });
    const { token } = await repeated("POST", form.dataset.tokens, { body, signal });
    return token;
  }

  function announced(file, sha256) {
    const value = (name) => field(name).value.trim();
    const cost = {};
    if (value("seconds")) cost.seconds = Number(value("seconds"));
    if (value("device")) cost.device = value("device");
    if (value("models")) cost.models = Number(value("models"));
    const said = Object.fromEntries(["method", "kind", "visibility", "title", "description"].map((name) => [name, value(name)]));
    const tags = value("tags").split(/\s+/).filter(Boolean);
    return { benchmark, ...said, tags, cost, size: file.size, sha256 };
  }

  async function start(file, signal) {
    say("Computing the file's SHA-256.");
    const sha256 = await hashed(file, signal);
    const bearer = await token(signal);
    const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16)).join("-");
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
    const body = JSON.stringify(announced(file, sha256));
    const started = await repeated("POST", "/api/v1/submissions", { token: bearer, headers, body, signal, whole: true });
    return new Upload(file, started, (sent) => showProgress(sent, file.size));
  }

  async function run() {
    const { file } = running;
    const controller = (running.controller = new AbortController());
    refused.hidden = true;
    try {
      show("busy");
      running.upload ??= await start(file, controller.signal);
      show("sending");
      say("Sending the file.");
      const submission = await running.upload.run(controller.signal);
      say("It has arrived.");
      location.assign(submission.links.page);
    } catch (error) {
      ended(error);
    }
  }

  function ended(error) {
    if (error === "held") {
      show("held");
      say("Paused. What has arrived is kept.");
    } else if (error instanceof Unreachable && running.upload) {
      show("held");
      say(`It does not go on: ${error.message}. What has arrived is kept; go on when the connection is back.`);
    } else {
      const { upload } = running;
      running = null;
      show("idle");
      if (error === "cancelled") {
        cancelled(upload);
        return;
      }
      upload?.giveUp().catch(() => {}); // the server may have given it up already; else it does when its time is over
      if (error instanceof Refused) showRefused(error.problem, told);
      else say(`It was not sent: ${error.message}.`);
    }
  }

  async function cancelled(upload) {
    try {
      await upload?.giveUp();
      say("Cancelled. Nothing is kept of it, and it has cost nothing.");
    } catch {
      say("Cancelled. The server could not be told; it throws away what has arrived when the time of the upload is over.");
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running || !(await check())) return;
    running = { file: field("file").files[0], upload: null, controller: null };
    run();
  });
  // A field that is folded away could not show what is wrong with it.
  form.addEventListener("invalid", ({ target }) => target.closest("details")?.setAttribute("open", ""), true);
  field("file").addEventListener("change", check);
  hold.addEventListener("click", () => running.controller.abort("held"));
  goOn.addEventListener("click", run);
  cancel.addEventListener("click", () => {
    running.controller.abort("cancelled");
    say("Cancelling.");
    if (!goOn.hidden) ended("cancelled"); // nothing runs that could end
  });
  addEventListener("beforeunload", (event) => {
    if (running && goOn.hidden && running.upload?.missing.length) event.preventDefault(); // asks whether to leave
  });
  show("idle");
  form.hidden = false;
  document.getElementById("without").hidden = true;
});
