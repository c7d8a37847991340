// Histogram of the correlation of each target.
"use strict";

charts.histogram = (table, width) => {
  const { mean } = numbers(table);
  const bins = rows(table).map(numbers);
  return {
    height: Math.min(260, Math.round(width * 0.5)),
    marginTop: 28,
    marginBottom: 40,
    x: { domain: [Math.min(0, ...bins.map(({ low }) => low)), 1], label: "Correlation" },
    y: { label: "Targets", grid: true },
    marks: [
      Plot.rectY(bins, { x1: "low", x2: "high", y: "count", fill: "var(--accent)", fillOpacity: 0.75, inset: 0.5, title: ({ low, high, count }) => `${low} to ${high}: ${count}` }),
      Plot.ruleY([0], { stroke: "var(--line)" }),
      Plot.ruleX([mean], { stroke: "var(--text)", strokeWidth: 1.5, strokeDasharray: "4 3" }),
      Plot.text([mean], { x: (value) => value, text: () => "LDS", frameAnchor: "top", dy: -14, fill: "var(--text)" }),
    ],
  };
};
