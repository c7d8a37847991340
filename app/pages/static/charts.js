// Draws the charts, each from the table that stands under it. A kind of chart is a file in charts/, which adds itself here.
"use strict";

const charts = {}; // by kind: a function of the table and the width in pixels that returns Plot's options
const NARROWEST = 240; // pixels; a page on its way in or out may have none

const numbers = (element) =>
  Object.fromEntries(Object.entries(element.dataset).map(([name, text]) => [name, Number(text)]));
const rows = (table) => [...table.tBodies[0].rows];

function draw(figure) {
  const table = document.getElementById(figure.dataset.table);
  const width = Math.max(figure.clientWidth, NARROWEST);
  const chart = Plot.plot({
    // The policy of the page allows Plot's style element by its hash, which depends on this name.
    className: "plot",
    ariaLabel: figure.dataset.label,
    style: { fontSize: "12px", overflow: "visible" },
    width,
    ...charts[figure.dataset.chart](table, width),
  });
  chart.setAttribute("role", "img");
  for (const mark of chart.querySelectorAll("g[aria-label]")) mark.setAttribute("role", "group"); // only with a role may it have a label
  figure.querySelector(".plot")?.remove();
  figure.prepend(chart);
}

function show(figure) {
  figure.hidden = false;
  let width = 0;
  new ResizeObserver((_, observer) => {
    if (!figure.isConnected) observer.disconnect(); // something took its place, and that of its table
    else if (figure.clientWidth !== width) {
      width = figure.clientWidth;
      draw(figure);
    }
  }).observe(figure);
}

// What the page has when it is read, and what takes the place of something in it later.
addEventListener("DOMContentLoaded", () => document.querySelectorAll("figure[data-chart]").forEach(show));
addEventListener("htmx:load", ({ detail }) => {
  if (detail.elt !== document.body) detail.elt.querySelectorAll("figure[data-chart]").forEach(show);
});
