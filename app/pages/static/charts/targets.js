// Scatter plot of the correlations of each target in two submissions, with the diagonal where they are equal.
"use strict";

charts.targets = (table, width) => {
  const points = rows(table).map((row) => ({ target: row.cells[0].textContent, ...numbers(row) }));
  const all = points.flatMap(({ a, b }) => [a, b]);
  const low = Math.min(...all) - 0.02;
  const high = Math.max(...all) + 0.02;
  const side = Math.min(width, 520);
  const MAX_LABEL = 32; // characters of a method on an axis
  const short = (text) => (text.length > MAX_LABEL ? `${text.slice(0, MAX_LABEL - 1)}…` : text);
  return {
    width: side,
    height: side,
    marginLeft: 48,
    marginTop: 28,
    marginBottom: 40,
    x: { domain: [low, high], label: short(table.dataset.a), grid: true, ticks: 6 },
    y: { domain: [low, high], label: short(table.dataset.b), grid: true, ticks: 6 },
    marks: [
      Plot.line([[low, low], [high, high]], { stroke: "var(--text)", strokeDasharray: "4 3" }),
      Plot.dot(points, {
        x: "a",
        y: "b",
        r: 2.5,
        fill: "var(--accent)",
        fillOpacity: 0.55,
        title: ({ target, a, b }) => `target ${target}: ${a} and ${b}`,
      }),
    ],
  };
};
