"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const { metrics: M, browser: B, facts: FACTS, gates: GATES, notes: NOTES } = DATA;
const PAGE = 25, NOISY = "noisy", STAND = "stand", CLEAN = "clean";
const byId = (id) => document.getElementById(id);

/* ---- small helpers: every text from the data goes through textContent ---- */
function el(tag, attributes = {}, ...children) {
  const svg = ["svg", "rect", "line", "circle", "path", "text", "g", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (value !== null && value !== undefined) node.setAttribute(key, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}
const short = (x) => (Math.abs(x) < 1 ? x.toFixed(2).replace("0.", ".") : x.toFixed(2));
const plain = (x, digits) => x.toFixed(digits).replace("-", "−");
const signed = (x, digits = 3) => (x < 0 ? "−" : "+") + Math.abs(x).toFixed(digits);
const span = (e) => `${short(e.low)} to ${short(e.high)}`.replaceAll("-", "−");
const signedSpan = (e) => `${signed(e.low, 2)} to ${signed(e.high, 2)}`;
const many = (n) => Math.round(n).toLocaleString("en");
const others = Object.keys(M.arms).filter((arm) => arm !== STAND && arm !== "rop");
const colour = (arm) => `var(--c${arm === STAND ? 0 : arm === "rop" ? 1 : 2 + (others.indexOf(arm) % 11)})`;
const isClean = (c) => c.split("#")[0] === CLEAN;
const noisyConditions = M.conditions.filter((c) => !isClean(c));
const accuracy = (arm, condition) => (M.arms[arm].conditions[condition] || {}).accuracy || null;
const present = (value) => value && value.value !== null && value.value !== undefined;
const withSpan = (e, text) => (present(e) ? [text, " ", el("span", { class: "span" }, `(${span(e)})`)] : [nothing(e)]);
/* the share of questions that noise changed, over all kinds of noise where that is what is shown */
const changed = (c) => {
  const shares = Object.entries(M.noise).filter(([name]) => c === NOISY || name === c).map(([, row]) => row.share);
  return shares.length ? (shares.reduce((sum, share) => sum + share, 0) / shares.length).toFixed(3) : "";
};
const nothing = (e) => el("span", { class: "muted", title: (e && e.reason) || "not measured" }, "–");

function section(id, title, lead, ...content) {
  byId("sections").append(el("section", { id, "aria-labelledby": `${id}-title` },
    el("h2", { id: `${id}-title` }, title), lead ? el("p", { class: "lead" }, lead) : null, ...content));
}
function table(headers, rows, caption) {
  const head = el("thead", {}, el("tr", {}, headers.map((h) => el("th", { scope: "col" }, h))));
  const body = el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, i) => {
    if (cell instanceof HTMLTableCellElement) return cell;
    return i === 0 ? el("th", { scope: "row" }, cell) : el("td", {}, cell);
  }))));
  return el("div", { class: rows.length > 14 ? "scroll long" : "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", { class: "small" }, caption), head, body));
}
/* Round numbers from 0 to at least `most`, six at the most. */
function ticks(most) {
  const unit = 10 ** Math.floor(Math.log10(most)), step = [0.2, 0.5, 1, 2].map((s) => s * unit).find((s) => most / s < 5.001);
  return Array.from({ length: Math.ceil(most / step - 0.001) + 1 }, (_, i) => +(i * step).toPrecision(6));
}
const last = (list) => list[list.length - 1];
/* An empty chart with its grid, numbers and the name below; `x` and `y` say where a value stands in it. */
function frame(W, H, [left, right, bottom, top], xs, ys, name, words) {
  const x = (v) => left + (v / last(xs)) * (W - left - right), y = (v) => H - bottom - (v / last(ys)) * (H - bottom - top);
  const svg = el("svg", { viewBox: `0 0 ${W} ${H}`, width: "100%", role: "img", "aria-label": words },
    ys.flatMap((v) => [el("line", { x1: left, x2: W - right, y1: y(v), y2: y(v), stroke: "var(--line)" }), el("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, String(v))]),
    xs.map((v) => el("text", { x: x(v), y: H - bottom + 18, "text-anchor": "middle" }, String(v))),
    el("text", { x: (left + W - right) / 2, y: H - 1, "text-anchor": "middle" }, name));
  return { svg, x, y };
}

/* ---- top of the page ---- */
function hero() {
  byId("title").textContent = FACTS.title;
  byId("kicker").textContent = FACTS.kicker;
  const arms = Object.keys(M.arms), tiles = [];
  const tile = (name, e, sign) => present(e) && tiles.push(el("div", { class: "tile" }, el("div", { class: "name" }, name),
    el("div", { class: "big" }, sign ? signed(e.value) : e.value.toFixed(3)), el("div", { class: "span" }, sign ? signedSpan(e) : span(e))));
  const base = arms.includes(STAND) ? STAND : arms[0];
  const hero = arms.includes("rop") ? "rop" : arms.filter((a) => a !== base && a !== "oracle").pop();
  if (base) {
    tile(`Clean, ${base}`, accuracy(base, CLEAN));
    tile(`Under noise, ${base}`, accuracy(base, NOISY));
  }
  if (hero) {
    tile(`Under noise, ${hero}`, accuracy(hero, NOISY));
    tile(`Gain of ${hero} under noise`, (M.arms[hero].gain || {})[NOISY], true);
    tile(`Harm of ${hero} to clean`, M.arms[hero].clean_drop, true);
  } else if (base) tile("Loss to noise", (M.arms[base].drop || {})[NOISY], true);
  byId("tiles").append(...tiles);
  byId("notes").append(...NOTES.map((note) => el("li", {}, note)));
}

/* ---- accuracy: bars with intervals, one panel a condition ---- */
function bars() {
  const shown = [...M.conditions.filter((c) => c === CLEAN), ...(noisyConditions.length > 1 ? [NOISY] : []), ...noisyConditions];
  const arms = Object.keys(M.arms);
  const top = last(ticks(Math.max(0.01, ...arms.flatMap((a) => shown.map((c) => (accuracy(a, c) || { high: 0 }).high)))));
  const at = (x) => `${(100 * Math.min(x, top)) / top}%`;
  const reference = M.arms[STAND] && accuracy(STAND, CLEAN);
  const upright = (x, stroke, dashes) => el("line", { x1: at(x), x2: at(x), y1: -2, y2: 18, stroke, "stroke-dasharray": dashes });
  const row = (label, arm, condition) => {
    const e = accuracy(arm, condition);
    if (!e) return null;
    const bar = el("svg", { "aria-hidden": "true" },
      el("rect", { x: 0, y: 3, width: at(e.value), height: 10, rx: 2, fill: colour(arm), opacity: 0.82 }),
      el("line", { x1: at(e.low), x2: at(e.high), y1: 8, y2: 8, stroke: "var(--ink)", "stroke-width": 1.4 }),
      ...[e.low, e.high].map((x) => el("line", { x1: at(x), x2: at(x), y1: 4.5, y2: 11.5, stroke: "var(--ink)", "stroke-width": 1.4 })),
      reference ? upright(reference.value, "var(--soft)", "2 2") : null, M.chance ? upright(M.chance, "var(--bad)", "1 3") : null);
    const name = `${arm} under ${condition}: accuracy ${e.value.toFixed(3)}, interval ${span(e)}. Show these answers.`;
    return el("button", { class: "row", type: "button", "aria-label": name, title: name, on: { click: () => go({ arm, condition: condition === NOISY ? "" : condition }) } },
      el("span", { class: "label" }, label), bar, el("span", { class: "value" }, e.value.toFixed(3)));
  };
  const panel = (title, note, rows) => el("div", { class: "card" }, el("h3", {}, title, el("small", {}, note)), rows,
    el("div", { class: "axis", "aria-hidden": "true" }, el("span"), el("div", {}, ["0", String(+(top / 2).toFixed(3)), String(top)].map((t) => el("span", {}, t))), el("span")));
  const strength = (c) => arms.map((a) => (M.arms[a].conditions[c] || {}).strength).find((s) => s);
  const words = (c) => (c === NOISY ? "average over all noise" : strength(c) ? `${Math.round(100 * strength(c))} % of words changed` : "");
  const note = (c) => [words(c), changed(c) ? `in ${changed(c)} of the questions` : ""].filter(Boolean).join(", ");
  const panels = arms.length === 1 ? panel(arms[0], "", shown.map((c) => row(c, arms[0], c)))
    : el("div", { class: "grid" }, shown.map((c) => panel(c, note(c), arms.map((arm) => row(arm, arm, c)))));
  section("accuracy", "Accuracy", `Share of right answers with ${Math.round(100 * M.level)} % intervals. The dashed line is stand on clean questions${M.chance ? "; the dotted one is guessing" : ""}. Choose a bar to read its answers.`, panels, changes());
}

/* how many questions the noise changed, and why it left the others as they were */
function changes() {
  const rows = Object.entries(M.noise).map(([c, row]) => [c, many(row.copies), many(row.changed),
    el("td", { class: row.share < 0.95 ? "fail" : "" }, row.share.toFixed(3)),
    el("td", { class: "words" }, Object.entries(row.reasons).slice(0, 3).map(([why, count]) => `${why} (${count})`).join(", ") || "–")]);
  return rows.length ? table(["noise", "questions", "changed", "share", "why not the others"], rows, "Questions that the noise changed; the others were asked clean") : null;
}

/* ---- effects against stand ---- */
function effects() {
  const arms = Object.keys(M.arms).filter((a) => M.arms[a].gain && Object.keys(M.arms[a].gain).length);
  if (!arms.length) return;
  const holder = el("div");
  const choose = conditionPicker("effect-condition", () => {
    const c = choose.value;
    const ends = arms.flatMap((a) => [M.arms[a].gain[c], M.arms[a].clean_drop]).filter(present).flatMap((e) => [Math.abs(e.low), Math.abs(e.high)]);
    const reach = Math.max(0.02, ...ends);
    const ps = pcolumn("gain", arms.map((a) => [a, c]));
    const rows = arms.map((arm) => {
      const A = M.arms[arm], gain = A.gain[c], harm = A.clean_drop, harmed = holm("clean_drop", arm, CLEAN);
      const over = A.over_correction && A.over_correction.altered;
      return [A.mark ? `${arm} (${A.mark})` : arm, forest(gain, reach, arm), el("td", {}, present(gain) ? [signed(gain.value), " ", el("span", { class: "span" }, `(${signedSpan(gain)})`)] : nothing(gain)),
        el("td", {}, ...withSpan(A.recovery && A.recovery[c], present(A.recovery && A.recovery[c]) ? plain(A.recovery[c].value, 2) : "")),
        el("td", { class: present(harm) && harm.low > 0 ? "fail" : "" }, present(harm) ? [signed(harm.value), " ", el("span", { class: "span" }, `(${signedSpan(harm)})${harmed ? `; p, Holm ${pvalue(harmed.adjusted)}` : ""}`)] : nothing(harm)),
        el("td", {}, ...withSpan(over, over ? over.value.toFixed(3) : "")),
        ps.cell(arm, c, gain)];
    });
    holder.replaceChildren(table(["arm", "", "gain", "recovery", "harm to clean", "clean altered", ps.title], rows, `Gain over stand under ${c === NOISY ? "all noise, averaged" : c}${changed(c) ? `; noise changed ${changed(c)} of the questions` : ""}`));
  });
  section("effects", "What each arm wins", "Paired differences on the same questions. Recovery is the share of stand's loss that is won back; it is left out where there is no clear loss to recover. Harm is what the arm takes from clean questions.",
    el("label", { class: "pick" }, "Under", choose), holder);
}
function forest(e, reach, arm) {
  const cell = el("td", { class: "forest" });
  if (!present(e)) return cell;
  const at = (x) => `${50 + (49 * Math.max(-reach, Math.min(reach, x))) / reach}%`;
  cell.append(el("svg", { role: "img", "aria-label": `${signed(e.value)}, interval ${signedSpan(e)}` },
    el("line", { x1: "50%", x2: "50%", y1: -4, y2: 22, stroke: "var(--line)" }),
    el("line", { x1: at(e.low), x2: at(e.high), y1: 9, y2: 9, stroke: colour(arm), "stroke-width": 2.4, "stroke-linecap": "round" }),
    el("circle", { cx: at(e.value), cy: 9, r: 4.2, fill: colour(arm) })));
  return cell;
}
const pvalue = (p) => (p < 0.001 ? "<.001" : p.toFixed(3));
const holm = (metric, arm, c) => M.holm.find((h) => h.metric === metric && h.arm === arm && h.condition === c);
/* a column of p-values: Holm's where the recipe declares such comparisons, and raw ones said to be so */
function pcolumn(metric, shown) {
  const adjusted = shown.some(([arm, c]) => holm(metric, arm, c));
  return { title: adjusted ? "p, Holm" : "p, raw", cell: (arm, c, e) => {
    const test = holm(metric, arm, c), raw = e && e.p !== undefined ? pvalue(e.p) + (adjusted ? " raw" : "") : "";
    const said = (test ? pvalue(test.adjusted) : raw) + (e && e.undecided ? ", undecided" : "");
    return el("td", { class: test && test.significant ? "best" : "" }, said);
  } };
}
function losses() {
  const arms = Object.keys(M.arms).filter((a) => Object.keys(M.arms[a].drop || {}).length);
  if (!arms.length) return;
  const reach = Math.max(0.02, ...arms.flatMap((a) => Object.values(M.arms[a].drop).flatMap((e) => [Math.abs(e.low || 0), Math.abs(e.high || 0)])));
  const row = (ps, label, arm, c) => {
    const e = M.arms[arm].drop[c], f = M.arms[arm].flips[c], flip = (way) => el("td", {}, ...withSpan(f[way], f[way].of ? f[way].value.toFixed(3) : "–"));
    return [label, changed(c), forest(e, reach, arm), el("td", {}, present(e) ? [signed(e.value), " ", el("span", { class: "span" }, `(${signedSpan(e)})`)] : nothing(e)),
      el("td", {}, ...withSpan(e.relative, present(e.relative) ? plain(e.relative.value, 2) : "")), flip("right_to_wrong"), flip("wrong_to_right"), ps.cell(arm, c, e)];
  };
  const holder = el("div"), headers = ["changed", "", "loss", "relative", "right to wrong", "wrong to right"];
  const lead = "Clean minus noisy accuracy on the same questions, and how often single answers flip: a right one to wrong, a wrong one to right.";
  if (arms.length === 1) {
    const shown = Object.keys(M.arms[arms[0]].drop).filter((c) => c !== NOISY || noisyConditions.length > 1);
    const ps = pcolumn("drop", shown.map((c) => [arms[0], c]));
    holder.append(table(["noise", ...headers, ps.title], shown.map((c) => row(ps, c, arms[0], c)), "Loss of accuracy under noise"));
    return section("losses", "What noise takes", lead, holder);
  }
  const choose = conditionPicker("loss-condition", () => {
    const c = choose.value;
    const shown = arms.filter((a) => M.arms[a].drop[c]), ps = pcolumn("drop", shown.map((a) => [a, c]));
    holder.replaceChildren(table(["arm", ...headers, ps.title], shown.map((a) => row(ps, a, a, c)), `Loss of accuracy under ${c === NOISY ? "all noise, averaged" : c}`));
  });
  section("losses", "What noise takes", lead, el("label", { class: "pick" }, "Under", choose), holder);
}
function conditionPicker(id, draw) {
  const names = [...(noisyConditions.length > 1 ? [NOISY] : []), ...noisyConditions];
  const choose = el("select", { id, on: { change: draw } }, names.map((c) => el("option", { value: c }, c === NOISY ? "all noise, averaged" : c)));
  queueMicrotask(draw);
  return choose;
}

/* ---- ablation ---- */
function ablation() {
  const arms = [STAND, "correct_only", "guide_only", "rop"];
  if (!arms.every((a) => M.arms[a])) return;
  const rows = noisyConditions.filter((c) => arms.every((a) => accuracy(a, c))).map((c) => {
    const values = arms.map((a) => accuracy(a, c)), top = Math.max(...values.map((e) => e.value));
    const gain = M.arms.rop.gain[c];
    return [c, changed(c), ...values.map((e) => el("td", { class: e.value === top ? "best" : "" }, e.value.toFixed(3), " ", el("span", { class: "span" }, `(${span(e)})`))),
      el("td", {}, present(gain) ? [signed(gain.value), " ", el("span", { class: "span" }, `(${signedSpan(gain)})`)] : nothing(gain))];
  });
  section("ablation", "Ablation", "Neither stage, each stage alone, and both: the layout of Table 4 of the RoP paper.",
    table(["noise", "changed", "neither (stand)", "correct only", "guide only", "both (rop)", "both − neither"], rows, "Accuracy by stage; the highest of a row is bold"));
}

/* ---- strength curves ---- */
function curves() {
  const operators = [...new Set(Object.values(M.arms).flatMap((a) => Object.keys(a.curves || {})))];
  if (!operators.length) return;
  const W = 460, H = 260, right = 116, bottom = 36;
  const chart = (op) => {
    const arms = Object.keys(M.arms).filter((a) => M.arms[a].curves && M.arms[a].curves[op]);
    const lines = arms.map((a) => M.arms[a].curves[op].points.filter((p) => p.accuracy));
    const strengths = [...new Set(lines.flat().map((p) => p.strength))].sort((a, b) => a - b);
    const words = arms.map((a, i) => `${a} from ${lines[i][0].accuracy.value.toFixed(2)} to ${last(lines[i]).accuracy.value.toFixed(2)}`).join("; ");
    const { svg, x, y } = frame(W, H, [40, right, bottom, 12], strengths, ticks(Math.max(0.01, ...lines.flat().map((p) => p.accuracy.high))), `strength of ${op}`, `Accuracy by strength of ${op}: ${words}`);
    const ends = [];
    arms.forEach((arm, i) => {
      const points = lines[i], c = colour(arm);
      const band = [...points.map((p) => `${x(p.strength)},${y(p.accuracy.high)}`), ...points.slice().reverse().map((p) => `${x(p.strength)},${y(p.accuracy.low)}`)];
      svg.append(el("path", { d: `M${band.join("L")}Z`, fill: c, opacity: 0.09 }),
        el("path", { d: `M${points.map((p) => `${x(p.strength)},${y(p.accuracy.value)}`).join("L")}`, fill: "none", stroke: c, "stroke-width": 2 }),
        ...points.map((p) => el("circle", { cx: x(p.strength), cy: y(p.accuracy.value), r: 3, fill: c }, el("title", {}, `${arm} at ${p.strength}: ${p.accuracy.value.toFixed(3)} (${span(p.accuracy)})`))));
      ends.push({ arm, y: y(last(points).accuracy.value) });
    });
    ends.sort((a, b) => a.y - b.y);
    ends.forEach((e, i) => { if (i && e.y < ends[i - 1].y + 14) e.y = ends[i - 1].y + 14; });
    ends.reverse().forEach((e, i) => { e.y = Math.min(e.y, i ? ends[i - 1].y - 14 : H - bottom); }); // names end where the plot ends
    for (const e of ends) svg.append(el("rect", { x: W - right + 8, y: e.y - 4, width: 8, height: 8, rx: 2, fill: colour(e.arm) }), el("text", { class: "name", x: W - right + 21, y: e.y + 4 }, e.arm));
    return el("div", { class: "card" }, el("h3", {}, op), svg);
  };
  const rows = operators.flatMap((op) => Object.keys(M.arms).filter((a) => M.arms[a].curves && M.arms[a].curves[op] && present(M.arms[a].curves[op].area)).map((a) => {
    const e = M.arms[a].curves[op].area;
    return [`${op}, ${a}`, el("td", {}, e.value.toFixed(3)), el("td", {}, span(e))];
  }));
  section("strength", "Strength", "Accuracy as noise grows. The area under a curve is its mean height: accuracy averaged over the range of strengths.",
    el("div", { class: "stack" }, el("div", { class: "grid wide" }, operators.map(chart)),
      table(["operator, arm", "area under curve", "interval"], rows, "Area under the strength curves")));
}

/* ---- held-out kinds of noise ---- */
function holdout() {
  const arms = Object.keys(M.arms).filter((a) => M.arms[a].holdout && Object.keys(M.arms[a].holdout).length);
  if (!arms.length) return;
  const cards = arms.map((arm) => {
    const matrix = M.arms[arm].holdout, place = (r) => (noisyConditions.findIndex((c) => c === r || c.startsWith(`${r}@`)) + 1000) % 1000;
    const rowsOf = Object.keys(matrix).sort((a, b) => place(a) - place(b)), columns = noisyConditions.filter((c) => rowsOf.some((r) => matrix[r][c]));
    const reach = Math.max(0.01, ...rowsOf.flatMap((r) => columns.map((c) => Math.abs((matrix[r][c] || { value: 0 }).value))));
    const rows = rowsOf.map((r) => [`without ${r}`, ...columns.map((c) => {
      const e = matrix[r][c];
      if (!present(e)) return el("td", {}, nothing(e));
      const out = r === c || c.startsWith(`${r}@`), cell = el("td", { class: out ? "best" : "", title: out ? "never seen in tuning" : "" }, signed(e.value), out ? " ◦" : "", el("br"), el("span", { class: "span" }, signedSpan(e)));
      cell.style.background = `color-mix(in srgb, ${e.value < 0 ? "var(--off-bg)" : "var(--fixed-bg)"} ${Math.round((90 * Math.abs(e.value)) / reach)}%, transparent)`;
      return cell;
    })]);
    return table(["tuned", ...columns], rows, `${arm}: gain over stand, by the kind left out of tuning (row) and the kind asked (column); ◦ was never seen`);
  });
  section("heldout", "Held-out noise", "Does an instruction help against noise it was not tuned on?", el("div", { class: "stack" }, cards));
}

/* ---- cost ---- */
function cost() {
  const arms = Object.keys(M.arms);
  const sums = Object.fromEntries(arms.map((arm) => {
    const cells = Object.entries(M.arms[arm].conditions).filter(([c]) => c !== NOISY).map(([, v]) => v);
    const sum = (f) => cells.reduce((t, v) => t + f(v), 0);
    const timing = Object.values(M.timing[arm] || {});
    return [arm, { outcomes: sum((v) => v.outcomes), calls: sum((v) => v.calls), prompt: sum((v) => v.tokens.prompt), completion: sum((v) => v.tokens.completion),
      seconds: timing.some((v) => v.engine_seconds !== null) ? timing.reduce((t, v) => t + v.engine_seconds, 0) : NaN, cached: timing.reduce((t, v) => t + v.prefix_cached_tokens, 0), stored: timing.reduce((t, v) => t + v.cached_calls, 0), price: cells.some((v) => v.price !== null) ? sum((v) => v.price || 0) : null,
      unparsed: sum((v) => v.unparsed), cut: sum((v) => v.cut), errors: sum((v) => v.errors) }];
  }));
  const priced = arms.some((a) => sums[a].price !== null);
  const ways = { tokens: ["tokens for each answer", (s) => (s.prompt + s.completion) / s.outcomes], generated: ["generated tokens for each answer", (s) => s.completion / s.outcomes], calls: ["calls for each answer", (s) => s.calls / s.outcomes], seconds: ["engine seconds for each answer", (s) => s.seconds / s.outcomes] };
  if (priced) ways.price = ["price of 1,000 answers", (s) => (1000 * s.price) / s.outcomes];
  const holder = el("div", { class: "card keyed" }), where = noisyConditions.length > 1 ? NOISY : noisyConditions[0] || CLEAN;
  const choose = el("select", { id: "cost-by" }, Object.entries(ways).map(([k, [label]]) => el("option", { value: k }, label)));
  const draw = () => {
    const [label, of] = ways[choose.value], W = 700, H = 320;
    const points = arms.map((arm) => ({ arm, x: of(sums[arm]), e: accuracy(arm, where) })).filter((p) => p.e && Number.isFinite(p.x)).sort((a, b) => b.e.value - a.e.value);
    if (!points.length) return;
    const words = points.map((p) => `${p.arm} ${p.e.value.toFixed(2)} at ${+p.x.toPrecision(3)}`).join("; ");
    const { svg, x, y } = frame(W, H, [44, 24, 40, 14], ticks(Math.max(...points.map((p) => p.x)) || 1), ticks(Math.max(0.01, ...points.map((p) => p.e.high))), label, `Accuracy under ${where} against ${label}: ${words}`);
    for (const p of points) {
      p.at = x(p.x);
      while (points.some((q) => q !== p && Math.abs(q.at - p.at) < 7)) p.at += 7; // arms that cost the same stand side by side
      svg.append(el("line", { x1: p.at, x2: p.at, y1: y(p.e.low), y2: y(p.e.high), stroke: colour(p.arm), "stroke-width": 1.6, opacity: 0.75 }),
        el("circle", { cx: p.at, cy: y(p.e.value), r: 4.5, fill: colour(p.arm) }, el("title", {}, `${p.arm}: ${p.e.value.toFixed(3)} (${span(p.e)}) at ${+p.x.toPrecision(3)}`)));
    }
    const taken = points.map((p) => [p.at - 6, y(p.e.high), p.at + 6, y(p.e.low)]);
    for (const p of points) { // a name stands beside its point where there is room; all are in the list
      const wide = 7 * p.arm.length, middle = y(p.e.value) + 4;
      const places = [[p.at + 9, middle], [p.at - 9 - wide, middle], [p.at - wide / 2, y(p.e.high) - 6], [p.at - wide / 2, y(p.e.low) + 14]];
      const free = places.map(([left, base]) => [left, base - 11, left + wide, base + 3]).find((box) => box[0] > 44 && box[2] < W && box[3] < H - 40
        && !taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3]));
      if (!free) continue;
      taken.push(free);
      svg.append(el("text", { class: "name", x: free[0], y: free[3] - 3 }, p.arm));
    }
    const dot = (arm) => el("svg", { width: 10, height: 10, "aria-hidden": "true" }, el("circle", { cx: 5, cy: 5, r: 4.5, fill: colour(arm) }));
    holder.replaceChildren(svg, el("ul", { class: "key" }, points.map((p) => el("li", {}, dot(p.arm), el("span", {}, p.arm), el("span", { class: "muted" }, `${p.e.value.toFixed(3)} at ${+p.x.toPrecision(3)}`)))));
  };
  choose.addEventListener("change", draw);
  draw();
  const rows = arms.map((a) => [a, ...["calls", "prompt", "cached", "completion"].map((k) => el("td", {}, many(sums[a][k]))), el("td", {}, Number.isNaN(sums[a].seconds) ? nothing() : (sums[a].seconds / Math.max(1, sums[a].outcomes)).toFixed(2)), el("td", {}, many(sums[a].stored)), ...(priced ? [el("td", {}, (sums[a].price || 0).toFixed(4))] : []), ...["unparsed", "cut", "errors"].map((k) => el("td", {}, many(sums[a][k])))]);
  section("cost", "Cost", `What accuracy under ${where === NOISY ? "noise" : where} is paid with.`, el("div", { class: "stack" }, ...(arms.length > 1 ? [el("label", { class: "pick" }, "By", choose), holder] : []),
    table(["arm", "calls", "prompt tokens", "of them cached", "generated tokens", "engine s an answer", "calls from cache", ...(priced ? ["price"] : []), "unparsed", "cut", "errors"], rows, "Totals over all conditions")));
}

/* ---- correction quality ---- */
function correction() {
  const rate = (e) => el("td", {}, ...withSpan(e, present(e) ? e.value.toFixed(3) : ""));
  const bare = (e) => el("td", { title: present(e) ? span(e) : "" }, present(e) ? e.value.toFixed(3) : "–");
  const options = Object.values(M.arms).some((A) => Object.values(A.correction || {}).some((q) => q.options_kept));
  const rows = Object.entries(M.arms).flatMap(([arm, A]) => Object.entries(A.correction || {}).map(([c, q]) => [`${arm}, ${c}`, el("td", {}, q.cer_before.toFixed(3)), el("td", { class: q.cer_after > q.cer_before ? "fail" : "" }, q.cer_after.toFixed(3)),
    rate(q.restored), rate(q.numbers_kept), ...(options ? [rate(q.options_kept)] : []), bare(q.answered_instead), bare(q.refused),
    el("td", { title: Object.entries(q.fallback).map(([why, n]) => `${why}: ${n}`).join(", ") }, many(Object.values(q.fallback).reduce((a, b) => a + b, 0)))]));
  if (!rows.length) return;
  const over = Object.entries(M.arms).filter(([, A]) => A.over_correction).map(([arm, A]) => [arm, rate(A.over_correction.altered), rate(A.over_correction.numbers_altered),
    el("td", {}, present(A.clean_drop) ? [signed(A.clean_drop.value), " ", el("span", { class: "span" }, `(${signedSpan(A.clean_drop)})`)] : "–")]);
  section("correction", "Correction", "The corrected text itself, compared with the original. CER is the character error rate.", el("div", { class: "stack" },
    table(["arm, noise", "CER before", "CER after", "restored exactly", "numbers kept", ...(options ? ["options kept"] : []), "answered instead", "refused", "not used"], rows, "Restoration of noisy questions"),
    over.length ? table(["arm", "clean questions altered", "their numbers altered", "accuracy lost on clean"], over, "Over-correction of clean questions") : null));
}

/* ---- gates, repeats, facts ---- */
function gates() {
  if (!GATES.length) return;
  const rows = GATES.map((g) => [g.gate, el("td", {}, g.value === null ? el("span", { class: "muted" }, g.reason || "") : plain(g.value, 3)), el("td", {}, g.value === null ? "" : `${plain(g.low, 3)} to ${plain(g.high, 3)}`), el("td", { class: g.verdict }, g.verdict)]);
  byId("verdicts").append(table(["gate", "measured", "interval", "verdict"], rows, "Gates"));
}
function repeats() {
  const rows = Object.entries(M.arms).flatMap(([arm, A]) => Object.entries(A.repeats || {}).flatMap(([c, r]) => ["draws", "search_seeds"].filter((k) => r[k]).map((k) =>
    [`${arm}, ${c}`, el("td", {}, k === "draws" ? "noise draws" : "search seeds"), el("td", {}, r[k].accuracy.map((a) => a.toFixed(3)).join("  ")), el("td", {}, r[k].sd.toFixed(4)), el("td", {}, r.sampling_se_of_drop === null ? "" : r.sampling_se_of_drop.toFixed(4))])));
  const floor = Object.entries(M.noise_floor).map(([arm, f]) => [arm, el("td", {}, many(f.n)), el("td", {}, ...withSpan(f.verdict_differs, f.verdict_differs.value.toFixed(3))), el("td", {}, ...withSpan(f.answer_differs, f.answer_differs.value.toFixed(3)))]);
  if (!rows.length && !floor.length) return;
  section("noise", "Noise of the measurement", "Variation that is not sampling of questions: fresh noise, another search, the engine itself.", el("div", { class: "stack" },
    floor.length ? table(["arm", "clean questions asked twice", "verdict differs", "answer differs"], floor, "Noise floor of the engine") : null,
    rows.length ? table(["arm, noise", "repeats of", "accuracy of each", "standard deviation", "sampling error of the loss"], rows, "Repeats, apart from sampling error") : null));
}
function facts() {
  const list = el("dl", { class: "facts" }, FACTS.rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  const told = FACTS.instructions.flatMap((i) => [el("p", { class: "small" }, i.name), el("blockquote", {}, i.text)]);
  section("run", "The run", null, el("div", { class: "card" }, list, told.length ? [el("p"), el("h3", {}, "Instructions"), ...told] : null));
}
