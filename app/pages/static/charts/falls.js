// Scatter plot of LDS and fall, with the 95 % intervals of both.
"use strict";

charts.falls = (table, width) => {
  const CHARACTER = 6.6; // pixels, at the font size of charts
  const MAX_LABEL = 18; // characters of a label
  const [TOP, BOTTOM] = [28, 40]; // margins in pixels
  const entries = rows(table)
    .filter((row) => row.dataset.fall)
    .map((row) => ({
      name: row.dataset.method === "withheld" ? row.dataset.owner : row.dataset.method,
      ...Object.fromEntries(["lds", "low", "high", "fall", "fallLow", "fallHigh"].map((name) => [name, Number(row.dataset[name])])),
    }));
  const short = ({ name }) => (name.length > MAX_LABEL ? `${name.slice(0, MAX_LABEL - 1)}…` : name);
  const [left, right] = [Math.min(0, ...entries.map(({ low }) => low)), Math.max(...entries.map(({ high }) => high))];
  const [low, high] = [Math.min(0, ...entries.map(({ fallLow }) => fallLow)), Math.max(0.1, ...entries.map(({ fallHigh }) => fallHigh))];
  const height = Math.max(260, Math.min(380, Math.round(width * 0.7)));
  const at = ({ lds }) => ((lds - left) / (1.1 * (right - left))) * (width - 64); // pixels from the left end
  const [bottom, top] = [low - 0.04 * (high - low), high + 0.08 * (high - low)];
  const labels = separate(
    entries.map((entry) => {
      const length = short(entry).length * CHARACTER;
      const before = at(entry) + length > width - 80; // the label stands to the left of its dot
      const end = before ? at(entry) - 8 : at(entry) + 8 + length;
      return { entry, before, left: end - length, right: end, y: ((top - entry.fall) / (top - bottom)) * (height - TOP - BOTTOM) };
    }),
  );
  return {
    height,
    marginLeft: 48,
    marginTop: TOP,
    marginRight: 16,
    marginBottom: BOTTOM,
    x: { domain: [left - 0.05 * (right - left), right + 0.05 * (right - left)], label: "LDS", grid: true, ticks: 6 },
    y: { domain: [bottom, top], label: "Fall of the margin", grid: true, ticks: 6 },
    marks: [
      Plot.ruleY([0], { stroke: "var(--line-strong)" }),
      Plot.ruleX(entries, { x: "lds", y1: "fallLow", y2: "fallHigh", stroke: "var(--accent)", strokeWidth: 1.5 }),
      Plot.ruleY(entries, { y: "fall", x1: "low", x2: "high", stroke: "var(--accent)", strokeWidth: 1.5 }),
      Plot.dot(entries, { x: "lds", y: "fall", r: 4, fill: "var(--accent)", stroke: "var(--accent)", title: (entry) => `${entry.name}: LDS ${entry.lds.toFixed(4)}, fall ${entry.fall.toFixed(3)}` }),
      ...labels.map(({ entry, before, dy }) => Plot.text([entry], { x: "lds", y: "fall", text: short, textAnchor: before ? "end" : "start", dx: before ? -8 : 8, dy: dy - 9, fill: "var(--text)", stroke: "var(--ground)", strokeWidth: 4 })),
    ],
  };
};
