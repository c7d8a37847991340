// LDS of a method over commits, oldest commit first, each with its 95 % interval, and the baseline.
"use strict";

charts.history = (table, width) => {
  const LABEL = 96; // pixels between labels of commits
  const { baseline } = numbers(table); // undefined without a baseline
  const known = baseline === undefined ? [] : [baseline];
  const commits = rows(table).reverse().map((row, place) => {
    const { lds, low, high } = numbers(row);
    return { place, lds, low, high, label: row.dataset.label, marked: "marked" in row.dataset, apart: "apart" in row.dataset };
  });
  const compared = commits.filter(({ apart }) => !apart);
  const apart = commits.filter((commit) => commit.apart);
  const marked = commits.filter((commit) => commit.marked);
  const colour = ({ lds }) => (lds > baseline ? "var(--good-text)" : "var(--bad-text)");
  const title = ({ label, lds, low, high }) => `${label}: ${lds.toFixed(4)} [${low.toFixed(4)}, ${high.toFixed(4)}]`;
  const fitting = Math.max(2, Math.floor((width - 72) / LABEL));
  const every = Math.ceil(commits.length / fitting);
  return {
    height: Math.max(240, Math.min(340, Math.round(width * 0.5))),
    marginTop: 28,
    marginLeft: 56,
    marginRight: 24,
    marginBottom: 44,
    x: {
      domain: [-0.5, Math.max(commits.length, 2) - 0.5],
      label: "Commit, oldest first",
      ticks: commits.filter(({ place }) => place % every === 0).map(({ place }) => place),
      tickFormat: (place) => commits[place].label,
      tickSize: 0,
    },
    y: { label: "LDS", grid: true, nice: true, inset: 6 },
    marks: [
      Plot.ruleY(known, { stroke: "var(--text)", strokeWidth: 1.5, strokeDasharray: "4 3" }),
      Plot.text(known, { y: (value) => value, text: () => "baseline", frameAnchor: "right", textAnchor: "end", dy: -8, fill: "var(--text)", stroke: "var(--ground)", strokeWidth: 4 }),
      Plot.ruleX(commits, { x: "place", y1: "low", y2: "high", stroke: "var(--accent)", strokeWidth: 2, strokeOpacity: 0.5 }),
      Plot.line(compared, { x: "place", y: "lds", stroke: "var(--accent)", strokeWidth: 1.5 }),
      Plot.dot(compared, { x: "place", y: "lds", r: 4, fill: "var(--accent)", title }),
      Plot.dot(apart, { x: "place", y: "lds", r: 4, fill: "var(--ground)", stroke: "var(--accent)", title }),
      Plot.dot(marked, { x: "place", y: "lds", r: 8, stroke: colour, strokeWidth: 2 }),
    ],
  };
};
