"use strict";
// Draws the charts of the usage page from the numbers in it, and again when the theme changes.
(() => {
  const source = document.getElementById("chart-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const charts = [];

  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function options({ stacked, legend, money }) {
    const quiet = token("--quiet");
    const grid = token("--line");
    return {
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: { stacked, grid: { display: false }, border: { color: grid }, ticks: { color: quiet, maxRotation: 0, autoSkipPadding: 18 } },
        y: {
          stacked, beginAtZero: true, grid: { color: grid }, border: { display: false },
          ticks: { color: quiet, precision: money ? undefined : 0, maxTicksLimit: 6, callback: money ? (value) => dollars(value) : undefined },
        },
      },
      plugins: {
        legend: { display: legend, position: "bottom", align: "start", labels: { color: token("--ink"), boxWidth: 10, boxHeight: 10, useBorderRadius: true, borderRadius: 3, padding: 16 } },
        tooltip: {
          backgroundColor: token("--raised"), titleColor: token("--ink"), bodyColor: token("--ink"), borderColor: token("--line"), borderWidth: 1, padding: 12, boxPadding: 4,
          filter: (item) => item.parsed.y > 0,
          callbacks: money ? { label: (item) => dollars(item.parsed.y) } : {},
        },
      },
    };
  }

  // As the page itself writes amounts: the sign first, separators by language.
  const number = new Intl.NumberFormat(document.documentElement.lang, { minimumFractionDigits: 2, maximumFractionDigits: 6 });
  const dollars = (value) => `$${number.format(value)}`;

  function draw() {
    for (const chart of charts.splice(0)) chart.destroy();
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    const series = data.series.map((each, index) => ({
      label: each.name, data: each.calls, backgroundColor: token(`--chart-${index + 1}`), borderRadius: 2, maxBarThickness: 26,
    }));
    charts.push(new Chart(document.getElementById("calls-chart"), {
      type: "bar", data: { labels: data.days, datasets: series }, options: options({ stacked: true, legend: true, money: false }),
    }));
    charts.push(new Chart(document.getElementById("spend-chart"), {
      type: "bar",
      data: { labels: data.days, datasets: [{ data: data.spend, backgroundColor: token("--chart-1"), borderRadius: 2, maxBarThickness: 26 }] },
      options: options({ stacked: false, legend: false, money: true }),
    }));
  }

  draw();
  document.addEventListener("darkroom:theme", draw);
})();
