// What the pages' charts share: numbers as people read them, colours, axes, and drawing with Chart.js in light, dark and on paper.
'use strict';
const isoCharts = (function () {
  const look = {};
  let charts = [];

  // Numbers ---------------------------------------------------------------------------------------------------------------------
  const SUP = '⁰¹²³⁴⁵⁶⁷⁸⁹';
  const sup = n => (n < 0 ? '⁻' : '') + String(Math.abs(n)).replace(/\d/g, c => SUP[c]);
  function sci(v, digits = 1) {
    if (!(v > 0)) return String(v);
    let e = Math.floor(Math.log10(v) + 1e-12), m = (v / 10 ** e).toFixed(digits);
    if (Number(m) >= 10) { m = (1).toFixed(digits); e++; }
    return (Number(m) === 1 && digits === 0 ? '' : m + '×') + '10' + sup(e);
  }
  function si(v) {
    if (v === null || v === undefined) return '–';
    let i = 0, a = Math.abs(v);
    while (i < 4 && a >= 999.5) { a /= 1000; i++; }
    return Number(a.toPrecision(3)) + ['', 'k', 'M', 'B', 'T'][i];
  }
  const plain = v => v >= 1e5 || v < 1e-3 ? sci(v) : String(Number(v.toPrecision(3)));
  const mean = e => Array.isArray(e) ? e[1] : e === undefined ? null : e;
  const known = v => typeof v === 'number' && isFinite(v);

  // Look ------------------------------------------------------------------------------------------------------------------------
  function readLook() {
    const css = getComputedStyle(document.documentElement), v = name => css.getPropertyValue('--' + name).trim();
    Object.assign(look, { ink: v('ink'), soft: v('soft'), muted: v('muted'), rule: v('rule'), grid: v('grid'), bg: v('bg'), card: v('card'), accent: v('accent'), accentSoft: v('accent-soft'),
             ramp: [v('ramp-a'), v('ramp-b'), v('ramp-c')] });
    Chart.defaults.font.family = v('sans');
    Chart.defaults.font.size = 12;
    Chart.defaults.color = look.muted;
    Chart.defaults.animation = false;
    Chart.defaults.maintainAspectRatio = false;
  }
  const rgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
  // Colour at t in [0, 1] along the ramp of compute.
  function ramp(t) {
    const [a, b] = t < 0.5 ? [look.ramp[0], look.ramp[1]] : [look.ramp[1], look.ramp[2]], k = t < 0.5 ? 2 * t : 2 * t - 1;
    const p = rgb(a), q = rgb(b);
    return 'rgb(' + p.map((x, i) => Math.round(x + k * (q[i] - x))).join(',') + ')';
  }
  const fade = (c, a) => c.startsWith('#') ? 'rgba(' + rgb(c).join(',') + ',' + a + ')' : c.replace('rgb(', 'rgba(').replace(')', ',' + a + ')');

  // Axes ------------------------------------------------------------------------------------------------------------------------
  const title = text => ({ display: true, text, color: look.soft, padding: 6 });
  function logAxis(text, values, format, room = 1.25) {
    const v = values.filter(x => x > 0), lo = Math.min(...v) / room, hi = Math.max(...v) * room, decades = Math.log10(hi / lo);
    const marks = decades < 1 ? [1, 2, 3, 5, 7] : decades < 2.2 ? [1, 2, 5] : [1];
    const step = Math.max(1, Math.ceil(decades / 6));
    return {
      type: 'logarithmic', min: lo, max: hi, title: title(text),
      grid: { color: look.grid, drawTicks: false, borderColor: look.rule, drawBorder: true },
      // Chart.js would also label the ends of the range, which are no round numbers.
      afterBuildTicks(axis) {
        const ticks = [];
        for (let e = Math.floor(Math.log10(lo)); e <= Math.ceil(Math.log10(hi)); e++) {
          if (step > 1 && e % step) continue;
          for (const m of marks) if (m * 10 ** e >= lo && m * 10 ** e <= hi) ticks.push({ value: m * 10 ** e });
        }
        axis.ticks = ticks;
      },
      ticks: { padding: 6, maxRotation: 0, autoSkip: true, autoSkipPadding: 12, callback: x => format(x) },
    };
  }
  function linAxis(text, values) {
    const lo = Math.min(...values), hi = Math.max(...values), pad = 0.06 * (hi - lo || Math.abs(hi) || 1);
    return { type: 'linear', title: title(text), min: lo - pad, max: hi + pad, grid: { color: look.grid, drawTicks: false, borderColor: look.rule },
             ticks: { padding: 8, maxTicksLimit: 7, includeBounds: false } };
  }
  const flopTick = v => sci(v, 0);

  // Dashed vertical lines with a word at the top: [[x, word, colour], ...].
  const rules = {
    id: 'rules',
    afterDatasetsDraw(chart, _, o) {
      if (!o || !o.at) return;
      const g = chart.ctx, area = chart.chartArea;
      for (const [x, word, colour] of o.at) {
        const px = chart.scales.x.getPixelForValue(x);
        if (!(px >= area.left && px <= area.right)) continue;
        g.save();
        g.strokeStyle = colour || look.muted;
        g.globalAlpha = 0.8;
        g.setLineDash([3, 4]);
        g.beginPath();
        g.moveTo(px, area.top);
        g.lineTo(px, area.bottom);
        g.stroke();
        g.globalAlpha = 1;
        g.fillStyle = look.muted;
        g.font = '11px ' + Chart.defaults.font.family;
        const right = px > area.right - 60;
        g.textAlign = right ? 'right' : 'left';
        g.fillText(word, px + (right ? -5 : 5), area.top + 11);
        g.restore();
      }
    },
  };

  function draw(id, datasets, scales, o = {}) {
    const canvas = document.getElementById(id);
    if (!canvas || !datasets.length) return;
    charts.push(new Chart(canvas, {
      type: 'scatter', data: { datasets }, plugins: [rules],
      options: {
        scales, layout: { padding: { right: 6 } }, interaction: { mode: 'nearest', intersect: true },
        plugins: {
          rules: { at: o.rules },
          legend: { display: o.legend !== false, position: 'top', align: 'start',
                    labels: { usePointStyle: true, boxWidth: 7, boxHeight: 7, padding: 14, color: look.soft,
                              filter: item => !item.text.startsWith('_') } },
          tooltip: { backgroundColor: look.ink, titleColor: look.bg, bodyColor: look.bg, displayColors: false, padding: 9, cornerRadius: 5,
                     filter: item => !!item.raw.tip, callbacks: { title: () => '', label: item => item.raw.tip } },
        },
      },
    }));
  }
  const dots = (label, data, colour, more) => Object.assign({ label, data, backgroundColor: colour, borderColor: colour, pointRadius: 4.5, pointHoverRadius: 6, borderWidth: 1.5 }, more);
  const line = (label, data, colour, more) => Object.assign({ label, data, showLine: true, pointRadius: 0, pointHoverRadius: 0, pointHitRadius: 0, borderColor: colour,
                                                              backgroundColor: colour, pointStyle: 'line', borderWidth: 1.8 }, more);

  // Draws now, when the colour scheme changes, and for paper, which is light whatever the screen is.
  function start(paint) {
    const build = () => {
      charts.forEach(c => c.destroy());
      charts = [];
      readLook();
      paint();
    };
    build();
    const dark = window.matchMedia('(prefers-color-scheme: dark)');
    if (dark.addEventListener) dark.addEventListener('change', build);
    window.addEventListener('beforeprint', () => { document.documentElement.dataset.theme = 'light'; build(); });
    window.addEventListener('afterprint', () => { delete document.documentElement.dataset.theme; build(); });
  }
  return { sci, si, plain, mean, known, look, ramp, fade, logAxis, linAxis, flopTick, draw, dots, line, start };
})();
