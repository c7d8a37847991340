// Margin of a target by models trained without its proponents and without its opponents, against the number of removed examples.
"use strict";

charts.deletion = (table, width) => {
  const [TOP, RIGHT, BOTTOM] = [28, 84, 40]; // margins in pixels; the labels at the ends of the lines stand in the right one
  const LEAST_RANGE = 1; // of the axis of margins, so that lines of scores without effect look flat
  const { before } = numbers(table);
  const points = rows(table).map(numbers);
  const sizes = points.map(({ removed }) => removed);
  const last = points.at(-1);
  const sides = [
    { name: "proponents", colour: "var(--accent)", fill: "var(--accent)" },
    { name: "opponents", colour: "var(--ceiling)", fill: "var(--ground)" },
  ];
  const all = [before, ...points.flatMap(({ proponents, opponents }) => [proponents, opponents])];
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const space = Math.max(0.08 * (most - least), (LEAST_RANGE - (most - least)) / 2);
  const [low, high] = [least - space, most + space];
  const height = Math.max(240, Math.min(320, Math.round(width * 0.6)));
  const ends = [...sides.map(({ name, colour }) => ({ name, colour, value: last[name] })), { name: "all examples", colour: "var(--text)", value: before }];
  const lines = ends.map((end) => ({ ...end, y: ((high - end.value) / (high - low)) * (height - TOP - BOTTOM) }));
  return {
    width: Math.min(width, 640),
    height,
    marginTop: TOP,
    marginLeft: 56,
    marginRight: RIGHT,
    marginBottom: BOTTOM,
    x: { type: "log", domain: [sizes[0] / 1.25, last.removed * 1.1], label: "Removed examples, log scale", ticks: sizes, tickFormat: (size) => size.toLocaleString("en") },
    y: { domain: [low, high], label: "Margin", grid: true, ticks: 6 },
    marks: [
      Plot.ruleY([before], { stroke: "var(--text)", strokeWidth: 1.5, strokeDasharray: "4 3" }),
      ...sides.flatMap(({ name, colour, fill }) => [
        Plot.line(points, { x: "removed", y: name, stroke: colour, strokeWidth: 1.5 }),
        Plot.dot(points, { x: "removed", y: name, r: 4, fill, stroke: colour, strokeWidth: 1.5, title: (point) => `without ${point.removed} ${name}: ${point[name].toFixed(4)}` }),
      ]),
      ...nameLines(lines, height - TOP - BOTTOM),
    ],
  };
};
