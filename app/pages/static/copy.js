// Makes pre elements with data-copy reachable by keyboard, so that a wide one can be scrolled, and adds a Copy button if the browser
// has the clipboard API.
"use strict";

const CONFIRMATION_MS = 2000; // how long the button shows "Copied"

function addButton(pre) {
  const frame = document.createElement("div");
  const button = document.createElement("button");
  frame.className = "copyable";
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(pre.innerText);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, CONFIRMATION_MS);
  });
  button.setAttribute("aria-live", "polite");
  pre.replaceWith(frame);
  frame.append(pre, button);
}

function prepare(part) {
  part.querySelectorAll("pre[data-copy]").forEach((pre) => { pre.tabIndex = 0; });
  if (navigator.clipboard) part.querySelectorAll(":not(.copyable) > pre[data-copy]").forEach(addButton);
}

prepare(document);
addEventListener("htmx:load", ({ detail }) => prepare(detail.elt)); // content that htmx inserts later
