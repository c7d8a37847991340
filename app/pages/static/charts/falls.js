// Scatter plot of LDS and fall, with the 95 % intervals of both.
"use strict";

charts.falls = (table, width) => {
  const [TOP, RIGHT, BOTTOM, LEFT] = [28, 16, 40, 48]; // margins in pixels
  const entries = rows(table)
    .filter((row) => row.dataset.fall)
    .map((row) => ({ ...numbers(row), method: row.dataset.method, owner: row.dataset.owner }));
  const [least, most] = [Math.min(0, ...entries.map(({ low }) => low)), Math.max(...entries.map(({ high }) => high))];
  const [low, high] = [Math.min(0, ...entries.map(({ fallLow }) => fallLow)), Math.max(0.1, ...entries.map(({ fallHigh }) => fallHigh))];
  const [left, right] = [least - 0.05 * (most - least), most + 0.05 * (most - least)];
  const [bottom, top] = [low - 0.04 * (high - low), high + 0.08 * (high - low)];
  const height = Math.max(260, Math.min(380, Math.round(width * 0.7)));
  const inner = width - LEFT - RIGHT;
  const dots = entries.map((entry) => ({
    entry,
    x: ((entry.lds - left) / (right - left)) * inner,
    y: ((top - entry.fall) / (top - bottom)) * (height - TOP - BOTTOM),
  }));
  return {
    height,
    marginLeft: LEFT,
    marginTop: TOP,
    marginRight: RIGHT,
    marginBottom: BOTTOM,
    x: { domain: [left, right], label: "LDS", grid: true, ticks: 6 },
    y: { domain: [bottom, top], label: "Fall of the margin", grid: true, ticks: 6 },
    marks: [
      Plot.ruleY([0], { stroke: "var(--line-strong)" }),
      Plot.ruleX(entries, { x: "lds", y1: "fallLow", y2: "fallHigh", stroke: "var(--accent)", strokeWidth: 1.5 }),
      Plot.ruleY(entries, { y: "fall", x1: "low", x2: "high", stroke: "var(--accent)", strokeWidth: 1.5 }),
      ...nameDots(dots, inner, { x: "lds", y: "fall" }),
      Plot.dot(entries, { x: "lds", y: "fall", r: 4, fill: "var(--accent)", stroke: "var(--accent)", title: (entry) => `${shortName(entry, Infinity)}: LDS ${entry.lds.toFixed(4)}, fall ${entry.fall.toFixed(3)}` }),
    ],
  };
};
