// The editor of dialogues: a page of rows at a time. A row is known by its number, a new one by "new-…" until the server
// has it. `samples` has every row that was shown, `order` says which of them are on the page.
const cards = new Map(); // id -> {root, name, turns, told, texts: [textarea]}
let order = [];
let place = { page: 0, pages: 1, found: 0, count: 0 };
let looking = 0;

const isDraft = (id) => id.startsWith("new-");
const drafts = () => [...samples.keys()].filter(isDraft);
const isBlank = ({ turns }) => turns.every(({ text }) => !text.trim());
// A picture alone may be the question.
const isWhole = ({ turns, pictures }) => turns.every(({ role, text }, i) => text.trim() || role === "system" || (pictures.length && i <= 1 && role === "user"));
// What a part of a row is called by those who cannot see where it is.
const called = (part, { id }) => (isDraft(id) ? `${words[part]} (${words.new_row})` : fill(words[`${part}_of`], { row: id }));
const idOf = (target) => target.closest?.(".talk")?.dataset.id;

function makeCard(row) {
  const remove = node("button", { type: "button", className: "remove", textContent: "×" });
  const name = node("span", { className: "name" });
  const pictures = row.pictures.map((id) => node("img", { src: address(id, 256), alt: "", loading: "lazy", decoding: "async" }));
  const turns = node("div", { className: "turns" });
  const told = node("p", { className: "told", hidden: true });
  const more = node("button", { type: "button", className: "more", textContent: words.follow_up });
  const head = node("div", { className: "meta" }, name, more, remove);
  const root = node("li", { className: "talk" }, head, node("div", { className: "said" }, ...(pictures.length ? [node("div", { className: "shown" }, ...pictures)] : []), turns), told);
  return { root, name, turns, told, more, remove, texts: [] };
}

// The places of a row's turns, made anew only when there are more or fewer of them.
function layTurns(card, row) {
  const roles = row.turns.map(({ role }) => role).join();
  if (card.roles === roles) return;
  card.roles = roles;
  const at = card.texts.indexOf(document.activeElement);
  card.texts = row.turns.map((_, i) => node("textarea", { rows: 1, maxLength: limits.turn, spellcheck: true }));
  const last = row.turns.length - 1;
  card.turns.replaceChildren(...row.turns.map(({ role }, i) => {
    const parts = [node("span", { className: "role", textContent: words[role] }), card.texts[i]];
    // Of several questions the last can be taken back with its answer.
    if (i === last && row.turns.filter((turn) => turn.role === "user").length > 1) parts.push(node("button", { type: "button", className: "less", textContent: words.take_back }));
    return node("div", { className: `turn ${role}` }, ...parts);
  }));
  if (at >= 0) card.texts[Math.min(at, last)].focus();
}

