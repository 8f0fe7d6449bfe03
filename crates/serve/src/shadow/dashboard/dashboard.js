// The dashboard: asks /v1/summary, fills the page, and asks again when records come by.
"use strict";

const find = (id) => document.getElementById(id);
const select = find("instrument");
let asked = false, timer = null, last = null;

// Charts are drawn as wide as their place, so that their letters keep their size on a phone.
function room(id) {
  return Math.max(280, find(id).clientWidth);
}

function fill(id, ...nodes) {
  find(id).replaceChildren(...nodes.filter(Boolean));
}

function paragraph(text, kind) {
  return element("p", { class: kind }, text);
}

function table(caption, heads, rows, numeric = []) {
  const head = element("tr", {}, ...heads.map((text, index) => element("th", { scope: "col", class: numeric.includes(index) ? "number" : null }, text)));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell, index) => cell instanceof Node ? cell : element("td", { class: numeric.includes(index) ? "number" : null }, String(cell ?? "\u2013")))));
  return element("table", {}, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...body));
}

function percent(value, digits = 1) {
  return value === null || value === undefined || !Number.isFinite(value) ? "n/a" : `${(value * 100).toFixed(digits)} %`;
}

// What stands between backticks is a name.
function worded(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

function showVerdict(summary) {
  const verdict = summary.verdict;
  if (verdict.error) {
    fill("verdict", paragraph(`No verdict: ${verdict.error}`, "headline"));
    return;
  }
  const words = { promote: `Promote ${verdict.arm}`, keep: "Keep the champion", roll_back: `Roll back to ${verdict.arm}` };
  fill("verdict", paragraph(words[verdict.verdict] ?? verdict.verdict, "headline"), element("ul", {}, ...verdict.reasons.map((reason) => element("li", {}, ...worded(reason)))));
}

function showArms(summary) {
  const of = (name) => (summary.verdict.challengers ?? []).find((c) => c.name === name);
  const rows = summary.arms.map((arm) => {
    const evidence = of(arm.name)?.evidence;
    return [arm.name, arm.role, evidence ? evidence.blocks : "", evidence ? number(evidence.e_value) : "", evidence ? number(evidence.threshold) : "",
      evidence ? (evidence.days_to_decision === null ? "no lead" : number(evidence.days_to_decision, 2)) : "", (arm.adapter_sha256 ?? "the base model").slice(0, 14)];
  });
  fill("arms", table("Arms, the champion first", ["Arm", "Role", "Blocks", "e-value", "Threshold", "Days to a decision", "Adapter"], rows, [2, 3, 4, 5]));
}

function showChart(summary) {
  const names = summary.instruments;
  if ([...select.options].map((o) => o.value).join() !== names.join()) {
    select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  }
  const chart = summary.chart;
  if (!chart || chart.candles.length === 0) {
    fill("candles", paragraph("No bars yet.", "dim"));
    fill("decisions");
    return;
  }
  select.value = chart.instrument;
  const keys = summary.arms.map((arm, index) => {
    const swatch = drawing(16, "", 16);
    swatch.setAttribute("aria-hidden", "true");
    swatch.append(element("svg:circle", { class: `arm${index % 3}`, cx: 8, cy: 8, r: 5 }));
    return element("span", { class: "key" }, swatch, `${arm.name} (${arm.role})`);
  });
  fill("candles", candleChart(chart, summary.arms, room("candles")), element("p", { class: "note" }, ...keys, "\u25b2 BUY \u25bc SELL \u25cb HOLD, at the close of the bar they were made on"));
  const rows = chart.decisions.slice(-120).reverse().map((d) => [minute(d.time), d.arm, d.decision + (d.late ? " (late)" : ""), ...d.probabilities.map((p) => percent(p, 0)), d.label ?? "open", d.label ? percent(d.return, 2) : ""]);
  fill("decisions", table("Newest first; times in UTC", ["Time", "Arm", "Decision", "BUY", "SELL", "HOLD", "Label", "Return"], rows, [3, 4, 5, 7]));
}

function showDiagnostics(challenger, champion) {
  if (!challenger?.figures) {
    fill("diagnostics", paragraph("No outcome yet.", "dim"));
    fill("plan");
    return;
  }
  const f = challenger.figures, rows = [];
  const pair = (name, key, show) => rows.push([name, show(f.champion[key]), show(f.challenger[key])]);
  pair("Accuracy", "accuracy", percent);
  pair("Accuracy by the plan (\u00b11 %)", "plan_accuracy", percent);
  pair("Net return a decision", "net_return", (v) => percent(v, 3));
  pair("Brier score", "brier", number);
  pair("Log loss", "log_loss", number);
  pair("Flip rate", "flip_rate", percent);
  for (const name of ["BUY", "SELL", "HOLD"]) rows.push([`Share of ${name}`, percent(f.champion.class_mix[name]), percent(f.challenger.class_mix[name])]);
  rows.push(["Agreement", element("td", { colspan: 2, class: "number" }, percent(f.agreement))]);
  const guards = challenger.guardrails.map((g) => element("li", {}, element("strong", { class: g.holds ? "good" : "bad" }, g.holds ? "holds" : "fails"), ` ${g.name}: ${g.text}`));
  fill("diagnostics", table(`${f.n} timely decisions of both arms with an outcome`, ["", champion ?? "champion", challenger.name], rows, [1, 2]), element("ul", {}, ...guards));
  find("plan").textContent = challenger.plan ? planSentence(challenger.plan) : "";
}

function planSentence(plan) {
  const chance = plan.false_promotion;
  return `The plan's own rule (accuracy 5 points higher, flip rate at most a tenth higher, never one class only) would ${plan.says.promotes ? "promote" : "not promote"}. Over as many bars it promotes a useless challenger in ${percent(chance.at_the_end, 0)} of ${chance.worlds} simulated worlds, in ${percent(chance.at_any_look, 0)} if one may stop on any day.`;
}

function showGroups(challenger, champion) {
  const parts = challenger ? [["Instrument", challenger.by_instrument], ["Market", challenger.by_regime], ["Base model's knowledge", challenger.by_knowledge]] : [];
  const signed = (value) => `${value >= 0 ? "+" : "\u2212"}${Math.abs(value * 100).toFixed(1)}`;
  const rows = parts.flatMap(([title, groups]) => groups.map((group) => {
    const f = group.figures, lead = f.accuracy_lead, ends = bounds(lead.interval);
    const interval = ends.every(Number.isFinite) ? `${signed(lead.value)} [${ends.map(signed).join(", ")}]` : signed(lead.value);
    return [title, group.name.replace(/T00:00:00Z$/, ""), f.n, percent(f.champion.accuracy), percent(f.challenger.accuracy), interval, percent(f.champion.flip_rate), percent(f.challenger.flip_rate), percent(f.agreement)];
  }));
  if (rows.length === 0) {
    fill("groups", paragraph("No outcome yet.", "dim"));
    return;
  }
  const names = [champion ?? "champion", challenger.name];
  fill("groups", table("Accuracy and its lead in points with its 95 % interval; for diagnosis only", ["Part", "", "Decisions", `${names[0]} right`, `${names[1]} right`, "Lead", `${names[0]} flips`, `${names[1]} flips`, "Agreement"], rows, [2, 3, 4, 5, 6, 7, 8]));
}

function showRecent(summary) {
  const rows = summary.recent.map((record) => {
    const what = record.kind === "decision" ? `${record.decision} ${record.probabilities.map((p) => p.toFixed(2)).join("/")}${record.late ? " (late)" : ""}`
      : record.kind === "outcome" ? (record.void ? `none: ${record.void}` : `${record.label} ${percent(record.return, 2)}`)
      : `${record.event} ${record.text ?? ""}`;
    return [minute(record.decision_time ?? record.at), element("td", { class: "wrap" }, what), record.arm ?? "", record.instrument ?? "", record.kind];
  });
  fill("recent", table("Newest first; times in UTC; probabilities of BUY/SELL/HOLD", ["Time", "What", "Arm", "Instrument", "Record"], rows));
}

function showPromotions(summary) {
  if (summary.promotions.length === 0) {
    fill("promotions", paragraph("None yet.", "dim"));
    return;
  }
  const rows = summary.promotions.map((c) => [minute(c.at), c.change, `${c.from} \u2192 ${c.to}`, c.verdict ? c.verdict.verdict : "none", element("td", { class: "wrap" }, c.reason ?? "")]);
  fill("promotions", table("Newest first; times in UTC", ["Time", "Change", "Champion", "Verdict", "Reason"], rows));
}

function show(summary) {
  last = summary;
  const health = summary.health, troubles = [health.storage, health.source].filter(Boolean);
  const decided = health.last_decision_time ? `last decision ${minute(health.last_decision_time)} UTC` : "no decision yet";
  find("status").textContent = troubles.length ? `${health.storage ? "Deciding has stopped" : "Waiting"}: ${troubles.join("; ")}` : `${summary.mode}, ${decided}`;
  const challengers = summary.verdict.challengers ?? [], first = challengers[0];
  showVerdict(summary);
  showArms(summary);
  showChart(summary);
  fill("evidence", evidenceChart(challengers, room("evidence")) ?? paragraph("No block is over yet.", "dim"));
  fill("sequence", sequenceChart(first, room("sequence")) ?? paragraph("No block is over yet.", "dim"));
  fill("calibration", calibrationChart(first?.calibration, [summary.verdict.champion ?? "champion", first?.name ?? ""], room("calibration")) ?? paragraph("No outcome yet.", "dim"));
  showDiagnostics(first, summary.verdict.champion);
  showGroups(first, summary.verdict.champion);
  fill("latency", latencyChart(summary.latency, room("latency")) ?? paragraph("Nothing decided since the start.", "dim"));
  showRecent(summary);
  showPromotions(summary);
}

async function ask() {
  if (asked) return;
  asked = true;
  try {
    const name = select.value ? `?instrument=${encodeURIComponent(select.value)}` : "";
    const answer = await fetch(`/v1/summary${name}`);
    if (!answer.ok) throw new Error((await answer.json()).error);
    show(await answer.json());
  } catch (error) {
    find("status").textContent = `The service does not answer: ${error.message}`;
  } finally {
    asked = false;
  }
}

// Many records come at once; the page is filled again at most every two seconds.
function soon() {
  timer ??= setTimeout(() => { timer = null; ask(); }, 2000);
}

select.addEventListener("change", ask);
addEventListener("resize", () => { if (last) show(last); });
ask();
if (!new URLSearchParams(location.search).has("still")) {
  const events = new EventSource("/v1/events");
  for (const kind of ["decision", "outcome", "event"]) events.addEventListener(kind, soon);
  events.onerror = soon;
  // A source or a disk that fails writes no record.
  setInterval(() => { if (!document.hidden) soon(); }, 15000);
}
