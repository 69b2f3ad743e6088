/* The browser over all answers: filters, search, pages, and marks for what noise and correction did to each text.
   Every text from the data reaches the screen as text, through append or textContent. */

const BROWSER = JSON.parse(byId("data").textContent).browser;
const FILTERS = ["arm", "condition", "kind", "text"];
const LARGEST_TABLE = 4e6; // pairs of words; longer texts are shown without marks
const PAUSE = 120; // milliseconds between a key and the search

const state = { arm: "", condition: "", kind: "", text: "", page: 0, hits: [] };
let index = null;
let replies = null;

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

const many = (n) => n.toLocaleString("en");
const fits = (flags, kind) => (flags & kind.all) === kind.all && !(flags & kind.none);

/* An answer with names for what its row holds. */
function answer(row) {
  const [question, condition, arm, text, flags, parsed, corrected, reply, note] = row;
  const [id, clean, gold] = BROWSER.questions[question];
  return {
    id,
    clean,
    gold,
    condition: BROWSER.conditions[condition].label,
    before: replyBefore(question, condition, arm),
    arm: BROWSER.arms[arm],
    asked: text < 0 ? clean : BROWSER.texts[text],
    flags,
    parsed,
    corrected,
    reply,
    note,
  };
}

/* The reply that an answer is compared with, where rows have no answers: that to the text as sent, or to the same text
   the first time; null where there is none. */
function replyBefore(question, condition, arm) {
  const { before } = BROWSER.conditions[condition];
  if (before < 0) {
    return null;
  }
  const place = (row) => row.slice(0, 3).join(" ");
  replies ??= new Map(BROWSER.rows.map((row) => [place(row), row[7]]));
  return replies.get(place([question, before, arm])) ?? null;
}

/* The lower-case text of every answer, made on the first search. */
function searchable() {
  index ??= BROWSER.rows.map((row) => {
    const { id, clean, asked, corrected, reply } = answer(row);
    return [id, clean, asked, corrected ?? "", reply ?? ""].join("\n").toLowerCase();
  });
  return index;
}

function filter() {
  const arm = BROWSER.arms.indexOf(state.arm);
  const condition = BROWSER.conditions.findIndex(({ id }) => id === state.condition);
  const kind = BROWSER.kinds.find(({ value }) => value === state.kind);
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const texts = words.length ? searchable() : null;
  state.hits = [];
  BROWSER.rows.forEach((row, i) => {
    const [, ofCondition, ofArm, , flags] = row;
    if (
      (arm < 0 || ofArm === arm) &&
      (condition < 0 || ofCondition === condition) &&
      fits(flags, kind) &&
      (!texts || words.every((word) => texts[i].includes(word)))
    ) {
      state.hits.push(row);
    }
  });
  state.page = 0;
  show();
}

function show() {
  const { hits, page } = state;
  const pages = Math.max(1, Math.ceil(hits.length / BROWSER.page));
  byId("count").textContent = `${many(hits.length)} of ${many(BROWSER.rows.length)} answers`;
  byId("page").textContent = `Page ${many(page + 1)} of ${many(pages)}`;
  byId("previous").disabled = page === 0;
  byId("next").disabled = page >= pages - 1;
  const cards = hits.slice(page * BROWSER.page, (page + 1) * BROWSER.page).map(card);
  const none = el("p", { class: "empty" }, "No answer fits these filters.");
  byId("results").replaceChildren(...(cards.length ? cards : [none]));
}

