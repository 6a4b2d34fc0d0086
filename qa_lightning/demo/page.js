"use strict";
// Asks, and shows what is found. All text comes from people or models and is only ever set as text, never as HTML.
(() => {
  const $ = (id) => document.getElementById(id);
  const setup = JSON.parse($("setup").textContent);
  const view = { context: "", at: [0], answers: [], tokens: null, chosen: 0, asking: null };

  function element(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  const percent = (value) => `${(100 * value).toFixed(1)} %`;
  const count = (number) => number.toLocaleString("en");
  const words = (text, className) => text
    ? element("bdi", { className, dir: "auto", textContent: text })
    : element("span", { className: `${className} none`, textContent: "no answer" });

  /** Places are counted in characters, but a text here in UTF-16 units: where each character begins. */
  function placesOf(text) {
    const at = [];
    let place = 0;
    for (const character of text) {
      at.push(place);
      place += character.length;
    }
    return [...at, place];
  }

  const cut = (start, end) => view.context.slice(view.at[start], view.at[end]);

  // Asking.

  /** What is wrong with the question or the context, and where; null where nothing is. */
  function mistake(question, context) {
    if (!context.trim()) return ["context", "Give a context: the text that holds the answer."];
    if (!question.trim()) return ["question", "Ask a question."];
    for (const [name, text, longest] of [
      ["question", question, setup.longestQuestion], ["context", context, setup.longestContext]]) {
      const length = text.length > longest ? [...text].length : 0;
      if (length > longest) {
        return [name, `The ${name} has ${count(length)} characters; at most ${count(longest)} are read.`];
      }
    }
    return null;
  }

  async function ask() {
    const question = $("question").value;
    const context = $("context").value;
    view.asking?.abort();
    const asking = view.asking = new AbortController();
    const wrong = mistake(question, context);
    if (wrong) {
      complain(wrong[1]);
      $(wrong[0]).focus();
      return;
    }
    complain("");
    busy(true);
    try {
      const found = await send({ question, context }, asking.signal);
      Object.assign(view, found, { context, at: placesOf(context), chosen: 0 });
      show();
    } catch (error) {
      if (asking.signal.aborted) return;
      complain(error instanceof TypeError ? "The server does not answer; does it still run?" : error.message);
    }
    if (view.asking === asking) busy(false);
  }

  async function send(record, signal) {
    const response = await fetch("ask", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(record), signal,
    });
    const found = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(found.error ?? `The server failed (status ${response.status}).`);
    return found;
  }

  function complain(text) {
    $("error").textContent = text;
    $("error").hidden = !text;
    if (text) busy(false);
  }

  function busy(now) {
    $("result").setAttribute("aria-busy", now);
    $("ask").textContent = now ? "Asking…" : "Ask";
  }

  // Showing.

  function show() {
    const [best] = view.answers;
    $("answer").replaceChildren(best === undefined ? element("span", { className: "text none", textContent: "no answer" })
      : words(best.answer, "text"), ...sure(best));
    $("null").textContent = view.null_probability === null ? ""
      : `Probability that the text holds no answer: ${percent(view.null_probability)}`;
    $("candidates").tBodies[0].replaceChildren(...view.answers.map(row));
    $("found").hidden = false;
    choose(0);
    $("result").scrollIntoView({ block: "nearest" });
  }

  const sure = (best) => (best ? [element("span", { className: "sure" },
    element("span", { className: "spoken", textContent: "score " }), percent(best.score))] : []);

  function row(one, place) {
    const radio = element("input", { type: "radio", name: "candidate", value: place, checked: place === 0 });
    radio.addEventListener("change", () => choose(place));
    const bar = element("div");
    bar.style.width = percent(one.score).replace(" ", "");
    return element("tr", {},
      element("td", {}, element("label", {}, radio, words(one.answer, "text"))),
      element("td", { className: "score", textContent: percent(one.score) }),
      element("td", { className: "bar" }, bar));
  }

  function choose(place) {
    view.chosen = place;
    const { start, end } = view.answers[place] ?? { start: 0, end: 0 };
    const mark = element("mark", { textContent: cut(start, end) });
    $("shown").replaceChildren(cut(0, start), ...(end > start ? [mark] : []), cut(end, view.at.length - 1));
    // Only the context is scrolled, not the page.
    const box = $("shown");
    if (end > start && (mark.offsetTop < box.scrollTop || mark.offsetTop + mark.offsetHeight > box.scrollTop + box.clientHeight)) {
      box.scrollTop = mark.offsetTop - box.clientHeight / 3;
    } else if (end === start) box.scrollTop = 0;
    draw();
  }

  // The picture: how likely an answer begins at each token, upwards, and ends there, downwards.

  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 250;
  const ROOM = { top: 24, right: 4, bottom: 58, left: 46 };

  function shape(tag, attributes, text = "") {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.textContent = text;
    return node;
  }

  function draw() {
    const { spans, starts, ends } = view.tokens;
    const width = $("picture").clientWidth;
    const length = view.at.length - 1;
    const middle = (ROOM.top + HEIGHT - ROOM.bottom) / 2;
    const half = middle - ROOM.top;
    const highest = roof(Math.max(...peaks(starts, 1), ...peaks(ends, 1)));
    const x = (place) => ROOM.left + (width - ROOM.left - ROOM.right) * place / length;
    const y = (share) => middle - half * share / highest;
    const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": description() });
    const { start, end } = view.answers[view.chosen] ?? { start: 0, end: 0 };
    if (end > start) {
      svg.append(shape("rect", { class: "chosen", x: x(start), width: Math.max(3, x(end) - x(start)), y: ROOM.top, height: 2 * half }));
    }
    for (const share of [highest, highest / 2, 0, -highest / 2, -highest]) {
      svg.append(
        shape("line", { class: share ? "grid" : "axis", x1: ROOM.left, x2: width - ROOM.right, y1: y(share), y2: y(share) }),
        shape("text", { x: ROOM.left - 8, y: y(share) + 4, "text-anchor": "end" }, `${+(100 * Math.abs(share)).toFixed(1)} %`));
    }
    spans.forEach(([from, to], i) => {
      // The bars touch in a dense context; where there is room, they stand apart.
      const place = { x: x(from), width: Math.max(2, x(to) - x(from) - 1) };
      const [up, down] = [half * starts[i] / highest, half * ends[i] / highest];
      if (up > 0.4) svg.append(shape("rect", { class: "start", ...place, y: middle - up, height: up }));
      if (down > 0.4) svg.append(shape("rect", { class: "end", ...place, y: middle, height: down }));
    });
    const step = tick(length * 90 / width);
    for (let place = 0; place <= length; place += step) {
      svg.append(shape("text", { x: x(place), y: HEIGHT - 22, "text-anchor": "middle" }, count(place)));
    }
    svg.append(shape("text", { x: (ROOM.left + width) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "place in the context, in characters"));
    for (const [shares, sign, gap] of [[starts, 1, -6], [ends, -1, 15]]) {
      const [best] = order(shares);
      if (best === undefined) continue;
      const [from, to] = spans[best];
      svg.append(shape("text", { class: "peak", x: x((from + to) / 2), y: y(sign * shares[best]) + gap,
        "text-anchor": anchor((from + to) / 2 / length) }, `“${short(cut(from, to))}” ${percent(shares[best])}`));
    }
    $("picture").replaceChildren(svg);
  }

  const anchor = (share) => (share < 0.12 ? "start" : share > 0.88 ? "end" : "middle");
  const order = (shares) => shares.map((_, i) => i).sort((a, b) => shares[b] - shares[a]);
  const peaks = (shares, many) => [0, ...order(shares).slice(0, many).map((i) => shares[i])];
  const short = (text) => ([...text].length > 16 ? `${[...text].slice(0, 15).join("")}…` : text);

  /** The lowest of some round shares that is no lower. */
  const roof = (share) => [0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((round) => share <= round) ?? 1;

  /** A round number of characters that is no smaller. */
  function tick(least) {
    const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
    return [1, 2, 5, 10].map((digit) => digit * power).find((step) => step >= least);
  }

  /** The picture in words. */
  function description() {
    const { spans, starts, ends } = view.tokens;
    const likely = (shares) => order(shares).slice(0, 3).map((i) =>
      `“${cut(...spans[i])}” at character ${count(spans[i][0])}, ${percent(shares[i])}`).join("; ");
    return `How likely the answer begins and ends at each place of the context. Begins: ${likely(starts)}. Ends: ${likely(ends)}.`;
  }

  // Controls.

  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  $("context").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      ask();
    }
  });
  $("examples").append(...setup.examples.map((one) => {
    const button = element("button", { type: "button", dir: "auto", textContent: one.question });
    button.addEventListener("click", () => {
      $("question").value = one.question;
      $("context").value = one.context;
      ask();
    });
    return element("li", {}, button);
  }));
  new ResizeObserver(() => {
    if (view.tokens && $("picture").clientWidth) draw();
  }).observe($("picture"));
  $("context").focus({ preventScroll: true });
})();
