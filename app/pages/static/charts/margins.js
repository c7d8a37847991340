// Histogram of the margins of a benchmark's models.
"use strict";

charts.margins = (table, width) => {
  const { mean } = numbers(table);
  const bins = rows(table).map(numbers);
  const inside = mean >= bins[0].low && mean <= bins.at(-1).high ? [mean] : [];
  return {
    height: Math.min(240, Math.round(width * 0.5)),
    marginTop: 28,
    marginBottom: 40,
    marginLeft: 64,
    x: { label: table.dataset.axis },
    y: { label: "Margins", grid: true, tickFormat: "~s" },
    marks: [
      Plot.rectY(bins, { x1: "low", x2: "high", y: "count", fill: "var(--accent)", inset: 0.5, title: ({ low, high, count }) => `${low} to ${high}: ${count}` }),
      Plot.ruleY([0], { stroke: "var(--line)" }),
      Plot.ruleX(inside, { stroke: "var(--text)", strokeDasharray: "4 3" }),
      Plot.text(inside, { x: (value) => value, text: () => "mean", frameAnchor: "top", dy: -14, fill: "var(--text)" }),
    ],
  };
};