function card(row) {
  const { id, clean, gold, condition, before, arm, asked, flags, parsed, corrected, reply, note } =
    answer(row);
  const chips = BROWSER.chips
    .filter((chip) => fits(flags, chip))
    .map((chip) => el("span", { class: `chip ${chip.tone}` }, chip.label));
  if (note) {
    chips.push(el("span", { class: "chip note" }, note));
  }
  const texts = el("dl", { class: "texts" });
  const line = (name, ...content) => texts.append(el("dt", {}, name), el("dd", {}, ...content));
  line("Original", clean);
  if (asked !== clean) {
    line("As asked", ...marked(clean, asked, null));
  }
  if (corrected !== null) {
    const same = asked === clean && corrected === clean;
    const untouched = el("span", { class: "muted" }, "same as the original");
    line("Corrected", ...(same ? [untouched] : marked(clean, corrected, asked)));
  }
  if (before !== null && before !== reply) {
    const was = reply === null ? [before] : marked(reply, before, null, "was");
    line("Reply before", el("span", { class: "reply" }, ...was));
  }
  if (reply !== null) {
    const now = before === null ? [reply] : marked(before, reply, null, "now");
    line("Reply", el("span", { class: "reply" }, ...now));
  }
  if (gold || parsed === null || !(reply ?? "").includes(parsed)) {
    const wanted = gold ? [el("span", { class: "muted" }, `   gold ${gold}`)] : [];
    line("Answer", parsed ?? "none found", ...wanted);
  }
  const head = el(
    "header",
    {},
    el("h3", {}, id),
    el("span", { class: "small" }, `${condition} · ${arm}`),
    ...chips,
  );
  return el("article", { "aria-label": `${id}, ${condition}, ${arm}` }, head, texts);
}

/* Marks the words of `text` that the original lacks; given the noisy text, also those that noise had changed. */
function marked(original, text, noisy, mark = noisy === null ? "noise" : "off") {
  const from = words(original);
  const to = words(text);
  const places = match(from, to);
  if (!places) {
    return [text];
  }
  const spared = noisy === null ? null : match(from, words(noisy));
  const unchanged = spared && new Set(spared.filter((place) => place >= 0));
  return to.map((word, i) => {
    if (/^\s*$/.test(word)) {
      return word;
    }
    if (places[i] < 0) {
      return el("mark", { class: mark }, word);
    }
    const restored = unchanged && !unchanged.has(places[i]);
    return restored ? el("mark", { class: "fixed" }, word) : word;
  });
}

const words = (text) => text.match(/\s+|[^\s]+/g) || [];

/* For each word of `b` its place in `a` along a longest common subsequence, or -1; null for texts that are too long. */
function match(a, b) {
  const places = new Array(b.length).fill(-1);
  let start = 0;
  let endA = a.length;
  let endB = b.length;
  while (start < endA && start < endB && a[start] === b[start]) {
    places[start] = start;
    start++;
  }
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) {
    endA--;
    endB--;
    places[endB] = endA;
  }
  const n = endA - start;
  const m = endB - start;
  if (n * m > LARGEST_TABLE) {
    return null;
  }
  const width = m + 1;
  const longest = new Uint16Array((n + 1) * width); // of what is left from word i of a and word j of b
  for (let i = n - 1; i >= 0; i--) {
    for (let j = m - 1; j >= 0; j--) {
      longest[i * width + j] =
        a[start + i] === b[start + j]
          ? longest[(i + 1) * width + j + 1] + 1
          : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  let i = 0;
  let j = 0;
  while (i < n && j < m) {
    if (a[start + i] === b[start + j]) {
      places[start + j] = start + i;
      i++;
      j++;
    } else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
      i++;
    } else {
      j++;
    }
  }
  return places;
}

function scrollToAnswers() {
  byId("questions").scrollIntoView();
}

/* Shows the answers that fit these filters and no others. */
function go(wanted) {
  Object.assign(state, { arm: "", condition: "", kind: "", text: "" }, wanted);
  for (const name of FILTERS) {
    byId(name).value = state[name];
  }
  filter();
  scrollToAnswers();
  byId("questions").focus({ preventScroll: true });
}

function turn(by) {
  state.page += by;
  show();
  scrollToAnswers();
}

function controls() {
  for (const name of ["arm", "condition", "kind"]) {
    byId(name).addEventListener("change", (event) => {
      state[name] = event.target.value;
      filter();
    });
  }
  let waiting;
  byId("text").addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      state.text = event.target.value;
      filter();
    }, PAUSE);
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing) {
      event.preventDefault();
      byId("text").focus();
    }
  });
}

controls();
filter();
document.documentElement.dataset.ready = "yes";