Object.assign(shown, {
  // Puts a page of the server in place of the one that is shown; what the server does not have yet stays.
  take(reply, report = false) {
    version = reply.version;
    trigger("saved");
    const mine = saver.unsaved();
    for (const row of reply.rows) samples.set(row.id, { ...row, ...mine[row.id] });
    order = [...drafts(), ...reply.rows.map(({ id }) => id).filter((id) => !saver.remove.has(id))];
    place = reply;
    desk = { ...desk, page: reply.page, query: reply.query };
    if (reply.query !== $("search").value && document.activeElement !== $("search")) $("search").value = reply.query;
    if (report) shown.report(reply);
    shown.list();
  },

  async again() {
    shown.take(await ask("view"));
  },

  list() {
    for (const [id, card] of cards) if (!order.includes(id)) { card.root.remove(); cards.delete(id); }
    let last = null;
    for (const id of order) {
      if (!cards.has(id)) cards.set(id, makeCard(samples.get(id)));
      const { root } = cards.get(id);
      shown.sample(samples.get(id));
      if (root.previousElementSibling !== last || !root.parentNode) {
        if (last) last.after(root);
        else $("rows").prepend(root);
      }
      last = root;
    }
    shown.counts();
  },

  sample(row) {
    const card = row && cards.get(row.id);
    if (!card) return;
    layTurns(card, row);
    card.root.dataset.id = row.id;
    card.name.textContent = isDraft(row.id) ? words.new_row : row.name === `row ${row.id}` ? row.id : `${row.id} · ${row.name}`;
    card.remove.setAttribute("aria-label", called("delete", row));
    card.more.setAttribute("aria-label", called("follow_up", row));
    const refused = saver.refused.get(row.id);
    row.turns.forEach(({ role, text }, i) => {
      const field = card.texts[i];
      field.setAttribute("aria-label", called(role, row));
      field.setAttribute("aria-invalid", String(!!refused && !isDraft(row.id) && (isWhole(row) || !text.trim())));
      // The server leaves out spaces at the end: nobody's cursor jumps for that.
      if (field.value !== text && !(field === document.activeElement && field.value.trim() === text)) field.value = text;
    });
    const sentences = refused && !isDraft(row.id) ? refused.sentences : [];
    card.told.hidden = !sentences.length;
    card.told.textContent = sentences.join(" ");
  },

  present(gone) {
    for (const id of gone) samples.delete(id);
    order = order.filter((id) => !gone.includes(id));
    place = { ...place, count: place.count - gone.length, found: place.found - gone.length };
    shown.list();
  },

  counts() {
    const any = place.count > 0 || drafts().length > 0;
    for (const name of ["tools", "list"]) $(name).hidden = !any && !past.done.length && !past.undone.length;
    $("rows").hidden = !any;
    $("pages").hidden = place.pages < 2;
    $("example").hidden = place.count > 0 || !limits.example;
    $("clear").disabled = !(desk.query ? place.found : place.count);
    $("clear").textContent = desk.query ? fill(words.remove_found, { count: place.found }) : words.clear;
    $("lead").textContent = !place.count ? words.none : place.count === 1 ? words.one : fill(words.count, { count: place.count });
    $("found").textContent = desk.query ? fill(words.found, { count: place.found }) : "";
    $("page").value = place.page + 1;
    $("page").max = place.pages;
    $("of-pages").textContent = fill(words.of_pages, { pages: place.pages });
    $("before").disabled = place.page === 0;
    $("next").disabled = place.page >= place.pages - 1;
    for (const name of ["save-jsonl", "save-alpaca"]) $(name).disabled = !place.count;
  },

  saving(error = null) {
    shownByAll.saving(error);
    const refused = [...saver.refused];
    const said = refused.filter(([id]) => !isDraft(id));
    if (refused.length && !said.length && !error) {
      $("saved").dataset.state = "unfinished";
      $("saved").textContent = words.state_unfinished;
    }
    if (said.length) shown.problems(said.map(([id, { sentences }]) => [id, sentences.join(" ")]));
    else $("report").querySelector(".refused")?.remove();
    for (const id of order) shown.sample(samples.get(id));
  },

  // Sentences, or [id of a row, sentence]: those lead to their row.
  problems(sentences) {
    const refused = sentences.some(Array.isArray);
    const line = (said) => {
      if (!Array.isArray(said)) return node("p", { textContent: said });
      const button = node("button", { type: "button", textContent: words.show_row });
      button.addEventListener("click", () => reveal(said[0]));
      return node("p", { textContent: said[1] + " " }, button);
    };
    // What is typed in a new row that is not whole yet is no problem.
    const told = sentences.filter((said) => said !== words.unfinished);
    if (told.length) $("report").replaceChildren(node("div", { className: refused ? "problems refused" : "problems" }, ...told.map(line)));
  },

  report({ rejected, notes }) {
    const parts = [];
    const lines = (some) => node("ul", {}, ...some.map((line) => node("li", { textContent: line })));
    for (const [title, all] of [[words.rejected, rejected], [words.notes, notes]]) {
      if (!all.length) continue;
      parts.push(node("p", { textContent: title }), lines(all.slice(0, 5)));
      if (all.length > 5) parts.push(node("details", {}, node("summary", { textContent: fill(words.more_lines, { count: all.length - 5 }) }), lines(all.slice(5))));
    }
    $("report").replaceChildren(...parts);
  },

  // The server has new rows now: they go on under their numbers, whatever was typed in them meanwhile.
  landed(reply) {
    place = { ...place, count: reply.count };
    for (const [draft, id] of Object.entries(reply.added)) {
      const row = samples.get(draft);
      const known = samples.has(id);
      const waiting = saver.edits.get(draft) ?? saver.refused.get(draft)?.fields;
      saver.edits.delete(draft);
      saver.refused.delete(draft);
      samples.delete(draft);
      if (!row) { saver.remove.add(id); continue; }
      samples.set(id, { ...row, id, name: `row ${id}` });
      if (waiting) saver.edit(id, "turns", waiting.turns);
      const card = cards.get(draft);
      cards.delete(draft);
      if (cards.has(id)) card?.root.remove();
      else if (card) cards.set(id, card);
      order = [...new Set(order.map((other) => (other === draft ? id : other)))];
      if (!known) record({ changes: {}, gone: [], come: [id] });
    }
    for (const id of reply.missing) {
      saver.edits.delete(id);
      samples.delete(id);
    }
    order = order.filter((id) => samples.has(id));
    const lost = Object.entries(reply.refused).filter(([id]) => !samples.has(id)).flatMap(([, sentences]) => sentences);
    if (lost.length) shown.problems([...new Set(lost)]);
    shown.list();
  },

  reveal: (id) => reveal(id),
});

