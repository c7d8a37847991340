// Predicted against actual margins of one target: a point for each subset.
"use strict";

charts.scatter = (table, width) => {
  const points = rows(table).map(numbers);
  return {
    width: Math.min(width, 560),
    height: Math.min(420, Math.round(Math.min(width, 560) * 0.75)),
    marginLeft: 56,
    marginTop: 28,
    marginBottom: 40,
    x: { label: "Predicted: sum of scores", ticks: Math.max(3, Math.round(width / 110)), grid: true },
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
