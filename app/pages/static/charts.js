// Draws each chart of a page from a table of the page. Each file in charts/ adds one kind of chart to `charts`.
"use strict";

const charts = {}; // by kind: a function of a table and a width in pixels that returns options of Plot
const MIN_WIDTH = 240; // pixels; while htmx swaps a page, a figure may have width 0

const numbers = (element) =>
  Object.fromEntries(Object.entries(element.dataset).map(([name, text]) => [name, Number(text)]));
const rows = (table) => [...table.tBodies[0].rows];

const CHARACTER = 7; // pixels, at most the mean width at the font size of charts
const LINE = 16; // height of a label in pixels

// The name of an entry, at most `most` characters long.
const shortName = ({ method, owner }, most = 18) => {
  const name = method === "withheld" ? owner : method;
  return name.length > most ? `${name.slice(0, most - 1)}…` : name;
};

// Returns marks that name dots. A label stands at the upper right of its dot, or at another side if that space is taken; a dot without
// free space gets none. The first dots are placed first. Each has an `entry`, whose `x` and `y` are the named channels, and the
// position in pixels within a frame of this width.
function nameDots(dots, frame, channels) {
  const sides = [-9, 9, -LINE - 9, LINE + 9].flatMap((dy) => [{ textAnchor: "start", dx: 8, dy }, { textAnchor: "end", dx: -8, dy }]);
  const beside = ({ entry, x, y }, side) => {
    const long = shortName(entry).length * CHARACTER;
    const [start, end] = side.textAnchor === "start" ? [x + 8, x + 8 + long] : [x - 8 - long, x - 8];
    return { entry, ...side, start, end, y: y + side.dy };
  };
  const isFree = (box, kept) =>
    box.start >= 0 &&
    box.end <= frame &&
    kept.every((other) => Math.abs(other.y - box.y) >= LINE || box.end <= other.start || other.end <= box.start) &&
    dots.every(({ entry, x, y }) => entry === box.entry || Math.abs(y - box.y) > LINE - 4 || x < box.start - 5 || x > box.end + 5);
  const placed = dots.reduce((kept, dot) => {
    const box = sides.map((side) => beside(dot, side)).find((candidate) => isFree(candidate, kept));
    return box ? [...kept, box] : kept;
  }, []);
  return placed.map(({ entry, textAnchor, dx, dy }) =>
    Plot.text([entry], { ...channels, text: (each) => shortName(each), textAnchor, dx, dy, fill: "var(--text)", stroke: "var(--ground)", strokeWidth: 4 }),
  );
}

// Returns marks with the names of lines at their right ends. Each line has a `name`, a `colour`, a `value` and the position `y` of its
// end in pixels. Names that would overlap are moved apart, and all end above `height`.
function nameLines(lines, height) {
  const sorted = [...lines].sort((a, b) => a.y - b.y);
  const below = sorted.reduce((kept, { y }) => [...kept, Math.max(y, (kept.at(-1) ?? -LINE) + LINE)], []);
  const places = below.reduceRight((kept, y) => [Math.min(y, (kept[0] ?? height + LINE) - LINE), ...kept], []);
  return sorted.map(({ name, colour, value, y }, i) =>
    Plot.text([value], { y: (end) => end, text: () => name, frameAnchor: "right", textAnchor: "start", dx: 8, dy: places[i] - y, fill: colour }),
  );
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
