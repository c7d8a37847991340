// The LDS axis of a benchmark with its null band, best entry and noise ceiling.
"use strict";

charts.scale = (table, width) => {
  const { ceiling, ceilingError, unrelated, shared, best } = numbers(table);
  const known = ceiling === undefined ? [] : [ceiling];
  const first = best === undefined ? [] : [best];
  const low = Math.min(-shared, -unrelated, ...first);
  const left = Math.min(low - 0.05, -0.1);
  const apart = ((ceiling - best) / (1 - left)) * (width - 40); // pixels
  const higher = Math.abs(apart) < 120 || (best / (1 - left)) * (width - 40) < 70; // otherwise its label would overlap another
  return {
    height: 132,
    marginTop: 44,
    marginBottom: 40,
    marginLeft: 16,
    marginRight: 24,
    x: { domain: [left, 1], label: "LDS", grid: true },
    y: { axis: null, domain: [-1, 1] },
    marks: [
      Plot.rectX([{}], { x1: -shared, x2: shared, y1: -1, y2: 1, fill: "var(--chance)", fillOpacity: 0.5 }),
      Plot.rectX([{}], { x1: -unrelated, x2: unrelated, y1: -1, y2: 1, fill: "var(--chance)" }),
      Plot.ruleX([0], { stroke: "var(--quiet)" }),
      Plot.text([0], { x: (value) => value, text: () => "chance", frameAnchor: "top", dy: -14, fill: "var(--quiet)" }),
      Plot.rectX(known, { x1: (value) => value - ceilingError, x2: (value) => value + ceilingError, y1: -1, y2: 1, fill: "var(--ceiling)", fillOpacity: 0.25 }),
      Plot.ruleX(known, { stroke: "var(--ceiling)", strokeWidth: 1.5, strokeDasharray: "4 3" }),
      Plot.text(known, { x: (value) => value, text: () => "noise ceiling", frameAnchor: "top", textAnchor: "end", dx: 4, dy: -14, fill: "var(--ceiling)" }),
      Plot.ruleX(first, { stroke: "var(--accent)", strokeOpacity: 0.4 }),
      Plot.dot(first, { x: (value) => value, y: () => 0, r: 5, fill: "var(--accent)" }),
      Plot.text(first, { x: (value) => value, text: () => "best entry", frameAnchor: "top", dy: higher ? -30 : -14, fill: "var(--accent)" }),
    ],
  };
};
