// The mean correlation of the targets of each class.
"use strict";

charts.classes = (table, width) => {
  const { mean: lds } = numbers(table);
  const classes = rows(table).map(({ dataset }) => ({ label: dataset.label, mean: Number(dataset.mean), count: dataset.count }));
  const short = (text) => (text.length > 16 ? `${text.slice(0, 15)}…` : text);
  return {
    height: 68 + 22 * classes.length,
    marginTop: 28,
    marginLeft: 20 + 7 * Math.max(...classes.map(({ label }) => short(label).length)),
    marginBottom: 40,
    x: { nice: true, inset: 6, label: "Mean correlation", grid: true, ticks: Math.max(3, Math.round(width / 110)) },
    y: { domain: classes.map(({ label }) => label), label: null, tickFormat: short, tickSize: 0 },
    marks: [
      Plot.ruleX([lds], { stroke: "var(--text)", strokeWidth: 1.5, strokeDasharray: "4 3" }),
      Plot.text([lds], { x: (value) => value, text: () => "LDS", frameAnchor: "top", dy: -14, fill: "var(--text)" }),
      Plot.dot(classes, { x: "mean", y: "label", r: 5, fill: "var(--accent)", title: ({ label, mean, count }) => `${label}: ${mean}, targets: ${count}` }),
    ],
  };
};
