// Charts as plain functions: numbers in, an SVG element out. Colours are classes of dashboard.css.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, ...children) {
  const node = name.startsWith("svg:")
    ? document.createElementNS(SVG, name.slice(4))
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function drawing(height, label, width) {
  return element("svg:svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
}

// Steps of 1, 2 or 5 times a power of ten that cut a range into about `count` pieces.
function ticks(low, high, count) {
  if (!(high > low)) return [low];
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(value);
  return found;
}

function scale([low, high], [from, to]) {
  const width = high - low || 1;
  return (value) => from + ((value - low) / width) * (to - from);
}

function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "n/a";
  return Math.abs(value) >= 1e5 ? value.toFixed(0) : String(Number(value.toPrecision(digits + 1)));
}

function day(time) {
  return new Date(time).toISOString().slice(0, 10);
}

function minute(time) {
  return new Date(time).toISOString().slice(0, 16).replace("T", " ");
}

function axes(svg, plot, x, y, xRange, yRange, xLabel, yLabel, yTicks = ticks(...yRange, 5)) {
  for (const value of yTicks) {
    const at = y(value);
    svg.append(element("svg:line", { class: "grid", x1: plot.left, x2: plot.right, y1: at, y2: at }));
    svg.append(element("svg:text", { x: plot.left - 6, y: at + 4, "text-anchor": "end" }, yLabel(value)));
  }
  svg.append(element("svg:line", { class: "axis", x1: plot.left, x2: plot.right, y1: plot.bottom, y2: plot.bottom }));
  let free = -Infinity;
  for (const value of ticks(...xRange, 5)) {
    const at = x(value), text = xLabel(value), half = text.length * 3.4;
    if (at - half < free || at + half > plot.right + 24) continue;
    svg.append(element("svg:text", { x: at, y: plot.bottom + 16, "text-anchor": "middle" }, text));
    free = at + half + 8;
  }
}

function line(points, x, y) {
  let open = false;
  return points
    .map(([a, b]) => {
      if (!Number.isFinite(b)) { open = false; return ""; }
      const step = `${open ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`;
      open = true;
      return step;
    })
    .join("");
}

// BUY points up, SELL down, HOLD is a ring: shape and place say it, not colour alone.
function marker(decision, cx, cy, arm, title) {
  const node =
    decision === "BUY" ? element("svg:path", { class: `marker arm${arm}`, d: `M${cx} ${cy - 5}l5 9h-10z` })
    : decision === "SELL" ? element("svg:path", { class: `marker arm${arm}`, d: `M${cx} ${cy + 5}l5 -9h-10z` })
    : element("svg:circle", { class: `hold arm${arm}`, cx, cy, r: 3 });
  if (decision !== "HOLD") node.classList.add("solid");
  node.append(element("svg:title", {}, title));
  return node;
}

// Bars above, one lane for each arm's decisions below.
function candleChart(chart, arms, width) {
  const candles = chart.candles.slice(-Math.max(24, Math.floor((width - 72) / 8)));
  const lanes = arms.length, laneHeight = 22, height = 260 + lanes * laneHeight + 24;
  const plot = { left: 64, right: width - 8, top: 8, bottom: 250 };
  const low = Math.min(...candles.map((c) => c[3])), high = Math.max(...candles.map((c) => c[2]));
  const first = candles[0][0], last = candles[candles.length - 1][0], step = candles.length > 1 ? (last - first) / (candles.length - 1) : 3600000;
  const x = scale([first, last + step], [plot.left, plot.right]), y = scale([low, high], [plot.bottom, plot.top]);
  const counts = arms.map((arm) => {
    const own = chart.decisions.filter((d) => d.arm === arm.name);
    return `${arm.name}: ${["BUY", "SELL", "HOLD"].map((k) => `${own.filter((d) => d.decision === k).length} ${k}`).join(", ")}`;
  });
  const svg = drawing(height, `${chart.instrument}: ${candles.length} bars from ${minute(first)} to ${minute(last + step)} UTC, close ${number(candles[candles.length - 1][4], 5)}. Decisions on them: ${counts.join("; ")}.`, width);
  for (const value of ticks(low, high, 5)) {
    svg.append(element("svg:line", { class: "grid", x1: plot.left, x2: plot.right, y1: y(value), y2: y(value) }));
    svg.append(element("svg:text", { x: plot.left - 6, y: y(value) + 4, "text-anchor": "end" }, number(value, 5)));
  }
  const body = Math.max(1, ((plot.right - plot.left) / candles.length) * 0.6);
  for (const [time, open, top, bottom, close] of candles) {
    const middle = x(time + step / 2), kind = close >= open ? "up" : "down";
    svg.append(element("svg:line", { class: kind, x1: middle, x2: middle, y1: y(top), y2: y(bottom) }));
    svg.append(element("svg:rect", { class: kind, x: middle - body / 2, width: body, y: y(Math.max(open, close)), height: Math.max(1, Math.abs(y(open) - y(close))) }));
  }
  arms.forEach((arm, index) => {
    const lane = plot.bottom + 20 + index * laneHeight;
    svg.append(element("svg:text", { x: plot.left - 6, y: lane + 4, "text-anchor": "end" }, arm.name.length > 9 ? `${arm.name.slice(0, 8)}\u2026` : arm.name));
    for (const decision of chart.decisions) {
      if (decision.arm !== arm.name || decision.time <= first) continue;
      const outcome = decision.label ? `, then ${(decision.return * 100).toFixed(2)} % (${decision.label})` : "";
      svg.append(marker(decision.decision, x(decision.time), lane, index % 3, `${minute(decision.time)} ${arm.name}: ${decision.decision}${decision.late ? " (late)" : ""}${outcome}`));
    }
  });
  let free = -Infinity;
  for (let index = 0; index < candles.length; index += Math.ceil(candles.length / Math.floor(width / 110))) {
    const at = x(candles[index][0]);
    if (at < free || at + 80 > width) continue;
    svg.append(element("svg:text", { x: at, y: height - 6 }, minute(candles[index][0]).slice(5)));
    free = at + 90;
  }
  return svg;
}

