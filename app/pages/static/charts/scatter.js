// Scatter plot of predicted and actual margins of one target: one point per subset.
"use strict";

charts.scatter = (table, width) => {
  const TICK = 90; // pixels between ticks, enough for six digits
  const points = rows(table).map(numbers);
  const across = Math.min(width, 560);
  return {
    width: across,
    height: Math.round(across * 0.75),
    marginLeft: 56,
    marginTop: 28,
    marginBottom: 40,
    x: { label: "Predicted: sum of scores", ticks: Math.round(across / TICK), grid: true },
    y: { label: "Actual margin", grid: true },
    marks: [
      Plot.dot(points, {
        x: "predicted",
        y: "actual",
        r: 3,
        fill: "var(--accent)",
        fillOpacity: 0.65,
        title: ({ predicted, actual }) => `predicted ${predicted}, actual ${actual}`,
      }),
    ],
  };
};
