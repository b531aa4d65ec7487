"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const items = JSON.parse(byId("items").textContent);
  const questions = JSON.parse(byId("questions").textContent);
  const dimensions = Object.keys(questions);
  const storageKey = "guardalign-" + byId("items").dataset.name;

  // Private windows may refuse storage; the page then works without remembering.
  const remember = (text) => { try { localStorage.setItem(storageKey, text); } catch (error) { return; } };
  const recall = () => { try { return localStorage.getItem(storageKey); } catch (error) { return null; } };
  let state;
  try { state = JSON.parse(recall()); } catch (error) { state = null; }
  state = state || { person: "", answers: {} };
  let at = 0;

  const make = (tag, className, ...children) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    node.append(...children);
    return node;
  };

  const key = (item, dimension) => item.item + "/" + dimension;
  const complete = (item) => dimensions.every((dimension) => {
    const answer = state.answers[key(item, dimension)] || {};
    return answer.a_acceptable && answer.b_acceptable && answer.preferred;
  });

  const choice = (item, dimension, field, legend, values) => {
    const group = make("fieldset", "", make("legend", "", legend));
    const name = key(item, dimension) + "/" + field;
    for (const value of values) {
      const input = make("input", "");
      input.type = "radio";
      input.name = name;
      input.value = value;
      input.checked = (state.answers[key(item, dimension)] || {})[field] === value;
      input.addEventListener("change", () => {
        state.answers[key(item, dimension)] = { ...state.answers[key(item, dimension)], [field]: value };
        remember(JSON.stringify(state));
        progress();
      });
      group.append(make("label", "", input, " " + value));
    }
    return group;
  };

  const progress = () => {
    const done = items.filter(complete).length;
    byId("progress").textContent = done + " of " + items.length + " answered";
  };

  const show = () => {
    const item = items[at];
    byId("item-title").textContent = "Prompt " + (at + 1) + " of " + items.length;
    const rules = make("ol", "guardrails", ...item.guardrails.map((text) => make("li", "", text)));
    const turns = make("div", "turns", ...item.turns.map((turn) => make("p", turn.role, turn.text)));
    const pair = make("div", "pair",
      make("div", "reply", make("h4", "", "A"), make("p", "", item.reply_a || "(empty reply)")),
      make("div", "reply", make("h4", "", "B"), make("p", "", item.reply_b || "(empty reply)")));
    const asked = dimensions.map((dimension) => make("div", "question", make("h3", "", questions[dimension]),
      choice(item, dimension, "a_acceptable", "A acceptable?", ["yes", "no"]),
      choice(item, dimension, "b_acceptable", "B acceptable?", ["yes", "no"]),
      choice(item, dimension, "preferred", "Better on this question", ["A", "B", "tie"])));
    byId("item-body").replaceChildren(make("h3", "", "Guardrails"), rules, make("h3", "", "Conversation"), turns, pair, ...asked);
    byId("previous").disabled = at === 0;
    byId("next").disabled = at === items.length - 1;
    progress();
  };

  const rows = () => items.flatMap((item) => dimensions.map((dimension) => ({
    person: state.person.trim(), item: item.item, dimension, ...(state.answers[key(item, dimension)] || {}),
  })));

  const save = (name, type, text) => {
    const link = make("a", "");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
  };

  const ready = () => {
    const missing = items.findIndex((item) => !complete(item));
    const text = !state.person.trim() ? "Please give your name or initials first."
      : missing >= 0 ? "Prompt " + (missing + 1) + " is not answered in full yet." : "";
    byId("message").textContent = text;
    if (text && missing >= 0 && state.person.trim()) { at = missing; show(); }
    return !text;
  };

  const cell = (text) => '"' + String(text === undefined ? "" : text).replace(/"/g, '""') + '"';
  const columns = ["person", "item", "dimension", "a_acceptable", "b_acceptable", "preferred"];
  byId("save-csv").addEventListener("click", () => {
    if (!ready()) return;
    const lines = rows().map((row) => columns.map((name) => cell(row[name])).join(","));
    save("answers-" + state.person.trim().replace(/\W+/g, "-") + ".csv", "text/csv", [columns.join(","), ...lines].join("\n") + "\n");
  });
  byId("person").value = state.person;
  byId("person").addEventListener("input", () => { state.person = byId("person").value; remember(JSON.stringify(state)); });
  byId("previous").addEventListener("click", () => { at -= 1; show(); });
  byId("next").addEventListener("click", () => { at += 1; show(); });
  byId("unanswered").addEventListener("click", () => { const open = items.findIndex((item) => !complete(item)); if (open >= 0) { at = open; show(); } });
  byId("item").addEventListener("submit", (event) => event.preventDefault());
  show();
})();
