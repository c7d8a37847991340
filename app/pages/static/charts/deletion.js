// Margin of a target by models trained without its proponents and without its opponents, against the number of removed examples.
"use strict";

charts.deletion = (table, width) => {
  const [LINE, RIGHT] = [16, 84]; // pixels: height of a label, and space for the labels at the ends of the lines
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
  const ends = [...sides.map(({ name, colour }) => ({ name, colour, value: last[name] })), { name: "all examples", colour: "var(--text)", value: before }].sort((a, b) => b.value - a.value);
  // Places the labels at the ends of the lines from the highest to the lowest, with a shift where they would overlap.
  const places = ends.map(({ value }) => ((high - value) / (high - low)) * (height - 28 - 40));
  const apart = places.reduce((kept, place) => [...kept, Math.max(place, (kept.at(-1) ?? -LINE) + LINE)], []);
  const labels = ends.map((end, i) => ({ ...end, dy: apart[i] - places[i] }));
  const shift = d3.mean(labels, ({ dy }) => dy) / 2;
  return {
    width: Math.min(width, 640),
    height,
    marginTop: 28,
    marginLeft: 56,
    marginRight: RIGHT,
    marginBottom: 40,
    x: { type: "log", domain: [sizes[0] / 1.25, last.removed * 1.1], label: "Removed examples, log scale", ticks: sizes, tickFormat: (size) => size.toLocaleString("en") },
    y: { domain: [low, high], label: "Margin", grid: true, ticks: 6 },
    marks: [
      Plot.ruleY([before], { stroke: "var(--text)", strokeWidth: 1.5, strokeDasharray: "4 3" }),
      ...sides.flatMap(({ name, colour, fill }) => [
        Plot.line(points, { x: "removed", y: name, stroke: colour, strokeWidth: 1.5 }),
        Plot.dot(points, { x: "removed", y: name, r: 4, fill, stroke: colour, strokeWidth: 1.5, title: (point) => `without ${point.removed} ${name}: ${point[name].toFixed(4)}` }),
      ]),
      ...labels.map(({ name, colour, value, dy }) => Plot.text([value], { y: (end) => end, text: () => name, frameAnchor: "right", textAnchor: "start", dx: 6, dy: dy - shift, fill: colour })),
    ],
  };
};