// Shows the page a row is on, and the row.
async function reveal(id) {
  if (id && !order.includes(id)) await go({ at: id });
  cards.get(id)?.root.scrollIntoView({ block: "nearest" });
}

// Asks for rows; only the last answer counts.
async function go(wanted) {
  await saver.push();
  const turn = ++looking;
  const reply = await ask("view", wanted).catch(() => ({ problems: [words.unreachable] }));
  if (turn !== looking) return;
  if (reply.problems) shown.problems(reply.problems);
  else shown.take(reply);
}
const turnTo = (page) => go({ page: Math.max(0, Math.min(place.pages - 1, page)) }).then(() => $("rows").scrollTo(0, 0));

// What a person makes of a row. A new one waits here until there is something to learn from it.
function write(id, turns, what) {
  const row = samples.get(id);
  const before = row.turns;
  row.turns = turns;
  if (!isDraft(id)) {
    revised(id, "turns", before, turns, what);
    saver.edit(id, "turns", turns);
    saver.soon();
    shown.history();
  } else if (isWhole(row)) {
    saver.edit(id, "turns", turns);
    saver.edit(id, "pictures", row.pictures);
    saver.soon(1500);
  } else {
    saver.edits.delete(id);
    if (isBlank(row)) saver.refused.delete(id);
    else saver.refused.set(id, { fields: { turns, pictures: row.pictures }, sentences: [words.unfinished] });
    saver.remember();
    shown.saving();
  }
  shown.sample(row);
}

function begun(pictures = [], turns = [{ role: "user", text: "" }, { role: "assistant", text: "" }]) {
  const id = `new-${Math.random().toString(36).slice(2, 12)}`;
  samples.set(id, { id, name: "", turns, pictures });
  order = [id, ...order];
  shown.list();
  cards.get(id).texts[0].focus();
  return id;
}

function discard(id) {
  const at = order.indexOf(id);
  if (isDraft(id)) {
    saver.edits.delete(id);
    saver.refused.delete(id);
    saver.remember();
    samples.delete(id);
    order = order.filter((other) => other !== id);
    shown.list();
    shown.saving();
  } else {
    saver.edits.delete(id);
    saver.refused.delete(id);
    takeOut([id]);
  }
  (cards.get(order[Math.min(at, order.length - 1)])?.remove ?? $("write")).focus();
}

