// Scatter plots of LDS and a reported cost, with the Pareto front: entries with a higher LDS than every cheaper entry.
"use strict";

// `cost` is the name of a data attribute of the rows; `label` is the label of its axis, and `format` writes a value
// of it. `steps` are the ticks from 1 to 10.
const pareto = (table, width, cost, label, steps, format) => {
  const entries = rows(table)
    .filter((row) => row.dataset[cost])
    .map((row) => ({ ...numbers(row), cost: Number(row.dataset[cost]), method: row.dataset.method, owner: row.dataset.owner }))
    .sort((a, b) => a.cost - b.cost || b.lds - a.lds);
  const front = entries.filter(({ lds }, i) => entries.slice(0, i).every((earlier) => earlier.lds < lds));
  const [least, most] = [entries[0].cost, entries[entries.length - 1].cost];
  const { ceiling } = numbers(table);
  const height = Math.max(260, Math.min(380, Math.round(width * 0.7)));
  const [inner, tall] = [width - 48 - 16, height - 28 - 40];
  const [left, right] = [least / 1.6, Math.max(most, least * 10) * 1.6];
  const all = entries.map(({ lds }) => lds);
  const [lowest, high] = [Math.min(0, ...all), Math.max(ceiling ?? 0, ...all) + 0.05];
  const low = lowest - ((high - lowest) * (LINE + 4)) / tall; // space for a label below the lowest dot
  const places = entries.map((entry) => ({
    entry,
    x: (Math.log(entry.cost / left) / Math.log(right / left)) * inner,
    y: ((high - entry.lds) / (high - low)) * tall,
  }));
  // The front gets labels first, best entry first.
  const ranked = [...places].sort((a, b) => front.includes(b.entry) - front.includes(a.entry) || b.entry.lds - a.entry.lds);
  const decades = Array.from({ length: 24 }, (_, i) => 10 ** (i - 9));
  const possible = decades.flatMap((decade) => steps.map((step) => step * decade)).filter((tick) => tick >= left && tick <= right);
  const every = Math.ceil((possible.length * 64) / inner); // 64: width of a tick label in pixels
  const ticks = possible.filter((_, i) => i % every === 0);
  return {
    height,
    marginLeft: 48,
    marginTop: 28,
    marginRight: 16,
    marginBottom: 40,
    x: { type: "log", domain: [left, right], label, ticks, tickFormat: format },
    y: { domain: [low, high], label: "LDS", grid: true },
    marks: [
      Plot.ruleY([0], { stroke: "var(--line-strong)" }),
      Plot.ruleY(ceiling === undefined ? [] : [ceiling], { stroke: "var(--ceiling)", strokeWidth: 1.5, strokeDasharray: "4 3" }),
      Plot.text(ceiling === undefined ? [] : [ceiling], { y: (value) => value, text: () => "ceiling", frameAnchor: "right", textAnchor: "end", dy: -8, fill: "var(--ceiling)" }),
      Plot.line(front, { x: "cost", y: "lds", curve: "step-after", stroke: "var(--accent)", strokeWidth: 1.5, strokeOpacity: 0.7 }),
      ...nameDots(ranked, inner, { x: "cost", y: "lds" }),
      Plot.dot(entries, {
        x: "cost",
        y: "lds",
        r: 4,
        fill: (entry) => (front.includes(entry) ? "var(--accent)" : "var(--ground)"),
        stroke: "var(--accent)",
        strokeWidth: 1.5,
        title: (entry) => `${shortName(entry, Infinity)}: ${entry.lds.toFixed(4)}, ${format(entry.cost)}`,
      }),
    ],
  };
};

charts.pareto = (table, width) =>
  pareto(table, width, "seconds", "Reported time, log scale", [1], (seconds) =>
    seconds < 1 ? `${Number((seconds * 1000).toPrecision(3))} ms` : `${seconds.toLocaleString("en")} s`,
  );

charts.models = (table, width) =>
  pareto(table, width, "models", "Reported number of models, log scale", [1, 2, 5], (models) => models.toLocaleString("en"));