function evidenceChart(challengers, width) {
  const drawn = challengers.filter((c) => c.evidence.curve.length > 0);
  if (drawn.length === 0) return null;
  const plot = { left: 48, right: width - 12, top: 12, bottom: 220 };
  const threshold = Math.log(drawn[0].evidence.threshold);
  const times = drawn.flatMap((c) => c.evidence.curve.map((p) => Date.parse(p.time)));
  const values = drawn.flatMap((c) => c.evidence.curve.map((p) => p.log_e));
  const xRange = [Math.min(...times), Math.max(...times)], yRange = [Math.min(0, ...values), Math.max(threshold * 1.1, ...values)];
  const x = scale(xRange, [plot.left, plot.right]), y = scale(yRange, [plot.bottom, plot.top]);
  const words = drawn.map((c) => `${c.name}: e-value ${number(c.evidence.e_value)} after ${c.evidence.blocks} blocks, threshold ${number(c.evidence.threshold)}`);
  const svg = drawing(244, `Evidence that a challenger is better, on a logarithmic scale. ${words.join("; ")}.`, width);
  const powers = yRange[1] - yRange[0] > 9 ? [1] : [1, 2, 5];
  const marks = Array.from({ length: 25 }, (_, n) => powers.map((m) => Math.log(m * 10 ** (n - 8)))).flat().filter((v) => v >= yRange[0] - 1e-9 && v <= yRange[1]);
  axes(svg, plot, x, y, xRange, yRange, day, (value) => number(Math.exp(value), 2), marks);
  svg.append(element("svg:line", { class: "threshold", x1: plot.left, x2: plot.right, y1: y(threshold), y2: y(threshold) }));
  svg.append(element("svg:text", { x: plot.right, y: y(threshold) - 5, "text-anchor": "end" }, `promote at ${number(drawn[0].evidence.threshold)}`));
  drawn.forEach((c, index) => svg.append(element("svg:path", { class: `arm${(index % 2) + 1}`, d: line(c.evidence.curve.map((p) => [Date.parse(p.time), p.log_e]), x, y) })));
  return svg;
}

function bounds(interval) {
  return Array.isArray(interval) ? interval : [interval.low, interval.high];
}

function sequenceChart(challenger, width) {
  const curve = challenger ? challenger.evidence.curve : [];
  if (curve.length === 0) return null;
  const plot = { left: 48, right: width - 12, top: 12, bottom: 220 };
  const points = curve.map((p) => ({ time: Date.parse(p.time), band: bounds(p.interval) })).filter((p) => p.band.every(Number.isFinite));
  if (points.length === 0) return null;
  const xRange = [points[0].time, points[points.length - 1].time];
  const yRange = [Math.min(...points.map((p) => p.band[0])), Math.max(...points.map((p) => p.band[1]))];
  const x = scale(xRange, [plot.left, plot.right]), y = scale(yRange, [plot.bottom, plot.top]);
  const [low, high] = points[points.length - 1].band;
  const svg = drawing(244, `Mean score of a block, ${challenger.name} less champion: ${number(challenger.evidence.mean)}, between ${number(low)} and ${number(high)} at all times at once.`, width);
  axes(svg, plot, x, y, xRange, yRange, day, (value) => number(value, 2));
  const outline = [...points.map((p) => [p.time, p.band[1]]), ...points.slice().reverse().map((p) => [p.time, p.band[0]])];
  svg.append(element("svg:path", { class: "band", d: `${line(outline, x, y)}Z` }));
  if (yRange[0] < 0 && yRange[1] > 0) svg.append(element("svg:line", { class: "axis", x1: plot.left, x2: plot.right, y1: y(0), y2: y(0) }));
  return svg;
}

