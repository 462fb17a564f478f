// Draws a report's charts from the JSON block "iso-data"; charts.js comes before.
'use strict';
(function () {
  const d = JSON.parse(document.getElementById('iso-data').textContent);
  if (!window.Chart) return;
  const LOSS = 'loss, nats per token', BPB = 'bits per byte, held out';
  const LAW = d.law_metric === 'bits_per_byte' ? BPB : LOSS;  // of sweep, law and parabolas
  const { sci, si, plain, mean, known, look, ramp, fade, logAxis, linAxis, flopTick, draw, dots, line } = isoCharts;
  const levelColour = i => ramp(d.levels.length > 1 ? 0.12 + 0.88 * i / (d.levels.length - 1) : 0.5);

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

  isoCharts.start(() => {
    isoflop();
    fit();
    curves();
    front('c-front0', 'train_flop', 'training FLOPs', flopTick);
    front('c-front1', 'wall', 'seconds', plain);
  });
})();
