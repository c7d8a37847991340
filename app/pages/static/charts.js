// Draws the charts, each from the table that stands under it.
"use strict";

const LONGEST = 40; // entries in a chart; the table has them all
const NARROWEST = 240; // pixels; a page on its way in or out may have none
const CHARACTER = 6.6; // pixels, at the font size of charts

const numbers = (element) =>
  Object.fromEntries(Object.entries(element.dataset).map(([name, text]) => [name, Number(text)]));
const rows = (table) => [...table.tBodies[0].rows];

function board(table, width) {
  const { ceiling, ceilingError, unrelated, shared } = numbers(table); // without a ceiling, where subsets have one run
  const known = ceiling === undefined ? [] : [ceiling];
  const shown = rows(table).slice(0, LONGEST);
  const methods = shown.map((row) => row.dataset.method);
  const entries = shown.map((row) => {
    const { id, method, owner } = row.dataset;
    const alone = methods.filter((other) => other === method).length === 1;
    const label = alone ? method : `${method} · ${owner}`;
    const { lds, low, high } = numbers(row);
    return { id, label, lds, low, high };
  });
  const labels = new Map(entries.map(({ id, label }) => [id, label]));
  const longest = Math.max(...entries.map(({ label }) => label.length));
  const marginLeft = Math.min(Math.ceil(longest * CHARACTER) + 16, Math.round(width * 0.36));
  const fitting = Math.floor((marginLeft - 16) / CHARACTER);
  const short = (label) => (label.length > fitting ? `${label.slice(0, fitting - 1)}…` : label);
  const band = Math.max(unrelated, shared);
  const low = Math.min(-band, ...entries.map((entry) => entry.low));
  const high = Math.max(band, ...known.map((value) => value + ceilingError), ...entries.map((entry) => entry.high));
  return {
    height: entries.length * 26 + 76,
    marginLeft,
    marginTop: 28,
    marginRight: 16,
    marginBottom: 40,
    x: { domain: [low - 0.02, high + 0.02], label: "LDS", grid: true },
    y: { domain: entries.map(({ id }) => id), label: null, tickSize: 0, tickFormat: (id) => short(labels.get(id)) },
    marks: [
      Plot.rectX([{}], { x1: -shared, x2: shared, fill: "var(--chance)", fillOpacity: 0.5 }),
      Plot.rectX([{}], { x1: -unrelated, x2: unrelated, fill: "var(--chance)" }),
      Plot.ruleX([0], { stroke: "var(--line)" }),
      Plot.rectX(known, { x1: (value) => value - ceilingError, x2: (value) => value + ceilingError, fill: "var(--ceiling)", fillOpacity: 0.25 }),
      Plot.ruleX(known, { stroke: "var(--ceiling)", strokeWidth: 1.5, strokeDasharray: "4 3" }),
      Plot.text(known, { x: (value) => value, text: () => "ceiling", frameAnchor: "top", textAnchor: "end", dx: -4, dy: -14, fill: "var(--ceiling)" }),
      Plot.text([0], { x: (value) => value, text: () => "chance", frameAnchor: "top", dy: -14, fill: "var(--quiet)" }),
      Plot.ruleY(entries, { y: "id", x1: "low", x2: "high", stroke: "var(--accent)", strokeWidth: 2 }),
      Plot.dot(entries, {
        y: "id",
        x: "lds",
        r: 4,
        fill: "var(--accent)",
        title: ({ label, lds, low, high }) => `${label}: ${lds.toFixed(4)} [${low.toFixed(4)}, ${high.toFixed(4)}]`,
      }),
    ],
  };
}

function histogram(table, width) {
  const { mean } = numbers(table);
  const bins = rows(table).map(numbers);
  return {
    height: Math.min(260, Math.round(width * 0.5)),
    marginTop: 28,
    marginBottom: 40,
    x: { domain: [-1, 1], label: "Correlation" },
    y: { label: "Targets", grid: true },
    marks: [
      Plot.rectY(bins, { x1: "low", x2: "high", y: "count", fill: "var(--accent)", inset: 0.5, title: ({ low, high, count }) => `${low} to ${high}: ${count}` }),
      Plot.ruleY([0], { stroke: "var(--line)" }),
      Plot.ruleX([mean], { stroke: "var(--text)", strokeDasharray: "4 3" }),
      Plot.text([mean], { x: (value) => value, text: () => "LDS", frameAnchor: "top", dy: -14, fill: "var(--text)" }),
    ],
  };
}

const KINDS = { board, histogram };

function draw(figure) {
  const table = document.getElementById(figure.dataset.table);
  const width = Math.max(figure.clientWidth, NARROWEST);
  const chart = Plot.plot({
    // The policy of the page allows Plot's style element by its hash, which depends on this name.
    className: "plot",
    ariaLabel: figure.dataset.label,
    style: { fontSize: "12px", overflow: "visible" },
    width,
    ...KINDS[figure.dataset.chart](table, width),
  });
  chart.setAttribute("role", "img");
  figure.querySelector(".plot")?.remove();
  figure.prepend(chart);
}

for (const figure of document.querySelectorAll("figure[data-chart]")) {
  figure.hidden = false;
  let width = 0;
  new ResizeObserver(() => {
    if (figure.clientWidth !== width) {
      width = figure.clientWidth;
      draw(figure);
    }
  }).observe(figure);
}
