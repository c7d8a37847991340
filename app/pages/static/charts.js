// Draws each chart of a page from a table of the page. Each file in charts/ adds one kind of chart to `charts`.
"use strict";

const charts = {}; // by kind: a function of a table and a width in pixels that returns options of Plot
const MIN_WIDTH = 240; // pixels; while htmx swaps a page, a figure may have width 0

const numbers = (element) =>
  Object.fromEntries(Object.entries(element.dataset).map(([name, text]) => [name, Number(text)]));
const rows = (table) => [...table.tBodies[0].rows];

// Moves labels down until none overlaps another. Each label has `left`, `right` and the top `y` in pixels, and gets a shift `dy`.
function separate(labels, LINE = 15) {
  const placed = [];
  for (const label of [...labels].sort((a, b) => a.y - b.y)) {
    let y = label.y;
    for (const other of placed)
      if (label.left < other.right && other.left < label.right && Math.abs(y - other.y) < LINE) y = other.y + LINE;
    placed.push({ ...label, y, dy: y - label.y });
    placed.sort((a, b) => a.y - b.y);
  }
  return placed;
}

function draw(figure) {
  const table = document.getElementById(figure.dataset.table);
  const width = Math.max(figure.clientWidth, MIN_WIDTH);
  const chart = Plot.plot({
    // The Content-Security-Policy allows Plot's style element by its hash, which depends on this name.
    className: "plot",
    ariaLabel: figure.dataset.label,
    style: { fontSize: "12px", overflow: "visible" },
    width,
    ...charts[figure.dataset.chart](table, width),
  });
  chart.setAttribute("role", "img");
  for (const mark of chart.querySelectorAll("g[aria-label]")) mark.setAttribute("role", "group"); // ARIA allows a label only with a role
  figure.querySelector(".plot")?.remove();
  figure.prepend(chart);
}

function show(figure) {
  figure.hidden = false;
  let width = 0;
  new ResizeObserver((_, observer) => {
    if (!figure.isConnected) observer.disconnect(); // htmx has replaced the figure and its table
    else if (figure.clientWidth !== width) {
      width = figure.clientWidth;
      draw(figure);
    }
  }).observe(figure);
}

// Charts of the page, and charts that htmx inserts later.
addEventListener("DOMContentLoaded", () => document.querySelectorAll("figure[data-chart]").forEach(show));
addEventListener("htmx:load", ({ detail }) => {
  if (detail.elt !== document.body) detail.elt.querySelectorAll("figure[data-chart]").forEach(show);
});