function calibrationChart(both, names, room) {
  if (!both) return null;
  const width = Math.min(room, 480), side = width - 140;
  const plot = { left: 48, right: 48 + side, top: 12, bottom: 12 + side };
  const x = scale([0, 1], [plot.left, plot.right]), y = scale([0, 1], [plot.bottom, plot.top]);
  const words = both.map((own, index) => `${names[index]}: error ${number(own.debiased_ece)} after debiasing, ${number(own.ece)} as binned`);
  const svg = drawing(side + 36, `How often decisions of each confidence were right. ${words.join("; ")}.`, width);
  axes(svg, plot, x, y, [0, 1], [0, 1], (v) => `${Math.round(v * 100)} %`, (v) => `${Math.round(v * 100)} %`);
  svg.append(element("svg:line", { class: "axis", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }));
  both.forEach((own, index) => {
    for (const bin of own.bins) {
      const [low, high] = bounds(bin.band), at = x(bin.confidence) + (index === 0 ? -2 : 2);
      if (Number.isFinite(low) && Number.isFinite(high)) svg.append(element("svg:line", { class: `arm${index}`, x1: at, x2: at, y1: y(low), y2: y(high) }));
      const dot = index === 0 ? element("svg:circle", { class: "arm0", cx: at, cy: y(bin.right), r: 4 }) : element("svg:rect", { class: "arm1", x: at - 4, y: y(bin.right) - 4, width: 8, height: 8 });
      dot.append(element("svg:title", {}, `${names[index]}: ${bin.count} decisions with ${(bin.confidence * 100).toFixed(0)} %, right ${(bin.right * 100).toFixed(0)} %`));
      svg.append(dot);
    }
    const at = 24 + index * 18;
    svg.append(index === 0 ? element("svg:circle", { class: "arm0", cx: plot.right + 14, cy: at, r: 4 }) : element("svg:rect", { class: "arm1", x: plot.right + 10, y: at - 4, width: 8, height: 8 }));
    svg.append(element("svg:text", { x: plot.right + 24, y: at + 4 }, names[index].length > 9 ? `${names[index].slice(0, 8)}\u2026` : names[index]));
  });
  return svg;
}

function latencyChart(latency, room) {
  if (!latency.passes) return null;
  const counts = latency.counts.map((count, index) => count - (index ? latency.counts[index - 1] : 0));
  counts.push(latency.passes - latency.counts[latency.counts.length - 1]);
  const labels = latency.bounds.map((bound) => (bound < 1 ? `${bound * 1000} ms` : `${bound} s`));
  labels.push("more");
  const most = Math.max(...counts), mean = latency.sum_seconds / latency.passes;
  const shown = counts.map((count, index) => [count, `${index < counts.length - 1 ? "\u2264 " : ""}${labels[index]}`]).filter(([count], index, all) => {
    const first = all.findIndex(([c]) => c > 0), last = all.findLastIndex(([c]) => c > 0);
    return index >= first - 1 && index <= last + 1;
  });
  const svg = drawing(170, `Time all arms took on the bars of an instant, ${latency.passes} times: ${number(mean * 1000)} ms on average.`, room);
  const width = Math.min(110, (room - 20) / shown.length);
  shown.forEach(([count, label], index) => {
    const height = most ? (count / most) * 110 : 0, left = 10 + index * width;
    svg.append(element("svg:rect", { class: "bar", x: left + 4, width: width - 8, y: 130 - height, height }));
    svg.append(element("svg:text", { x: left + width / 2, y: 124 - height, "text-anchor": "middle" }, count ? String(count) : ""));
    // Where letters would touch, every other label stands lower.
    const drop = width < 62 && index % 2 ? 14 : 0;
    svg.append(element("svg:text", { x: left + width / 2, y: 147 + drop, "text-anchor": "middle" }, label));
  });
  svg.append(element("svg:line", { class: "axis", x1: 10, x2: 10 + width * shown.length, y1: 130, y2: 130 }));
  return svg;
}
