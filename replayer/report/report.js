"use strict";
/* Draws the charts described in #charts: [{id, unit, log, t, series: [{label, values, colour, width, dash, fill}]}]. */
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const shade = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const clock = s => {
    if (s < 120 && charts.every(c => c.t[c.t.length - 1] <= 180)) return +s.toFixed(2) + " s";
    const h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60, r = Math.round(s % 60);
    const two = n => String(n).padStart(2, "0");
    return h ? `${h}:${two(m)}:${two(r)}` : `${m}:${two(r)}`;
  };
  const plain = v => v == null ? "–" : v === 0 ? "0" : Math.abs(v) >= 1000 ? v.toLocaleString("en", {maximumFractionDigits: 0}) : String(+v.toPrecision(3));
  const drawn = new Map();

  function draw(chart) {
    const box = document.getElementById(chart.id);
    drawn.get(chart.id)?.destroy();
    const grid = {stroke: shade("grid"), width: 1}, ticks = {stroke: shade("grid"), width: 1, size: 4};
    const font = "12px system-ui, sans-serif", stroke = shade("soft");
    const values = chart.series.flatMap(s => s.values).filter(v => v != null);
    const log = chart.log && values.some(v => v > 0);
    const positive = log ? values.filter(v => v > 0) : values;
    const top = Math.max(...positive, 0), bottom = log ? Math.min(...positive) : 0;
    const options = {
      width: Math.max(280, box.clientWidth), height: 240, padding: [12, 14, 0, 0],
      cursor: {sync: {key: "time"}, points: {size: 6}, drag: {x: true, y: false}},
      legend: {live: true},
      scales: {
        x: {time: false, range: (_, from, to) => to > from ? [from, to] : [from, from + 1]},
        y: log ? {distr: 3, range: () => [10 ** Math.floor(Math.log10(bottom)), 10 ** Math.ceil(Math.log10(top * 1.0001))]}
               : {range: () => [0, top > 0 ? top * 1.08 : 1]},
      },
      axes: [
        {stroke, font, grid, ticks, space: 70, size: 34, values: (_, all) => all.map(clock)},
        {stroke, font, grid, ticks, size: 58, space: 32,
         values: (_, all) => all.map(v => v == null || (log && Math.abs(Math.log10(v) % 1) > 1e-9) ? "" : plain(v))},
      ],
      series: [
        {label: "at", value: (_, v) => v == null ? "" : clock(v)},
        ...chart.series.map(s => ({
          label: s.label, stroke: shade(s.colour), width: s.width, dash: s.dash, spanGaps: false,
          fill: s.fill ? shade(s.colour) + "55" : undefined,
          points: {show: chart.t.length < 15, size: 6, fill: shade(s.colour)},
          value: (_, v) => v == null ? "" : plain(v) + chart.unit,
        })),
      ],
    };
    const columns = chart.series.map(s => log ? s.values.map(v => v > 0 ? v : null) : s.values);
    drawn.set(chart.id, new uPlot(options, [chart.t, ...columns], box));
  }
  const all = () => charts.forEach(draw);
  document.querySelectorAll("button[data-chart]").forEach(button => button.addEventListener("click", () => {
    const chart = charts.find(c => c.id === button.dataset.chart);
    chart.log = !chart.log;
    button.textContent = chart.log ? "linear" : "log";
    draw(chart);
  }));
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(all, 120); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  all();
})();
