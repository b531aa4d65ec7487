"use strict";
(async () => {
  const PER_PAGE = 10;
  const byId = (id) => document.getElementById(id);

  const unpack = async () => {
    const letters = atob(byId("data").textContent.trim());
    const bytes = Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  };

  let block;
  try {
    block = await unpack();
  } catch (error) {
    byId("count").textContent = "This browser cannot unpack the examples; a current one can.";
    return;
  }
  const { comparisons, names, dimensions, bins, statuses, prompts, texts, assessments, kinds, examples } = block;

  // Text from models only ever becomes a text node.
  const make = (tag, className, ...children) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    node.append(...children);
    return node;
  };

  const armName = (arm) => names[arm] || arm;

  const marked = (text, quotes) => {
    const node = make("p", "");
    const low = text.toLowerCase();
    const spans = [];
    for (const quote of quotes) {
      const at = quote.trim() ? low.indexOf(quote.trim().toLowerCase()) : -1;
      if (at >= 0) spans.push([at, at + quote.trim().length]);
    }
    spans.sort((a, b) => a[0] - b[0]);
    let at = 0;
    for (const [start, end] of spans) {
      if (end <= at) continue;
      node.append(text.slice(at, Math.max(at, start)), make("mark", "", text.slice(Math.max(at, start), end)));
      at = end;
    }
    node.append(text.slice(at));
    return node;
  };

  const broken = (example, kind) =>
    example[4].some((index) =>
      assessments[index][1].some(([number, status]) => statuses[status] === "broken" && prompts[example[1]][3][number - 1] === kind));

  const haystacks = [];
  const haystack = (index) => {
    if (haystacks[index] === undefined) {
      const [, prompt, replies] = examples[index];
      const [id, domain, guardrails, , turns] = prompts[prompt];
      const parts = [id, domain, ...guardrails.map((t) => texts[t]), ...turns.map((t) => texts[t[1]]), ...replies.map((t) => texts[t])];
      haystacks[index] = parts.join("\n").toLowerCase();
    }
    return haystacks[index];
  };

  const dimensionItem = (name, [acceptable, reason]) => {
    const word = make("span", acceptable ? "yes" : "no", acceptable ? "acceptable" : "not acceptable");
    return make("li", "", name + ": ", word, texts[reason] ? " – " + texts[reason] : "");
  };

  const guardrailItem = ([number, status, , reason]) => {
    const word = make("span", statuses[status] === "broken" ? "no" : "yes", statuses[status]);
    return make("li", "", "guardrail " + number + ": ", word, texts[reason] ? " – " + texts[reason] : "");
  };

  const replyBox = (heading, text, assessment) => {
    const box = make("div", "reply", make("h4", "", ...heading));
    const quotes = assessment
      ? [...assessment[0].flatMap((part) => part[2]), ...assessment[1].map((part) => part[2])].map((index) => texts[index])
      : [];
    box.append(text ? marked(text, quotes) : make("p", "none", "(empty reply)"));
    if (assessment) {
      const findings = make("ul", "findings");
      assessment[0].forEach((part, index) => findings.append(dimensionItem(dimensions[index], part)));
      assessment[1].filter((part) => statuses[part[1]] !== "not applicable").forEach((part) => findings.append(guardrailItem(part)));
      box.append(findings);
    }
    return box;
  };

  const card = (example) => {
    const [comparison, prompt, replies, verdict, assessed, flips, invalid] = example;
    const [id, domain, guardrails, , turns, chosen] = prompts[prompt];
    const [one, two] = comparisons[comparison];
    const where = make("p", "where", make("b", "", armName(one), " against ", armName(two)), "  ·  " + id + (domain ? "  ·  " + domain : ""));
    const words = verdict.length ? dimensions.map((name, index) => name + ": " + bins[verdict[index]]).join("  ·  ") : "no valid verdict: " + invalid;
    const item = make("li", "", where, make("p", "where", words + (flips ? "  ·  the preference changes with the order" : "")));
    const rules = make("ol", "guardrails", ...guardrails.map((text) => make("li", "", texts[text])));
    item.append(make("details", "", make("summary", "", guardrails.length + " guardrails"), rules));
    const lines = turns.map(([agent, text]) => make("p", agent ? "agent" : "user", texts[text]));
    const last = lines.pop();
    if (lines.length) item.append(make("details", "", make("summary", "", lines.length + " earlier messages"), make("div", "turns", ...lines)));
    item.append(make("div", "turns", ...(last ? [last] : [])));
    item.append(make("div", "pair", replyBox(["1: ", armName(one)], texts[replies[0]], assessments[assessed[0]]), replyBox(["2: ", armName(two)], texts[replies[1]], assessments[assessed[1]])));
    item.append(make("details", "", make("summary", "", "The data’s own reply"), make("p", "", texts[chosen])));
    return item;
  };

  const fill = (id, all, names) => {
    const select = byId(id);
    if (all) select.append(new Option(all, ""));
    names.forEach(([value, name]) => select.append(new Option(name, value)));
  };
  fill("f-comparison", "all comparisons", comparisons.map((pair, index) => [index, pair.map(armName).join(" against ")]));
  fill("f-dimension", "", dimensions.map((name, index) => [index, name]));
  fill("f-bin", "any verdict", [...bins.map((name, index) => [index, name]), ["flips", "changes with the order"], ["invalid", "no valid verdict"]]);
  const shorter = (text) => (text.length > 70 ? text.slice(0, 69) + "…" : text);
  fill("f-kind", "any or none", kinds.map((name, index) => [index, shorter(name)]).sort((a, b) => a[1].localeCompare(b[1])));

  let found = [];
  let page = 0;

  const show = () => {
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    page = Math.min(page, pages - 1);
    byId("list").replaceChildren(...found.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map((index) => card(examples[index])));
    byId("count").textContent = found.length + " of " + examples.length + " examples";
    byId("page").textContent = "page " + (page + 1) + " of " + pages;
    byId("previous").disabled = page === 0;
    byId("next").disabled = page >= pages - 1;
  };

  const filter = () => {
    const comparison = byId("f-comparison").value;
    const dimension = Number(byId("f-dimension").value);
    const bin = byId("f-bin").value;
    const kind = byId("f-kind").value;
    const words = byId("f-search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (example, index) =>
      (comparison === "" || example[0] === Number(comparison)) &&
      (bin === "" || (bin === "flips" ? example[5] === 1 : bin === "invalid" ? example[3].length === 0 : example[3][dimension] === Number(bin))) &&
      (kind === "" || broken(example, Number(kind))) &&
      words.every((word) => haystack(index).includes(word));
    found = [];
    examples.forEach((example, index) => { if (matches(example, index)) found.push(index); });
    page = 0;
    show();
  };

  const turn = (step) => { page += step; show(); byId("examples").scrollIntoView(); };
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  byId("filters").addEventListener("change", filter);
  byId("f-search").addEventListener("input", filter);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(filter));
  byId("filters").hidden = false;
  byId("pages").hidden = false;
  filter();
  document.documentElement.dataset.ready = "yes";
})();
