// Deletion curves: fall of the margin of several entries against the number of removed examples, and that without random examples.
"use strict";

charts.curves = (table, width) => {
  const CHARACTER = 6.6; // pixels, at the font size of charts
  const [TOP, BOTTOM] = [28, 40]; // margins in pixels
  const most = width < 480 ? 12 : 18; // characters of a label
  const colours = ["var(--accent)", "#c2621b", "#2f8a4c", "#a04bb3", "#8a7a12"];
  const curves = rows(table).map((row, index, all) => ({
    name: row.dataset.name,
    points: [...row.cells].slice(1).map(numbers),
    random: index === all.length - 1,
    colour: index === all.length - 1 ? "var(--quiet)" : colours[index],
  }));
  const short = ({ name }) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);
  const falls = curves.flatMap(({ points }) => points.map(({ fall }) => fall));
  const sizes = curves[0].points.map(({ removed }) => removed);
  const [least, highest] = [Math.min(0, ...falls), Math.max(0.1, ...falls)];
  const [low, high] = [least - 0.04 * (highest - least), highest + 0.06 * (highest - least)];
  const height = Math.max(260, Math.min(380, Math.round(width * 0.7)));
  const ends = separate(
    curves.map((curve) => ({ ...curve, value: curve.points.at(-1).fall, left: 0, right: 1, y: ((high - curve.points.at(-1).fall) / (high - low)) * (height - TOP - BOTTOM) })),
  );
  const shift = Math.max(0, ends.at(-1).y - (height - TOP - BOTTOM)); // the last label ends above the axis
  return {
    height,
    marginTop: TOP,
    marginLeft: 48,
    marginRight: 16 + CHARACTER * Math.max(...curves.map((curve) => short(curve).length)),
    marginBottom: BOTTOM,
    x: { type: "log", domain: [sizes[0] / 1.25, sizes.at(-1) * 1.1], label: "Removed examples, log scale", ticks: sizes, tickFormat: (size) => size.toLocaleString("en") },
    y: { domain: [low, high], label: "Fall of the margin", grid: true, ticks: 6 },
    marks: [
      Plot.ruleY([0], { stroke: "var(--line-strong)" }),
      ...curves.flatMap(({ name, points, random, colour }) => [
        Plot.line(points, { x: "removed", y: "fall", stroke: colour, strokeWidth: 1.5, strokeDasharray: random ? "4 3" : undefined }),
        Plot.dot(points, { x: "removed", y: "fall", r: random ? 2 : 4, fill: colour, title: ({ removed, fall }) => `${name}: ${fall.toFixed(3)} without ${removed}` }),
      ]),
      ...ends.map((end) => Plot.text([end.value], { y: (value) => value, text: () => short(end), frameAnchor: "right", textAnchor: "start", dx: 8, dy: end.dy - shift, fill: end.colour })),
    ],
  };
};
