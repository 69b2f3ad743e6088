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
