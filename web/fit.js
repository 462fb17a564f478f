// Draws the charts of a fit's page from the JSON block "iso-data"; charts.js comes before.
'use strict';
(function () {
  const d = JSON.parse(document.getElementById('iso-data').textContent);
  if (!window.Chart) return;
  const { sci, si, plain, known, look, ramp, fade, logAxis, linAxis, flopTick, draw, dots, line } = isoCharts;
  const axisName = k => k < d.inputs.length ? d.inputs[k].name : 'training FLOPs';
  const tick = k => k === d.inputs.length || d.inputs[k].unit === 'FLOP' ? flopTick : v => v >= 1e3 ? si(v) : plain(v);
  const column = k => k < d.inputs.length ? d.rows.x[k] : d.rows.train_flop;
  const heldAt = (h, k) => k < d.inputs.length ? h.x[k] : h.train_flop;
  const varies = v => { const u = v.filter(x => x > 0); return u.length > 1 && Math.max(...u) > Math.min(...u) * (1 + 1e-9); };
  const hasFlop = varies(d.rows.train_flop), X = hasFlop ? d.inputs.length : 0;
  // Colour goes by the second input, else by the first one where FLOPs are the axis.
  const COLOUR = d.inputs.length > 1 && d.inputs[1].varies ? 1 : hasFlop && d.inputs[0].varies ? 0 : -1;
  const TARGET = d.target + (d.unit ? ', ' + d.unit : '');

  function shade(v) {
    if (COLOUR < 0 || !(v > 0)) return ramp(0.5);
    const all = column(COLOUR).filter(x => x > 0), lo = Math.log(Math.min(...all)), hi = Math.log(Math.max(...all));
    return ramp(Math.min(1, Math.max(0, 0.08 + 0.92 * (Math.log(v) - lo) / (hi - lo || 1))));
  }
  const fmt = v => known(v) ? String(Number(v.toPrecision(5))) : '–';
  const where = (x, flop) => d.inputs.map((in_, k) => x[k] === null ? null : in_.name + ' ' + tick(k)(x[k])).concat(known(flop) ? [sci(flop, 2) + ' FLOP'] : []).filter(t => t).join(', ');
  const rowTip = i => [(d.rows.line[i] ? 'line ' + d.rows.line[i] + ': ' : '') + d.target + ' ' + fmt(d.rows.y[i]) + (known(d.rows.fit[i]) ? ', law ' + fmt(d.rows.fit[i]) : ''),
                       where(d.rows.x.map(c => c[i]), d.rows.train_flop[i])];
  const heldTip = h => ['held out, line ' + h.line + ': ' + fmt(h.y), h.refused ? 'refused: too far out' : 'predicted ' + fmt(h.value) + ' (' + fmt(h.lo) + ' to ' + fmt(h.hi) + ')', where(h.x, h.train_flop)];
  const scale = (k, values) => logAxis(axisName(k), values, tick(k));

  function fit() {
    const n = d.rows.y.length, x = column(X), runs = [], law = [], sets = [], xs = x.slice(), ys = d.rows.y.slice();
    const held = d.held.filter(h => heldAt(h, X) > 0);
    for (let i = 0; i < n; i++) {
      if (!(x[i] > 0)) continue;
      runs.push({ x: x[i], y: d.rows.y[i], tip: rowTip(i), c: shade(COLOUR < 0 ? null : column(COLOUR)[i]) });
      if (known(d.rows.fit[i])) law.push({ x: x[i], y: d.rows.fit[i] });
    }
    if (held.length) sets.push(dots('held out', held.map(h => ({ x: heldAt(h, X), y: h.y, tip: heldTip(h) })), look.accent, { pointStyle: 'rectRot', pointRadius: 5.5 }));
    for (const h of held) {
      xs.push(heldAt(h, X));
      ys.push(h.y);
      if (h.refused || !known(h.lo) || !known(h.hi)) continue;
      ys.push(h.lo, h.hi);
      sets.push(line('_interval', [{ x: heldAt(h, X), y: h.lo }, { x: heldAt(h, X), y: h.hi }], fade(look.accent, 0.6), { borderWidth: 2 }));
    }
    if (law.length) sets.push(dots('law', law, look.ink, { pointStyle: 'line', pointRadius: 5, borderWidth: 1.3 }));
    sets.push(dots('runs' + (COLOUR < 0 ? '' : ', darker with more ' + axisName(COLOUR)), runs, ramp(0.6), { pointRadius: 3.6, backgroundColor: runs.map(p => p.c), borderWidth: 0 }));
    draw('c-fit', sets, { x: scale(X, xs), y: linAxis(TARGET, ys.filter(known)) });
  }

  function residuals() {
    const off = (y, f) => d.log_residuals ? 100 * (y / f - 1) : y - f, label = d.log_residuals ? 'run beyond the law, %' : 'run minus law';
    const charts = [{ id: 'c-resid', name: 'predicted ' + d.target, at: i => d.rows.fit[i], held: h => h.value }];
    for (const c of document.querySelectorAll('canvas[data-axis]')) {
      const k = Number(c.dataset.axis);
      charts.push({ id: c.id, k, at: i => column(k)[i], held: h => heldAt(h, k) });
    }
    const rows = d.rows.y.map((_, i) => i).filter(i => known(d.rows.fit[i])), held = d.held.filter(h => known(h.value));
    const most = 1.08 * Math.max(1e-9, ...rows.map(i => Math.abs(off(d.rows.y[i], d.rows.fit[i]))), ...held.map(h => Math.abs(off(h.y, h.value))));
    for (const c of charts) {
      const own = rows.filter(i => known(c.at(i))), out = held.filter(h => known(c.held(h))), xs = own.map(c.at).concat(out.map(c.held)), sets = [];
      if (!own.length) continue;
      const x = c.k === undefined || !xs.every(v => v > 0) ? linAxis(c.name || axisName(c.k), xs) : scale(c.k, xs);
      if (out.length) sets.push(dots('held out', out.map(h => ({ x: c.held(h), y: off(h.y, h.value), tip: heldTip(h) })), look.accent, { pointStyle: 'rectRot', pointRadius: 5 }));
      sets.push(dots('runs', own.map(i => ({ x: c.at(i), y: off(d.rows.y[i], d.rows.fit[i]), tip: rowTip(i) })), ramp(0.5),
                     { pointRadius: 3.2, backgroundColor: own.map(i => shade(COLOUR < 0 ? null : column(COLOUR)[i])), borderWidth: 0 }));
      sets.push(line('_zero', [{ x: x.min, y: 0 }, { x: x.max, y: 0 }], look.muted, { borderWidth: 1 }));
      draw(c.id, sets, { x, y: linAxis(label, [-most, most]) }, { legend: out.length > 0 });
    }
  }

  // Levels of the interpolated curves, else those of the parabolas (points then go to the budget that is nearest).
  function isoflop() {
    const levels = d.curves ? d.curves.levels : d.parabola ? d.parabola.levels : [], sets = [], minima = [], rest = [];
    if (!levels.length) return;
    const colour = k => ramp(levels.length > 1 ? 0.12 + 0.88 * k / (levels.length - 1) : 0.5), own = levels.map(() => []);
    const order = levels.map((_, k) => k).sort((a, b) => levels[a].train_flop - levels[b].train_flop), place = k => order.indexOf(k);
    d.rows.y.forEach((y, i) => {
      let k = d.curves ? d.rows.level[i] : levels.findIndex(l => Math.abs(Math.log(d.rows.train_flop[i] / l.train_flop)) < 0.1);
      if (k === null || k < 0) rest.push({ x: d.rows.x[d.at_params][i], y, tip: rowTip(i) });
      else own[k].push({ x: d.rows.x[d.at_params][i], y, tip: rowTip(i) });
    });
    order.forEach(k => {
      const l = levels[k], c = colour(place(k));
      if (own[k].length) sets.push(dots(sci(l.train_flop) + ' FLOP', own[k], c, { pointRadius: 3.6 }));
      if (l.trace) sets.push(line('_curve', l.trace[0].map((n, i) => ({ x: n, y: l.trace[1][i] })), fade(c, 0.75), { borderWidth: 1.6, borderDash: l.edge || l.unstable ? [5, 4] : [] }));
      if (l.coef && l.coef.every(known)) sets.push(parabola(l, fade(c, 0.75)));
      if (known(l.params.value) && known(l.loss) && !l.edge && !l.unstable && !l.outside && !l.concave) {
        minima.push({ x: l.params.value, y: l.loss, tip: 'minimum at ' + sci(l.train_flop) + ' FLOP: ' + si(l.params.value) + ' parameters, ' + fmt(l.loss) });
        if (known(l.params.lo)) sets.push(line('_interval', [{ x: l.params.lo, y: l.loss }, { x: l.params.hi, y: l.loss }], fade(look.accent, 0.6), { borderWidth: 2 }));
      }
    });
    if (rest.length) sets.push(dots('other compute', rest, look.muted, { pointRadius: 2.6 }));
    if (minima.length) sets.unshift(dots('minima', minima, look.bg, { borderColor: look.accent, borderWidth: 2, pointStyle: 'rectRot', pointRadius: 6 }));
    // Axes by the runs alone: a curve through sizes that lie close together may swing far away between them.
    draw('c-isoflop', sets, { x: logAxis('parameters', d.rows.x[d.at_params], si, 1.08), y: linAxis(TARGET, d.rows.y.filter(known)) }, { legend: levels.length <= 14 });
  }
  function parabola(l, c) {
    const from = Math.log(l.sampled_params[0]), to = Math.log(l.sampled_params[1]), curve = [];
    for (let k = 0; k <= 60; k++) {
      const x = from + (to - from) * k / 60, u = x - l.log_n0;
      curve.push({ x: Math.exp(x), y: l.coef[0] + l.coef[1] * u + l.coef[2] * u * u });
    }
    return line('_parabola', curve, c, { borderWidth: 1.6, borderDash: l.outside || l.concave ? [5, 4] : [] });
  }

  function power() {
    const sets = [], xs = [], ys = [];
    const band = (pts, c) => {
      if (pts.length < 2) return;
      sets.push(line('_lo', pts.map(p => ({ x: p[0], y: p[1] })), 'transparent', { borderWidth: 0 }));
      sets.push(line('_hi', pts.map(p => ({ x: p[0], y: p[2] })), 'transparent', { borderWidth: 0, fill: '-1', backgroundColor: fade(c, 0.12) }));
    };
    const mark = (levels, label, c, style) => {
      const used = levels.filter(l => known(l.params.value) && !l.edge && !l.unstable && !l.outside && !l.concave);
      if (!used.length) return;
      sets.push(dots(label, used.map(l => ({ x: l.train_flop, y: l.params.value, tip: label + ' at ' + sci(l.train_flop) + ' FLOP: ' + si(l.params.value) })), c, { pointStyle: style, pointRadius: 4.5 }));
      for (const l of used) {
        xs.push(l.train_flop);
        ys.push(l.params.value);
        if (known(l.params.lo)) sets.push(line('_interval', [{ x: l.train_flop, y: l.params.lo }, { x: l.train_flop, y: l.params.hi }], fade(c, 0.6), { borderWidth: 2 }));
      }
    };
    if (d.curves) mark(d.curves.levels, 'minima of curves', look.accent, 'rectRot');
    if (d.parabola) mark(d.parabola.levels, 'minima of parabolas', ramp(0.5), 'triangle');
    d.power.forEach((p, i) => {
      const c = [look.accent, ramp(0.5), look.muted][['interpolated curves', 'parabolas', 'envelope'].indexOf(p.method)];
      sets.push(line(p.method + ', N* ~ C^' + p.exponent.value.toFixed(3), p.line.map(v => ({ x: v.train_flop, y: v.params })), c));
      band(p.line.filter(v => known(v.lo) && known(v.hi)).map(v => [v.train_flop, v.lo, v.hi]), c);
      if (!xs.length) p.line.forEach(v => { xs.push(v.train_flop); ys.push(v.params); });
    });
    if (d.optimum.length) {
      sets.push(line(d.law + ', optimum', d.optimum.map(p => ({ x: p.train_flop, y: p.params.value, tip: [si(p.params.value) + ' parameters, ' + si(p.tokens.value) + ' tokens at ' + sci(p.train_flop) + ' FLOP'] })), look.ink, { pointHitRadius: 4 }));
      band(d.optimum.filter(p => known(p.params.lo)).map(p => [p.train_flop, p.params.lo, p.params.hi]), look.ink);
      d.optimum.forEach(p => { xs.push(p.train_flop); ys.push(p.params.value); });
    }
    if (!sets.length) return;
    draw('c-power', sets, { x: logAxis('training FLOPs', xs, flopTick), y: logAxis('parameters', ys, si, 1.6) });
  }

  isoCharts.start(() => {
    if (d.law) {
      fit();
      residuals();
    }
    isoflop();
    power();
  });
})();
