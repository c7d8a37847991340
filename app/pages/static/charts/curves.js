// Deletion curves: fall of the margin of several entries against the number of removed examples, and that without random examples.
"use strict";

charts.curves = (table, width) => {
  const [TOP, BOTTOM, LEFT] = [28, 40, 48]; // margins in pixels
  const COLOURS = ["var(--accent)", "#c2621b", "#2f8a4c", "#a04bb3", "#8a7a12"];
  const curves = rows(table).map(({ dataset, cells }, index) => ({
    name: dataset.method ? shortName(dataset, width < 480 ? 13 : 18) : "chance",
    points: [...cells].slice(1).map(numbers),
    style: dataset.method ? { colour: COLOURS[index], radius: 4 } : { colour: "var(--quiet)", radius: 2, dashes: "4 3" },
  }));
  const falls = curves.flatMap(({ points }) => points.map(({ fall }) => fall));
  const sizes = curves[0].points.map(({ removed }) => removed);
  const [least, most] = [Math.min(0, ...falls), Math.max(0.1, ...falls)];
  const [low, high] = [least - 0.04 * (most - least), most + 0.06 * (most - least)];
  const height = Math.max(260, Math.min(380, Math.round(width * 0.7)));
  const tall = height - TOP - BOTTOM;
  const lines = curves.map(({ name, points, style }) => {
    const value = points.at(-1).fall;
    return { name, colour: style.colour, value, y: ((high - value) / (high - low)) * tall };
  });
  return {
    height,
    marginTop: TOP,
    marginLeft: LEFT,
    marginRight: 20 + CHARACTER * Math.max(...curves.map(({ name }) => name.length)),
    marginBottom: BOTTOM,
    x: { type: "log", domain: [sizes[0] / 1.25, sizes.at(-1) * 1.1], label: "Removed examples, log scale", ticks: sizes, tickFormat: (size) => size.toLocaleString("en") },
    y: { domain: [low, high], label: "Fall of the margin", grid: true, ticks: 6 },
    marks: [
      Plot.ruleY([0], { stroke: "var(--line-strong)" }),
      ...curves.flatMap(({ name, points, style }) => [
        Plot.line(points, { x: "removed", y: "fall", stroke: style.colour, strokeWidth: 1.5, strokeDasharray: style.dashes }),
        Plot.dot(points, { x: "removed", y: "fall", r: style.radius, fill: style.colour, title: ({ removed, fall }) => `${name}: ${fall.toFixed(3)} without ${removed}` }),
      ]),
      ...nameLines(lines, tall),
    ],
  };
};
