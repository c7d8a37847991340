// Forest plot of a leaderboard: the LDS of each entry with its interval, the null band and the noise ceiling.
"use strict";

charts.forest = (table, width) => {
  const MAX_ENTRIES = 30; // the table has all entries
  const { ceiling, ceilingError, unrelated, shared } = numbers(table); // no ceiling if each subset has one run, or with few subsets
  const known = ceiling === undefined ? [] : [ceiling];
  const shown = rows(table).slice(0, MAX_ENTRIES);
  const methods = shown.map((row) => row.dataset.method);
  const entries = shown.map((row) => {
    const { id, method, owner } = row.dataset;
    const alone = methods.filter((other) => other === method).length === 1;
    const label = method === "withheld" ? owner : alone ? method : `${method} · ${owner}`;
    const { lds, low, high } = numbers(row);
    return { id, label, lds, low, high };
  });
  const labels = new Map(entries.map(({ id, label }) => [id, label]));
  const longest = Math.max(...entries.map(({ label }) => label.length));
  const marginLeft = Math.min(Math.ceil(longest * CHARACTER) + 16, Math.round(width * 0.36));
  const fitting = Math.floor((marginLeft - 16) / CHARACTER);
  const short = (label) => (label.length > fitting ? `${label.slice(0, fitting - 1)}…` : label);
  const band = Math.max(unrelated, shared);
  const low = Math.min(-band, ...entries.map((entry) => entry.low));
  const high = Math.max(band, ...known.map((value) => value + ceilingError), ...entries.map((entry) => entry.high));
  return {
    height: entries.length * (entries.length > 12 ? 20 : 28) + 76,
    marginLeft,
    marginTop: 28,
    marginRight: 16,
    marginBottom: 40,
    x: { domain: [low - 0.02, high + 0.02], label: "LDS", grid: true },
    y: { domain: entries.map(({ id }) => id), label: null, tickSize: 0, tickFormat: (id) => short(labels.get(id)) },
    marks: [
      Plot.rectX([{}], { x1: -shared, x2: shared, fill: "var(--chance)", fillOpacity: 0.5 }),
      Plot.rectX([{}], { x1: -unrelated, x2: unrelated, fill: "var(--chance)" }),
      Plot.ruleX([0], { stroke: "var(--line)" }),
      Plot.rectX(known, { x1: (value) => value - ceilingError, x2: (value) => value + ceilingError, fill: "var(--ceiling)", fillOpacity: 0.25 }),
      Plot.ruleX(known, { stroke: "var(--ceiling)", strokeWidth: 1.5, strokeDasharray: "4 3" }),
      Plot.text(known, { x: (value) => value, text: () => "ceiling", frameAnchor: "top", textAnchor: "end", dx: -4, dy: -14, fill: "var(--ceiling)" }),
      Plot.text([0], { x: (value) => value, text: () => "chance", frameAnchor: "top", dy: -14, fill: "var(--quiet)" }),
      Plot.ruleY(entries, { y: "id", x1: "low", x2: "high", stroke: "var(--accent)", strokeWidth: 2 }),
      Plot.dot(entries, {
        y: "id",
        x: "lds",
        r: 4,
        fill: "var(--accent)",
        title: ({ label, lds, low, high }) => `${label}: ${lds.toFixed(4)} [${low.toFixed(4)}, ${high.toFixed(4)}]`,
      }),
    ],
  };
};