async function choosePicture() {
  const reply = await ask("pictures").catch(() => ({ problems: [words.unreachable] }));
  if (reply.problems) { shown.problems(reply.problems); return; }
  $("choose-empty").hidden = reply.pictures.length > 0;
  $("choices").replaceChildren(...reply.pictures.map(({ id, name }) => {
    const choice = node("button", { type: "button", title: name, "aria-label": name }, node("img", { src: address(id, 256), alt: "", loading: "lazy", decoding: "async" }));
    choice.addEventListener("click", () => { $("choose").close(); begun([id]); });
    return choice;
  }));
  $("choose").showModal();
}

async function start(value) {
  if (!value || (desk && desk.dataset === value.dataset && desk.visitor === value.visitor)) return;
  desk = { visitor: value.visitor, dataset: value.dataset, page: 0, query: "" };
  let reply;
  try {
    reply = await ask("open");
  } catch {
    setTimeout(() => { desk = null; start(value); }, 2000);
    return;
  }
  if (reply.problems) { shown.problems(reply.problems); return; }
  samples.clear();
  shown.take(reply, true);
  for (const name of ["example", "pick", "write"]) $(name).disabled = false;
  for (const [id, { turns, pictures }] of Object.entries(saver.remembered())) {
    if (isDraft(id)) write(begun(pictures, turns), turns);
    else if (turns) { saver.edit(id, "turns", turns); saver.soon(); }
  }
}

element.addEventListener("input", ({ target }) => {
  const id = idOf(target);
  if (!id || !target.matches("textarea")) return;
  const at = cards.get(id).texts.indexOf(target);
  write(id, samples.get(id).turns.map((turn, i) => (i === at ? { ...turn, text: target.value } : turn)), `turn ${at}`);
});
element.addEventListener("click", ({ target }) => {
  const id = idOf(target);
  if (!id) return;
  const { turns } = samples.get(id);
  if (target.matches(".remove")) discard(id);
  else if (target.matches(".more")) {
    write(id, [...turns, { role: "user", text: "" }, { role: "assistant", text: "" }], null);
    cards.get(id).texts.at(-2).focus();
  } else if (target.matches(".less")) {
    write(id, turns.slice(0, -2), null);
    cards.get(id).texts.at(-1).focus();
  }
});
element.addEventListener("keydown", (event) => {
  const { target, key } = event;
  const held = (event.ctrlKey || event.metaKey) && !event.altKey;
  const id = idOf(target);
  if (held && ["z", "y"].includes(key.toLowerCase()) && (id || !target.matches("input"))) {
    event.preventDefault();
    (key.toLowerCase() === "y" || event.shiftKey ? redo : undo)();
  } else if (held && key === "Enter" && id) {
    event.preventDefault();
    const next = order[order.indexOf(id) + (event.shiftKey ? -1 : 1)];
    if (next) cards.get(next).texts[0].focus();
    else if (!event.shiftKey) $("write").click();
  }
});

let typing = 0;
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => go({ query: $("search").value, page: 0 }), 250);
});
$("before").addEventListener("click", () => turnTo(place.page - 1));
$("next").addEventListener("click", () => turnTo(place.page + 1));
$("page").addEventListener("change", () => turnTo(Number($("page").value) - 1 || 0));
$("write").addEventListener("click", () => (limits.pictures ? choosePicture() : begun()));
$("choose-none").addEventListener("click", () => { $("choose").close(); begun(); });
$("choose-close").addEventListener("click", () => $("choose").close());
$("example").addEventListener("click", () => during(async () => {
  shown.busy(words.reading_example);
  received(await ask("example"));
}));
$("clear").addEventListener("click", () => during(async () => {
  for (const id of drafts()) discard(id);
  await saver.push();
  received(await ask("clear"));
}));
for (const [form, name] of Object.entries(limits.forms)) {
  $(`save-${form}`).addEventListener("click", () => takeHome(`gradio_api/rows/${family}/${desk.visitor}/${desk.dataset}/${form}`, name));
}
offerFiles();
watch("value", () => start(props.value));
start(props.value);
