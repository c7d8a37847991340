// Puts a button beside text to copy: pre elements with data-copy. Without it, or without a clipboard, one copies by hand.
"use strict";

const SHOWN_MS = 2000; // how long the button says that it worked

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
    setTimeout(() => { button.textContent = "Copy"; }, SHOWN_MS);
  });
  button.setAttribute("aria-live", "polite");
  pre.replaceWith(frame);
  frame.append(pre, button);
}

const addButtons = (part) => part.querySelectorAll(":not(.copyable) > pre[data-copy]").forEach(addButton);

if (navigator.clipboard) {
  addButtons(document);
  addEventListener("htmx:load", ({ detail }) => addButtons(detail.elt)); // what takes the place of something later
}
