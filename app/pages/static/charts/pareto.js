// LDS against the seconds that submitters report, and the front of those that none has beaten for less.
"use strict";

charts.pareto = (table, width) => {
  const SPACE = 90; // pixels that a label takes beside its point
  const LONGEST = 18; // characters of a label
  const entries = rows(table)
    .filter((row) => row.dataset.seconds)
    .map((row) => ({ ...numbers(row), method: row.dataset.method, owner: row.dataset.owner }))
    .sort((a, b) => a.seconds - b.seconds || b.lds - a.lds);
  const front = entries.filter(({ lds }, i) => entries.slice(0, i).every((earlier) => earlier.lds < lds));
  const name = ({ method, owner }) => (method === "withheld" ? owner : method);
  const short = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text);
  const [least, most] = [entries[0].seconds, entries[entries.length - 1].seconds];
  const { ceiling } = numbers(table);
  const inner = width - 48 - 16;
  const scale = Math.log10(Math.max(most / least, 10));
  const place = ({ seconds }) => (Math.log10(seconds / least) / scale) * inner;
  const labelled = front.filter((entry, i) => i === 0 || place(entry) - place(front[i - 1]) > SPACE / 3 || entry.lds - front[i - 1].lds > 0.05);
  const isAtEdge = (entry) => place(entry) > inner - SPACE;
  const named = (some, textAnchor, dx) =>
    Plot.text(some, { x: "seconds", y: "lds", text: (entry) => short(name(entry)), textAnchor, dx, dy: -9, fill: "var(--text)", stroke: "var(--ground)", strokeWidth: 4 });
  const powers = Array.from({ length: 24 }, (_, i) => 10 ** (i - 9)).filter((tick) => tick >= least / 1.6 && tick <= Math.max(most, least * 10) * 1.6);
  const every = Math.ceil((powers.length * 64) / inner); // pixels of a label
  const ticks = powers.filter((_, i) => i % every === 0);
  const time = (seconds) => (seconds < 1 ? `${Number((seconds * 1000).toPrecision(3))} ms` : `${seconds.toLocaleString("en")} s`);
  return {
    height: Math.max(260, Math.min(380, Math.round(width * 0.7))),
    marginLeft: 48,
    marginTop: 28,
    marginRight: 16,
    marginBottom: 40,
    x: { type: "log", domain: [least / 1.6, Math.max(most, least * 10) * 1.6], label: "Reported time, log scale", ticks, tickFormat: time },
    y: { domain: [Math.min(0, ...entries.map(({ lds }) => lds)) - 0.03, Math.max(ceiling ?? 0, ...entries.map(({ lds }) => lds)) + 0.05], label: "LDS", grid: true },
    marks: [
      Plot.ruleY([0], { stroke: "var(--line-strong)" }),
      Plot.ruleY(ceiling === undefined ? [] : [ceiling], { stroke: "var(--ceiling)", strokeWidth: 1.5, strokeDasharray: "4 3" }),
      Plot.text(ceiling === undefined ? [] : [ceiling], { y: (value) => value, text: () => "ceiling", frameAnchor: "right", textAnchor: "end", dy: -8, fill: "var(--ceiling)" }),
      Plot.line(front, { x: "seconds", y: "lds", curve: "step-after", stroke: "var(--accent)", strokeWidth: 1.5, strokeOpacity: 0.7 }),
      named(labelled.filter((entry) => !isAtEdge(entry)), "start", 8),
      named(labelled.filter(isAtEdge), "end", -8),
      Plot.dot(entries, {
        x: "seconds",
        y: "lds",
        r: 4,
        fill: (entry) => (front.includes(entry) ? "var(--accent)" : "var(--ground)"),
        stroke: "var(--accent)",
        strokeWidth: 1.5,
        title: (entry) => `${name(entry)}: ${entry.lds.toFixed(4)} in ${entry.seconds} s`,
      }),
    ],
  };
};
