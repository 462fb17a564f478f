// Draws a report's charts with Chart.js from the JSON block "iso-data".
'use strict';
(function () {
  const d = JSON.parse(document.getElementById('iso-data').textContent);
  if (!window.Chart) return;
  const LOSS = 'loss, nats per token', BPB = 'bits per byte, held out';
  const LAW = d.law_metric === 'bits_per_byte' ? BPB : LOSS;  // of sweep, law and parabolas
  let charts = [], look = {};

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
    look = { ink: v('ink'), soft: v('soft'), muted: v('muted'), rule: v('rule'), grid: v('grid'), bg: v('bg'), card: v('card'), accent: v('accent'), accentSoft: v('accent-soft'),
             ramp: [v('ramp-a'), v('ramp-b'), v('ramp-c')] };
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
  const levelColour = i => ramp(d.levels.length > 1 ? 0.12 + 0.88 * i / (d.levels.length - 1) : 0.5);
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

  // Charts ----------------------------------------------------------------------------------------------------------------------
  const sweepTip = p => [(p.label || 'run') + ': loss ' + p.loss.toFixed(4), si(p.params) + ' parameters, ' + si(p.tokens) + ' tokens, ' + sci(p.train_flop, 2) + ' FLOP'];

  function isoflop() {
    const pts = d.sweep.filter(p => !p.final), sets = [], minima = [];
    d.levels.forEach((c, i) => {
      const own = pts.filter(p => p.level === i).map(p => ({ x: p.params, y: p.loss, tip: sweepTip(p) }));
      const par = d.isoflop.levels.find(p => Math.abs(Math.log(p.train_flop / c)) < 1e-6), colour = levelColour(i);
      if (own.length) sets.push(dots(sci(c) + ' FLOP', own, colour));
      if (!par || par.coef.some(x => x === null) || !known(par.log_n0) || !(par.n_min > 0)) return;
      const from = Math.log(par.n_min) - 0.15, to = Math.log(par.n_max) + 0.15, curve = [];
      for (let k = 0; k <= 60; k++) {
        const x = from + (to - from) * k / 60, u = x - par.log_n0;
        curve.push({ x: Math.exp(x), y: par.coef[0] + par.coef[1] * u + par.coef[2] * u * u });
      }
      sets.push(line('_parabola', curve, fade(colour, 0.75), { borderWidth: 1.6, borderDash: par.outside || par.concave ? [5, 4] : [] }));
      const n = mean(par.params);
      if (known(n) && known(par.loss) && !par.outside)
        minima.push({ x: n, y: par.loss, tip: 'minimum at ' + sci(c) + ' FLOP: ' + si(n) + ' parameters, loss ' + par.loss.toFixed(4) });
    });
    const rest = pts.filter(p => p.level === null).map(p => ({ x: p.params, y: p.loss, tip: sweepTip(p) }));
    if (rest.length) sets.push(dots('other compute', rest, look.muted, { pointRadius: 3.5 }));
    if (minima.length) {
      sets.unshift(dots('minima', minima, look.bg, { borderColor: look.accent, borderWidth: 2, pointStyle: 'rectRot', pointRadius: 6.5, showLine: true,
                                                     segment: { borderColor: fade(look.accent, 0.55), borderWidth: 1.5, borderDash: [2, 4] } }));
    }
    const all = [].concat(...sets.map(v => v.data));
    draw('c-isoflop', sets, { x: logAxis('parameters', all.map(p => p.x), si, 1.08), y: linAxis(LAW, all.map(p => p.y)) });
  }

  function fit() {
    const sets = [], curve = d.fit.curve.filter(p => known(mean(p.loss))), at = p => p.train_flop, end = d.fit.c_max || Math.max(...d.sweep.filter(p => !p.final).map(at));
    const finals = d.sweep.filter(p => p.final), chosen = finals.length ? finals[finals.length - 1] : null;
    const n = d.plan.params, tok = d.plan.tokens, guess = LAW === BPB ? d.bits_per_byte_predicted : d.val_loss_predicted;
    const cx = chosen ? chosen.train_flop : n && tok ? 6 * n * tok : null;
    if (cx && guess) {
      if (guess[2] > guess[0]) sets.push(line('_interval', [{ x: cx, y: guess[0] }, { x: cx, y: guess[2] }], look.accent, { borderWidth: 2 }));
      sets.push(dots('predicted', [{ x: cx, y: guess[1], tip: 'predicted ' + guess[1].toFixed(4) + (guess[2] > guess[0] ? ' (' + guess[0].toFixed(4) + ' to ' + guess[2].toFixed(4) + ')' : '') }],
                     look.bg, { borderColor: look.accent, borderWidth: 2, pointRadius: 6 }));
    }
    if (chosen) sets.push(dots('measured', [{ x: chosen.train_flop, y: chosen.loss, tip: sweepTip(chosen) }], look.accent, { pointStyle: 'rectRot', pointRadius: 6 }));
    sets.push(dots('sweep', d.sweep.filter(p => !p.final).map(p => ({ x: p.train_flop, y: p.loss, tip: sweepTip(p) })), ramp(0.5),
                   { pointRadius: 3.5, backgroundColor: d.sweep.filter(p => !p.final).map(p => p.level === null ? look.muted : levelColour(p.level)), borderWidth: 0 }));
    const law = curve.map(p => ({ x: p.train_flop, y: mean(p.loss), tip: 'law at ' + sci(p.train_flop) + ' FLOP: ' + mean(p.loss).toFixed(4) + ', ' + si(p.params) + ' parameters' }));
    if (law.length) sets.push(line('law, best size', law, look.ink, { segment: { borderDash: s => s.p1.parsed.x > end ? [5, 4] : undefined } }));
    const band = curve.filter(p => Array.isArray(p.loss) && known(p.loss[0]) && known(p.loss[2]));
    if (band.length > 1) {
      const colour = fade(look.ink, 0.09);
      sets.push(line('_lo', band.map(p => ({ x: p.train_flop, y: p.loss[0] })), 'transparent', { borderWidth: 0 }));
      sets.push(line('_hi', band.map(p => ({ x: p.train_flop, y: p.loss[2] })), 'transparent', { borderWidth: 0, fill: '-1', backgroundColor: colour }));
    }
    const xs = d.sweep.map(at).concat(cx ? [cx] : []);
    if (!xs.length) xs.push(...curve.map(at));
    const x = logAxis('training FLOPs', xs, flopTick), inside = curve.filter(p => p.train_flop >= x.min && p.train_flop <= x.max);
    const ys = d.sweep.map(p => p.loss).concat(guess || [], ...inside.map(p => p.loss)).filter(known);
    if (ys.length) draw('c-fit', sets, { x, y: linAxis(LAW, ys) });
    const r = d.sweep.filter(p => known(p.law_loss)), rel = p => ({ x: p.params, y: 100 * (p.loss / p.law_loss - 1), tip: sweepTip(p).concat('law: ' + p.law_loss.toFixed(4)) });
    const most = Math.max(0.5, ...r.map(p => Math.abs(rel(p).y))) * 1.05, res = [];
    const last = r.filter(p => p.final).map(rel), body = r.filter(p => !p.final);
    if (last.length) res.push(dots('chosen model', last, look.accent, { pointStyle: 'rectRot', pointRadius: 6 }));
    if (body.length) res.push(dots('sweep', body.map(rel), ramp(0.5), { pointRadius: 3.8, backgroundColor: body.map(p => p.level === null ? look.muted : levelColour(p.level)), borderWidth: 0 }));
    if (res.length) {
      const rx = logAxis('parameters', r.map(p => p.params), si);
      res.push(line('_zero', [{ x: rx.min, y: 0 }, { x: rx.max, y: 0 }], look.muted, { borderWidth: 1 }));
      draw('c-resid', res, { x: rx, y: linAxis('measured beyond the law, %', [-most, most]) });
    }
  }

  function curves() {
    const sets = [], marks = [], xs = [], ys = [];
    const sweep = d.curves.filter(c => !c.main), sizes = sweep.map(c => Math.log(c.params || 1)), lo = Math.min(...sizes), hi = Math.max(...sizes);
    const points = (c, key, what) => c.tokens.map((t, i) => ({ x: t, y: c[key][i], tip: [c.label + ', ' + what + ': ' + (known(c[key][i]) ? c[key][i].toFixed(4) : ''), si(t) + ' tokens, step ' + c.step[i]] }))
                                             .filter(p => p.x > 0 && known(p.y));
    for (const c of d.curves.filter(k => k.main)) {
      const train = points(c, 'train_loss', 'train'), val = points(c, 'val_loss', 'held out');
      if (val.length) sets.push(dots('held out', val, look.bg, { borderColor: look.accent, borderWidth: 2, pointRadius: 4 }));
      if (train.length) sets.push(line(c.label + ', train', train, look.accent, { borderWidth: 2.2, pointHitRadius: 4 }));
      for (const [t, word] of c.events) if (word === 'decay') marks.push([t, 'decay', look.muted]);
      train.concat(val).forEach(p => { xs.push(p.x); ys.push(p.y); });
    }
    sweep.map((c, i) => [c, i]).sort((a, b) => sizes[b[1]] - sizes[a[1]]).forEach(([c, i], k) => {
      const train = points(c, 'train_loss', 'train'), val = points(c, 'val_loss', 'held out').slice(-1), colour = ramp(hi > lo ? 0.12 + 0.88 * (sizes[i] - lo) / (hi - lo) : 0.5);
      const show = sweep.length <= 7 || k === 0 || k === sweep.length - 1;
      if (train.length) sets.push(line((show ? '' : '_') + c.label, train, fade(colour, 0.8), { borderWidth: 1.2, pointHitRadius: 4 }));
      if (val.length) sets.push(dots('_val', val, colour, { pointRadius: 2.6, borderWidth: 0 }));
      train.concat(val).forEach(p => { xs.push(p.x); ys.push(p.y); });
    });
    if (!xs.length) return;
    draw('c-curves', sets, { x: logAxis('training tokens', xs, si), y: linAxis(LOSS, ys) }, { rules: marks });
  }

  // Measured and predicted points are two series with a front each; they share axes, never a line.
  function front(id, resource, label, format, unit = label.replace('training ', '')) {
    const sets = [], xs = [], ys = [];
    for (const predicted of [false, true]) {
      const f = d.fronts.find(v => v.resource === resource && v.predicted === predicted), cost = p => mean(p.cost[resource]);
      const on = new Set(f ? f.points : []), colour = predicted ? ramp(0.5) : look.accent, name = predicted ? 'predicted' : 'measured';
      const of = (p) => ({ x: cost(p), y: p.quality, tip: [(p.label || 'point') + ', ' + name + ': ' + p.quality.toFixed(4), format(cost(p)) + ' ' + unit + (p.params ? ', ' + si(p.params) + ' parameters' : '')] });
      const ok = p => known(p.quality) && cost(p) > 0;
      const best = (f ? f.points : []).map(i => d.points[i]).filter(ok).map(of), off = d.points.filter((p, i) => p.predicted === predicted && !on.has(i) && ok(p)).map(of);
      if (best.length) {
        sets.push(dots(name + ' front', best, predicted ? look.bg : colour, { borderColor: colour, pointRadius: predicted ? 4 : 4.5, showLine: true, stepped: 'before', borderWidth: 1.6, borderDash: predicted ? [4, 4] : [] }));
      }
      if (off.length) sets.push(dots(best.length ? '_' + name : name, off, fade(colour, predicted ? 0 : 0.32), { borderColor: fade(colour, 0.5), borderWidth: predicted ? 1.2 : 0, pointRadius: 3.2 }));
      best.concat(off).forEach(p => { xs.push(p.x); ys.push(p.y); });
    }
    if (xs.length) draw(id, sets, { x: logAxis(label, xs, format), y: linAxis(d.metric === 'bits_per_byte' ? BPB : LOSS, ys) });
  }

  function build() {
    charts.forEach(c => c.destroy());
    charts = [];
    readLook();
    isoflop();
    fit();
    curves();
    front('c-front0', 'train_flop', 'training FLOPs', flopTick);
    front('c-front1', 'wall', 'seconds', plain);
  }
  build();
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  if (dark.addEventListener) dark.addEventListener('change', build);
  // Paper is light whatever the screen is.
  window.addEventListener('beforeprint', () => { document.documentElement.dataset.theme = 'light'; build(); });
  window.addEventListener('afterprint', () => { delete document.documentElement.dataset.theme; build(); });
})();
