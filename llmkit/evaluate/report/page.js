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
function niceTop(values) {
  const top = Math.max(...values, 0.01);
  return [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1].find((x) => x >= top) || Math.ceil(top);
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
  const top = niceTop(arms.flatMap((a) => shown.map((c) => (accuracy(a, c) || { high: 0 }).high)));
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
  const note = (c) => (c === NOISY ? "average over all noise" : strength(c) ? `${Math.round(100 * strength(c))} % of words changed` : "");
  const panels = arms.length === 1 ? panel(arms[0], "", shown.map((c) => row(c, arms[0], c)))
    : el("div", { class: "grid" }, shown.map((c) => panel(c, note(c), arms.map((arm) => row(arm, arm, c)))));
  section("accuracy", "Accuracy", `Share of right answers with ${Math.round(100 * M.level)} % intervals. The dashed line is stand on clean questions${M.chance ? "; the dotted one is guessing" : ""}. Choose a bar to read its answers.`, panels);
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
    const rows = arms.map((arm) => {
      const A = M.arms[arm], gain = A.gain[c], test = M.holm.find((h) => h.metric === "gain" && h.arm === arm && h.condition === c);
      const over = A.over_correction && A.over_correction.altered;
      return [arm, forest(gain, reach, arm), el("td", {}, present(gain) ? [signed(gain.value), " ", el("span", { class: "span" }, `(${signedSpan(gain)})`)] : nothing(gain)),
        el("td", {}, ...withSpan(A.recovery && A.recovery[c], present(A.recovery && A.recovery[c]) ? A.recovery[c].value.toFixed(2) : "")),
        el("td", { class: present(A.clean_drop) && A.clean_drop.low > 0 ? "fail" : "" }, present(A.clean_drop) ? [signed(A.clean_drop.value), " ", el("span", { class: "span" }, `(${signedSpan(A.clean_drop)})`)] : nothing(A.clean_drop)),
        el("td", {}, ...withSpan(over, over ? over.value.toFixed(3) : "")),
        el("td", { class: test && test.significant ? "best" : "" }, test ? pvalue(test.adjusted) : gain && gain.p !== undefined ? pvalue(gain.p) : "")];
    });
    holder.replaceChildren(table(["arm", "gain", "", "recovery", "harm to clean", "clean altered", c === NOISY ? "p" : "p, Holm"], rows, `Gain over stand under ${c === NOISY ? "all noise, averaged" : c}`));
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
function losses() {
  const arms = Object.keys(M.arms).filter((a) => Object.keys(M.arms[a].drop || {}).length);
  if (!arms.length) return;
  const reach = Math.max(0.02, ...arms.flatMap((a) => Object.values(M.arms[a].drop).flatMap((e) => [Math.abs(e.low), Math.abs(e.high)])));
  const row = (label, arm, c) => {
    const e = M.arms[arm].drop[c], f = M.arms[arm].flips[c], flip = (way) => el("td", {}, ...withSpan(f[way], f[way].of ? f[way].value.toFixed(3) : "–"));
    return [label, forest(e, reach, arm), el("td", {}, signed(e.value), " ", el("span", { class: "span" }, `(${signedSpan(e)})`)),
      el("td", {}, ...withSpan(e.relative, present(e.relative) ? e.relative.value.toFixed(2) : "")), flip("right_to_wrong"), flip("wrong_to_right"), el("td", {}, e.p === undefined ? "" : pvalue(e.p))];
  };
  const holder = el("div"), headers = ["loss", "", "relative", "right to wrong", "wrong to right", "p"];
  const lead = "Clean minus noisy accuracy on the same questions, and how often single answers flip: a right one to wrong, a wrong one to right.";
  if (arms.length === 1) {
    holder.append(table(["noise", ...headers], Object.keys(M.arms[arms[0]].drop).filter((c) => c !== NOISY || noisyConditions.length > 1).map((c) => row(c, arms[0], c)), "Loss of accuracy under noise"));
    return section("losses", "What noise takes", lead, holder);
  }
  const choose = conditionPicker("loss-condition", () => {
    const c = choose.value;
    holder.replaceChildren(table(["arm", ...headers], arms.filter((a) => M.arms[a].drop[c]).map((a) => row(a, a, c)), `Loss of accuracy under ${c === NOISY ? "all noise, averaged" : c}`));
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
    return [c, ...values.map((e) => el("td", { class: e.value === top ? "best" : "" }, e.value.toFixed(3), " ", el("span", { class: "span" }, `(${span(e)})`))),
      el("td", {}, present(gain) ? [signed(gain.value), " ", el("span", { class: "span" }, `(${signedSpan(gain)})`)] : nothing(gain))];
  });
  section("ablation", "Ablation", "Neither stage, each stage alone, and both: the layout of Table 4 of the RoP paper.",
    table(["noise", "neither (stand)", "correct only", "guide only", "both (rop)", "both − neither"], rows, "Accuracy by stage; the highest of a row is bold"));
}

/* ---- strength curves ---- */
function curves() {
  const operators = [...new Set(Object.values(M.arms).flatMap((a) => Object.keys(a.curves || {})))];
  if (!operators.length) return;
  const W = 460, H = 260, left = 40, right = 116, bottom = 34, topGap = 12;
  const chart = (op) => {
    const arms = Object.keys(M.arms).filter((a) => M.arms[a].curves && M.arms[a].curves[op]);
    const lines = arms.map((a) => M.arms[a].curves[op].points.filter((p) => p.accuracy));
    const xTop = Math.max(...lines.flat().map((p) => p.strength)), yTop = niceTop(lines.flat().map((p) => p.accuracy.high));
    const x = (v) => left + (v / xTop) * (W - left - right), y = (v) => H - bottom - (v / yTop) * (H - bottom - topGap);
    const words = arms.map((a, i) => `${a} from ${lines[i][0].accuracy.value.toFixed(2)} to ${lines[i][lines[i].length - 1].accuracy.value.toFixed(2)}`).join("; ");
    const svg = el("svg", { viewBox: `0 0 ${W} ${H}`, width: "100%", role: "img", "aria-label": `Accuracy by strength of ${op}: ${words}` });
    for (const t of [0, 0.25, 0.5, 0.75, 1]) svg.append(el("line", { x1: left, x2: W - right, y1: y(t * yTop), y2: y(t * yTop), stroke: "var(--line)" }), el("text", { x: left - 8, y: y(t * yTop) + 4, "text-anchor": "end" }, short(t * yTop)));
    for (const s of [...new Set(lines.flat().map((p) => p.strength))]) svg.append(el("text", { x: x(s), y: H - bottom + 18, "text-anchor": "middle" }, String(s)));
    svg.append(el("text", { x: (left + W - right) / 2, y: H - 1, "text-anchor": "middle" }, `strength of ${op}`));
    const ends = [];
    arms.forEach((arm, i) => {
      const points = lines[i], c = colour(arm);
      const band = [...points.map((p) => `${x(p.strength)},${y(p.accuracy.high)}`), ...points.slice().reverse().map((p) => `${x(p.strength)},${y(p.accuracy.low)}`)];
      svg.append(el("path", { d: `M${band.join("L")}Z`, fill: c, opacity: 0.09 }),
        el("path", { d: `M${points.map((p) => `${x(p.strength)},${y(p.accuracy.value)}`).join("L")}`, fill: "none", stroke: c, "stroke-width": 2 }),
        ...points.map((p) => el("circle", { cx: x(p.strength), cy: y(p.accuracy.value), r: 3, fill: c }, el("title", {}, `${arm} at ${p.strength}: ${p.accuracy.value.toFixed(3)} (${span(p.accuracy)})`))));
      ends.push({ arm, y: y(points[points.length - 1].accuracy.value) });
    });
    ends.sort((a, b) => a.y - b.y);
    ends.forEach((e, i) => { if (i && e.y < ends[i - 1].y + 14) e.y = ends[i - 1].y + 14; });
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
    const matrix = M.arms[arm].holdout, place = (c) => (noisyConditions.indexOf(c) + 1000) % 1000;
    const rowsOf = Object.keys(matrix).sort((a, b) => place(a) - place(b)), columns = noisyConditions.filter((c) => rowsOf.some((r) => matrix[r][c]));
    const reach = Math.max(0.01, ...rowsOf.flatMap((r) => columns.map((c) => Math.abs((matrix[r][c] || { value: 0 }).value))));
    const rows = rowsOf.map((r) => [`without ${r}`, ...columns.map((c) => {
      const e = matrix[r][c];
      if (!present(e)) return el("td", {}, nothing(e));
      const cell = el("td", { class: r === c ? "best" : "", title: r === c ? "never seen in tuning" : "" }, signed(e.value), r === c ? " ◦" : "", el("br"), el("span", { class: "span" }, signedSpan(e)));
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
      seconds: timing.reduce((t, v) => t + (v.engine_seconds || 0), 0), cached: timing.reduce((t, v) => t + v.prefix_cached_tokens, 0), stored: timing.reduce((t, v) => t + v.cached_calls, 0), price: cells.some((v) => v.price !== null) ? sum((v) => v.price || 0) : null,
      unparsed: sum((v) => v.unparsed), cut: sum((v) => v.cut), errors: sum((v) => v.errors) }];
  }));
  const priced = arms.some((a) => sums[a].price !== null);
  const ways = { tokens: ["tokens for each answer", (s) => (s.prompt + s.completion) / s.outcomes], generated: ["generated tokens for each answer", (s) => s.completion / s.outcomes], calls: ["calls for each answer", (s) => s.calls / s.outcomes], seconds: ["engine seconds for each answer", (s) => s.seconds / s.outcomes] };
  if (priced) ways.price = ["price of 1,000 answers", (s) => (1000 * s.price) / s.outcomes];
  const holder = el("div", { class: "card" }), where = noisyConditions.length > 1 ? NOISY : noisyConditions[0] || CLEAN;
  const choose = el("select", { id: "cost-by" }, Object.entries(ways).map(([k, [label]]) => el("option", { value: k }, label)));
  const draw = () => {
    const [label, of] = ways[choose.value], W = 760, H = 320, left = 44, right = 130, bottom = 40, gap = 14;
    const points = arms.map((arm) => ({ arm, x: of(sums[arm]), e: accuracy(arm, where) })).filter((p) => p.e && Number.isFinite(p.x)).sort((a, b) => b.e.value - a.e.value);
    if (!points.length) return;
    const most = Math.max(...points.map((p) => p.x)) || 1, unit = 10 ** Math.floor(Math.log10(most)), xTop = Math.ceil(most / unit) * unit, yTop = niceTop(points.map((p) => p.e.high));
    const x = (v) => left + (v / xTop) * (W - left - right), y = (v) => H - bottom - (v / yTop) * (H - bottom - gap);
    const svg = el("svg", { class: "plot", viewBox: `0 0 ${W} ${H}`, width: "100%", role: "img", "aria-label": `Accuracy under ${where} against ${label}: ${points.map((p) => `${p.arm} ${p.e.value.toFixed(2)} at ${p.x.toFixed(1)}`).join("; ")}` });
    for (const t of [0, 0.25, 0.5, 0.75, 1]) svg.append(el("line", { x1: left, x2: W - right, y1: y(t * yTop), y2: y(t * yTop), stroke: "var(--line)" }), el("text", { x: left - 8, y: y(t * yTop) + 4, "text-anchor": "end" }, short(t * yTop)),
      el("text", { x: x(t * xTop), y: H - bottom + 18, "text-anchor": "middle" }, String(+(t * xTop).toPrecision(3))));
    svg.append(el("text", { x: (left + W - right) / 2, y: H - 3, "text-anchor": "middle" }, label));
    const labels = [], crowd = (p) => Math.max(...points.filter((q) => Math.abs(q.x - p.x) < xTop / 40).map((q) => q.at || 0));
    for (const p of points) {
      const c = colour(p.arm);
      p.at = x(p.x);
      while (points.some((q) => q !== p && Math.abs(q.at - p.at) < 7)) p.at += 7; // arms that cost the same stand side by side
      svg.append(el("line", { x1: p.at, x2: p.at, y1: y(p.e.low), y2: y(p.e.high), stroke: c, "stroke-width": 1.6, opacity: 0.75 }),
        el("circle", { cx: p.at, cy: y(p.e.value), r: 4.5, fill: c }, el("title", {}, `${p.arm}: ${p.e.value.toFixed(3)} (${span(p.e)}) at ${p.x.toFixed(2)}`)));
    }
    for (const p of points) {
      let at = y(p.e.value) + 4;
      const beside = crowd(p) + 10;
      while (labels.some((l) => Math.abs(l.y - at) < 14 && Math.abs(l.x - beside) < 110)) at += 14;
      labels.push({ x: beside, y: at });
      svg.append(el("circle", { cx: beside + 3, cy: at - 4, r: 3, fill: colour(p.arm) }), el("text", { class: "name", x: beside + 10, y: at }, p.arm));
    }
    holder.replaceChildren(svg);
  };
  choose.addEventListener("change", draw);
  draw();
  const rows = arms.map((a) => [a, ...["calls", "prompt", "cached", "completion"].map((k) => el("td", {}, many(sums[a][k]))), el("td", {}, (sums[a].seconds / Math.max(1, sums[a].outcomes)).toFixed(2)), el("td", {}, many(sums[a].stored)), ...(priced ? [el("td", {}, (sums[a].price || 0).toFixed(4))] : []), ...["unparsed", "cut", "errors"].map((k) => el("td", {}, many(sums[a][k])))]);
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
  const rows = GATES.map((g) => [g.gate, el("td", {}, g.value === null ? el("span", { class: "muted" }, g.reason || "") : g.value.toFixed(3)), el("td", {}, g.value === null ? "" : `${g.low.toFixed(3)} to ${g.high.toFixed(3)}`), el("td", { class: g.verdict }, g.verdict)]);
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

/* ---- the browser over questions ---- */
const F = B.flags, KINDS = [["", "all answers"], ["right_to_wrong", "right → wrong (noise)"], ["wrong_to_right", "wrong → right (noise)"], ["won", "won against stand"], ["lost", "lost against stand"], ["wrong", "wrong"], ["right", "right"], ["unparsed", "unparsed"], ["cut", "cut by the token limit"], ["over_corrected", "over-corrected (clean)"], ["fallback", "correction not used"], ["error", "failed"]];
const state = { arm: "", condition: "", kind: "", text: "", page: 0, hits: [] };
let index = null;
const question = (row) => B.questions[row[0]], noisyText = (row) => (row[3] < 0 ? "" : B.texts[row[3]]);
function searchable() { // made on the first search: the lower-case text of every answer
  if (!index) index = B.rows.map((r) => [question(r)[0], question(r)[1], noisyText(r), r[6] || "", r[7] || ""].join("\n").toLowerCase());
  return index;
}
function filter() {
  const arm = B.arms.indexOf(state.arm), condition = B.conditions.indexOf(state.condition), words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const bit = state.kind === "wrong" ? 0 : F[state.kind] || 0, wrong = state.kind === "wrong", texts = words.length ? searchable() : null;
  state.hits = [];
  for (let i = 0; i < B.rows.length; i++) {
    const r = B.rows[i];
    if ((arm >= 0 && r[2] !== arm) || (condition >= 0 && r[1] !== condition) || (bit && !(r[4] & bit)) || (wrong && r[4] & F.right)) continue;
    if (texts && !words.every((w) => texts[i].includes(w))) continue;
    state.hits.push(i);
  }
  state.page = 0;
  show();
}
function show() {
  const pages = Math.max(1, Math.ceil(state.hits.length / PAGE));
  byId("count").textContent = `${many(state.hits.length)} of ${many(B.rows.length)} answers`;
  byId("page").textContent = `Page ${many(state.page + 1)} of ${many(pages)}`;
  byId("previous").disabled = state.page === 0;
  byId("next").disabled = state.page >= pages - 1;
  const shown = state.hits.slice(state.page * PAGE, (state.page + 1) * PAGE).map((i) => card(B.rows[i]));
  byId("results").replaceChildren(...(shown.length ? shown : [el("p", { class: "empty" }, "No answer fits these filters.")]));
}
const chip = (text, kind) => el("span", { class: `chip ${kind || ""}` }, text);
function card(r) {
  const [, c, a, , flags, parsed, corrected, reply, note] = r, [id, clean, gold] = question(r), is = (name) => Boolean(flags & F[name]);
  const chips = [chip(is("right") ? "right" : "wrong", is("right") ? "right" : "wrong"),
    is("right_to_wrong") ? chip("right → wrong", "wrong") : null, is("wrong_to_right") ? chip("wrong → right", "right") : null,
    is("won") ? chip("won against stand", "right") : null, is("lost") ? chip("lost against stand", "wrong") : null,
    is("unparsed") ? chip("unparsed", "note") : null, is("cut") ? chip("cut", "note") : null, is("over_corrected") ? chip("over-corrected", "note") : null, note ? chip(note, "note") : null];
  const noisy = r[3] < 0 ? clean : noisyText(r), out = el("dl", { class: "texts" });
  const line = (name, ...content) => out.append(el("dt", {}, name), el("dd", {}, ...content));
  line("Original", clean);
  if (noisy !== clean) line("As asked", ...marked(clean, noisy, null));
  if (corrected !== null) line("Corrected", ...(noisy === clean && corrected === clean ? [el("span", { class: "muted" }, "same as the original")] : marked(clean, corrected, noisy)));
  if (reply !== null) line("Reply", el("span", { class: "reply" }, reply));
  line("Answer", parsed === null ? "none found" : parsed, el("span", { class: "muted" }, `   gold ${gold}`));
  return el("article", { "aria-label": `${id}, ${B.conditions[c]}, ${B.arms[a]}` }, el("header", {}, el("h3", {}, id), el("span", { class: "small" }, `${B.conditions[c]} · ${B.arms[a]}`), ...chips), out);
}
/* Words of `text` that the original lacks are marked; with `noisy`, so are words that noise changed and `text` has again. */
function marked(original, text, noisy) {
  const from = words(original), to = words(text), kept = match(from, to);
  if (!kept) return [text];
  const spared = noisy === null ? null : match(from, words(noisy)), whole = spared ? new Set(spared.filter((i) => i >= 0)) : null;
  return to.map((word, j) => {
    if (/^\s*$/.test(word)) return word;
    if (kept[j] < 0) return el("mark", { class: noisy === null ? "noise" : "off" }, word);
    return whole && !whole.has(kept[j]) ? el("mark", { class: "fixed" }, word) : word;
  });
}
const words = (text) => text.match(/\s+|[^\s]+/g) || [];
/* For each word of `b` its place in `a` along a longest common subsequence, or -1; null where the texts are too long to compare. */
function match(a, b) {
  let start = 0, endA = a.length, endB = b.length;
  const found = new Array(b.length).fill(-1);
  while (start < endA && start < endB && a[start] === b[start]) { found[start] = start; start++; }
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) { endA--; endB--; found[endB] = endA; }
  const n = endA - start, m = endB - start;
  if (n * m > 4e6) return null;
  const best = new Uint16Array((n + 1) * (m + 1)), w = m + 1;
  for (let i = n - 1; i >= 0; i--) for (let j = m - 1; j >= 0; j--)
    best[i * w + j] = a[start + i] === b[start + j] ? best[(i + 1) * w + j + 1] + 1 : Math.max(best[(i + 1) * w + j], best[i * w + j + 1]);
  for (let i = 0, j = 0; i < n && j < m;) {
    if (a[start + i] === b[start + j]) { found[start + j] = start + i; i++; j++; }
    else if (best[(i + 1) * w + j] >= best[i * w + j + 1]) i++;
    else j++;
  }
  return found;
}
function go(wanted) {
  Object.assign(state, { arm: "", condition: "", kind: "", text: "" }, wanted);
  for (const name of ["arm", "condition", "kind", "text"]) byId(name).value = state[name];
  filter();
  byId("questions").scrollIntoView();
  byId("questions").focus({ preventScroll: true });
}
function browser() {
  const fill = (id, all, names) => byId(id).append(el("option", { value: "" }, all), ...names.map((n) => el("option", { value: n }, n)));
  fill("arm", "all arms", B.arms);
  fill("condition", "all conditions", B.conditions);
  byId("kind").append(...KINDS.map(([value, label]) => el("option", { value }, label)));
  for (const name of ["arm", "condition", "kind"]) byId(name).addEventListener("change", (e) => { state[name] = e.target.value; filter(); });
  let waiting;
  byId("text").addEventListener("input", (e) => { clearTimeout(waiting); waiting = setTimeout(() => { state.text = e.target.value; filter(); }, 120); });
  byId("filters").addEventListener("submit", (e) => e.preventDefault());
  const turn = (by) => { state.page += by; show(); byId("questions").scrollIntoView(); };
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  document.addEventListener("keydown", (e) => {
    if (e.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) { e.preventDefault(); byId("text").focus(); }
  });
  filter();
}

/* ---- theme: as the system, or as chosen ---- */
function theme() {
  const names = ["auto", "light", "dark"], button = byId("theme");
  let now = "auto";
  try { now = localStorage.getItem("llmkit-theme") || "auto"; } catch { /* a file may have no storage */ }
  const apply = () => {
    if (now === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = now;
    button.textContent = `Theme: ${now}`;
    button.setAttribute("aria-label", `Colour theme: ${now === "auto" ? "as the system" : now}`);
    try { localStorage.setItem("llmkit-theme", now); } catch { /* as above */ }
  };
  button.addEventListener("click", () => { now = names[(names.indexOf(now) + 1) % names.length]; apply(); });
  apply();
}

theme();
hero();
gates();
bars();
effects();
losses();
ablation();
curves();
holdout();
correction();
cost();
repeats();
facts();
byId("nav").append(...[...document.querySelectorAll("#sections > section, #questions")].map((s) => el("a", { href: `#${s.id}` }, s.querySelector("h2").textContent)));
browser();
document.documentElement.dataset.ready = "yes";
