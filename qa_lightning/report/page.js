"use strict";
// The browser of questions. All text comes from data and is only ever set as text, never as HTML.
(() => {
  const PER_PAGE = 50;
  const MARKS = { right: "✓", "partly right": "◐", wrong: "✗", "false null": "∅", "false answer": "!", "not scored": "?" };
  const ORDERS = [
    ["in the data's order", null, 1],
    ["F1, lowest first", "f1", 1],
    ["F1, highest first", "f1", -1],
    ["probability, lowest first", "probability", 1],
    ["probability, highest first", "probability", -1],
    ["score, lowest first", "score", 1],
    ["score, highest first", "score", -1],
  ];

  const data = JSON.parse(document.getElementById("data").textContent);
  const questions = data.questions.map(read);
  const view = { query: "", outcome: null, order: 0, page: 0, found: questions, chosen: questions[0] };
  const $ = (id) => document.getElementById(id);

  /** A question's object from its array; spans become texts with their places. */
  function read(values, number) {
    const question = Object.fromEntries(data.fields.map((field, i) => [field, values[i]]));
    const context = data.contexts[question.context];
    const cut = ([start, end]) => ({ start, end, text: context.slice(start, end) });
    question.number = number + 1;
    question.text = context;
    question.outcome = data.outcomes[question.outcome];
    question.predicted = question.prediction && cut(question.prediction);
    question.golds = question.golds && question.golds.map((gold) =>
      gold.length === 1 ? { text: gold[0] } : { ...cut(gold), text: gold[2] ?? cut(gold).text });
    question.nBest = question.nBest.map((answer) => ({ ...cut(answer), probability: answer[2] }));
    return question;
  }

  function element(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children.filter((child) => child !== null));
    return node;
  }

  const number = (value, digits = 2) => (value === null ? "–" : value.toFixed(digits).replace("-", "−"));
  const percent = (value) => (value === null ? "–" : `${number(100 * value, 1)} %`);
  const words = (text, tag = "span") => text
    ? element(tag, { dir: "auto", textContent: text })
    : element(tag, { className: "none", textContent: "no answer" });

  // Which questions, and in which order.

  const folded = (text) => text.normalize("NFC").toLowerCase();
  let contextsFolded = null;

  function search() {
    const wanted = folded(view.query.trim());
    contextsFolded ??= data.contexts.map(folded);
    const inContext = contextsFolded.map((text) => text.includes(wanted));
    const [, key, direction] = ORDERS[view.order];
    view.found = questions.filter((entry) =>
      (view.outcome === null || entry.outcome === view.outcome) && (inContext[entry.context] || searchText(entry).includes(wanted)));
    if (key !== null) {
      // What has no such figure comes last, either way.
      const rank = (entry) => (entry[key] === null ? Infinity : direction * entry[key]);
      view.found.sort((a, b) => rank(a) - rank(b) || 0);
    }
    view.page = 0;
    showList();
  }

  function searchText(entry) {
    entry.searchText ??= folded([entry.id, entry.question, ...[...(entry.golds ?? []), ...entry.nBest].map((answer) => answer.text),
      entry.predicted?.text ?? ""].join("\n"));
    return entry.searchText;
  }

  // The list.

  function showList() {
    const pages = Math.max(1, Math.ceil(view.found.length / PER_PAGE));
    const first = view.page * PER_PAGE;
    $("list").replaceChildren(...view.found.slice(first, first + PER_PAGE).map(row));
    $("list").scrollTop = 0;
    const count = view.found.length.toLocaleString("en");
    $("count").textContent = view.found.length === 0 ? "No question matches."
      : `${count} question${view.found.length === 1 ? "" : "s"}`;
    $("page").textContent = `page ${view.page + 1} of ${pages}`;
    $("previous").disabled = view.page === 0;
    $("next").disabled = view.page === pages - 1;
  }

  function row(entry) {
    const button = element("button", { type: "button", className: "row" },
      element("span", { className: "question", dir: "auto", textContent: entry.question }),
      element("span", { className: "figure", textContent: entry.f1 === null ? "" : `F1 ${number(entry.f1, 0)}` }),
      element("span", { className: "answer" }, words(entry.predicted?.text, "bdi")),
      element("span", { className: "mark", textContent: `${entry.outcome} ${MARKS[entry.outcome]}` }));
    button.setAttribute("aria-current", entry === view.chosen);
    button.addEventListener("click", () => open(entry));
    return element("li", {}, button);
  }

  function turn(pages) {
    view.page += pages;
    showList();
    $("list").querySelector("button").focus({ preventScroll: true });
    $("list-pane").scrollIntoView({ block: "nearest" });
  }

  function walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const rows = [...$("list").querySelectorAll("button")];
    const next = rows[rows.indexOf(document.activeElement) + step];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  }

  // One question.

  function open(entry) {
    view.chosen = entry;
    for (const [i, button] of $("list").querySelectorAll("button").entries()) {
      button.setAttribute("aria-current", view.found[view.page * PER_PAGE + i] === entry);
    }
    $("browser").classList.add("opened");
    showDetail();
    $("detail").querySelector("h3").focus({ preventScroll: true });
    // On a narrow screen the question takes the list's place.
    $("detail").scrollIntoView({ block: $("list-pane").offsetParent ? "nearest" : "start" });
  }

  function close() {
    $("browser").classList.remove("opened");
    const row = $("list").querySelector("[aria-current=true]") ?? $("list").querySelector("button");
    row?.focus();
  }

  function showDetail() {
    const entry = view.chosen;
    const back = element("button", { type: "button", className: "back", textContent: "Back to the list" });
    back.addEventListener("click", close);
    const context = element("p", { className: "context", dir: "auto", tabIndex: 0 }, ...highlighted(entry));
    context.setAttribute("role", "group");
    context.setAttribute("aria-label", "Context");
    $("detail").replaceChildren(
      back,
      element("h3", { dir: "auto", tabIndex: -1, textContent: entry.question }),
      element("p", { className: "about" }, `${MARKS[entry.outcome]} ${entry.outcome} · question ${entry.number} · id `,
        element("bdi", { className: "id", textContent: entry.id })),
      element("dl", { className: "answers" },
        element("dt", { textContent: "predicted" }), element("dd", { className: "prediction" }, words(entry.predicted?.text, "div")),
        element("dt", { textContent: "gold" }), element("dd", { className: "golds" }, ...golds(entry))),
      figures(entry),
      element("h4", {}, "Context ", legend()),
      context,
      element("h4", { textContent: `The best ${entry.nBest.length} candidates` }),
      candidates(entry));
    $("detail").scrollTop = 0;
    const mark = context.querySelector("mark");
    if (mark) context.scrollTop = mark.offsetTop - context.clientHeight / 2;
  }

  function golds(entry) {
    if (entry.golds === null) return [element("div", { className: "none", textContent: "not known" })];
    if (entry.golds.length === 0) return [words("", "div")];
    return [...new Set(entry.golds.map((gold) => gold.text))].map((text) => words(text, "div"));
  }

  function figures(entry) {
    const rows = [["EM", number(entry.exact, 0)], ["F1", number(entry.f1)], ["probability", percent(entry.probability)],
      ["score", number(entry.score)]];
    if (entry.nullOdds !== null) rows.push(["null odds", number(entry.nullOdds)]);
    rows.push(["type", entry.type || "–"], ["windows", String(entry.windows)]);
    return element("dl", { className: "figures" }, ...rows.map(([name, value]) => element("div", {},
      element("dt", { textContent: name }), element("dd", { dir: "auto", textContent: value }))));
  }

  function legend() {
    return element("span", { className: "legend" }, element("mark", { className: "gold", textContent: "gold" }),
      element("mark", { className: "predicted", textContent: "predicted" }),
      element("mark", { className: "gold predicted", textContent: "both" }));
  }

  /** The context in pieces: cut wherever a gold or the predicted span begins or ends. */
  function highlighted(entry) {
    const gold = (entry.golds ?? []).filter((span) => span.start !== undefined);
    const predicted = entry.predicted ? [entry.predicted] : [];
    const edges = [0, entry.text.length, ...[...gold, ...predicted].flatMap(({ start, end }) => [start, end])];
    const cuts = [...new Set(edges)].sort((a, b) => a - b);
    const holds = (spans, start) => spans.some((span) => span.start <= start && start < span.end);
    return cuts.slice(0, -1).map((start, i) => {
      const text = entry.text.slice(start, cuts[i + 1]);
      const kinds = [holds(gold, start) && "gold", holds(predicted, start) && "predicted"].filter(Boolean);
      return kinds.length ? element("mark", { className: kinds.join(" "), textContent: text }) : text;
    });
  }

  function candidates(entry) {
    const head = element("tr", {}, ...[["rank", "#"], ["text", "answer"], ["share", "probability"], ["bar", ""]].map(
      ([className, textContent]) => element(textContent ? "th" : "td", { className, textContent })));
    const rows = entry.nBest.map((answer, i) => {
      const bar = element("div");
      bar.style.width = `${100 * (answer.probability ?? 0)}%`;
      return element("tr", {}, element("td", { className: "rank", textContent: i + 1 }),
        element("td", { className: "text" }, words(answer.text)),
        element("td", { className: "share", textContent: percent(answer.probability) }),
        element("td", { className: "bar" }, bar));
    });
    return element("table", { className: "nbest" }, element("thead", {}, head), element("tbody", {}, ...rows));
  }

  // Controls.

  function showFilters() {
    const of = (outcome) => questions.filter((entry) => entry.outcome === outcome).length;
    const there = data.outcomes.filter((outcome) => of(outcome) > 0);
    const buttons = [null, ...there].map((outcome) => {
      const count = outcome === null ? questions.length : of(outcome);
      const button = element("button", { type: "button" }, outcome ?? "all",
        element("span", { textContent: count.toLocaleString("en") }));
      button.setAttribute("aria-pressed", outcome === view.outcome);
      button.addEventListener("click", () => {
        view.outcome = outcome;
        for (const other of buttons) other.setAttribute("aria-pressed", other === button);
        search();
      });
      return button;
    });
    $("filters").replaceChildren(...buttons);
  }

  $("sort").append(...ORDERS.map(([name], i) => element("option", { value: i, textContent: name })));
  $("sort").addEventListener("change", (event) => {
    view.order = Number(event.target.value);
    search();
  });
  $("search").addEventListener("input", (event) => {
    view.query = event.target.value;
    search();
  });
  $("previous").addEventListener("click", () => turn(-1));
  $("next").addEventListener("click", () => turn(1));
  $("list").addEventListener("keydown", walk);
  $("detail").addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  showFilters();
  showList();
  if (view.chosen) showDetail();
  $("browser").hidden = false;
})();
