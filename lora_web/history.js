// The history of runs: one card per run, kept between updates so that nothing flickers and a name being typed stays.
// Text from people is only ever set with textContent or value; pictures only as data URIs.
const $ = partsOf(element);
const words = JSON.parse($("words").dataset.words);
const cards = new Map();
let picked = [];

const act = (what, more) => trigger("act", { do: what, ...more });

function make(tag, part, more = {}) {
  const node = document.createElement(tag);
  node.dataset.part = part;
  return Object.assign(node, more);
}

function button(card, what, onclick) {
  const node = make("button", what, { type: "button", textContent: words[what], onclick });
  card.actions.append(node);
  return node;
}

function rename(card) {
  const field = make("input", "name", { type: "text", maxLength: 80, value: card.run.title });
  field.setAttribute("aria-label", words.new_name);
  let done = false;
  const finish = (keep) => {
    if (done) return;
    done = true;
    const name = field.value;
    field.replaceWith(card.title);
    if (keep && name.trim() !== card.run.title) act("rename", { run: card.run.id, title: name });
    card.rename.focus();
  };
  field.addEventListener("keydown", (event) => {
    if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
    // The button gets the focus back, and would be pressed by the same key.
    event.preventDefault();
    finish(event.key === "Enter");
  });
  field.addEventListener("blur", () => finish(true));
  card.title.replaceWith(field);
  field.focus();
  field.select();
}

function pick(card) {
  const id = card.run.id;
  const before = picked.length;
  picked = picked.filter((other) => other !== id);
  if (card.pick.checked) picked = [...picked, id].slice(-2);
  for (const other of cards.values()) other.pick.checked = picked.includes(other.run.id);
  // One alone is compared with nothing, and an empty answer must not overtake a full one.
  if (picked.length === 2) trigger("compare", { runs: picked });
  else if (before === 2) trigger("compare", { runs: [] });
}

function build(run) {
  const card = { run, node: make("li", "run") };
  card.picture = make("img", "picture", { alt: "" });
  const text = make("div", "text");
  card.title = make("h3", "title");
  card.state = make("span", "state");
  card.figures = make("p", "figures");
  card.reason = make("p", "reason");
  card.facts = make("p", "facts", { className: "quiet" });
  card.when = make("p", "when", { className: "quiet" });
  card.actions = make("div", "actions");
  text.append(card.title, card.state, card.figures, card.reason, card.facts, card.when, card.actions);
  card.open = make("a", "open", { href: `?run=${run.id}`, textContent: words.open });
  card.actions.append(card.open);
  card.resume = button(card, "resume", () => act("resume", { run: run.id }));
  card.retry = button(card, "retry", () => act("retry", { run: run.id }));
  card.rename = button(card, "rename", () => rename(card));
  card.delete = button(card, "delete", () => {
    const sure = words.delete_sure.replace("{title}", () => card.run.title);
    if (window.confirm(sure)) act("delete", { run: run.id });
  });
  const label = make("label", "pick");
  card.pick = make("input", "check", { type: "checkbox", onchange: () => pick(card) });
  label.append(card.pick, make("span", "pick-word", { textContent: words.pick }));
  card.actions.append(label);
  card.node.append(card.picture, text);
  return card;
}

function set(node, value) {
  if (node.textContent !== value) node.textContent = value;
  node.hidden = !value;
}

function fill(card, run) {
  card.run = run;
  card.node.dataset.run = run.id;
  card.node.dataset.state = run.state;
  set(card.title, run.title);
  set(card.state, run.told);
  set(card.figures, run.figures);
  set(card.reason, run.reason);
  set(card.facts, run.facts);
  set(card.when, new Date(run.created * 1000).toLocaleString(words.locale, { dateStyle: "medium", timeStyle: "short" }));
  card.resume.hidden = !run.resumable;
  for (const name of ["open", "resume", "retry", "rename", "delete"]) {
    card[name].setAttribute("aria-label", `${words[name]}: ${run.title}`);
  }
  card.pick.setAttribute("aria-label", `${words.pick}: ${run.title}`);
  const picture = isPicture(run.picture) ? run.picture : "";
  if (card.picture.getAttribute("src") !== picture) {
    if (picture) card.picture.src = picture;
    else card.picture.removeAttribute("src");
  }
}

function take(value) {
  const runs = value && Array.isArray(value.runs) ? value.runs.filter((run) => /^[0-9a-f]{32}$/.test(run.id)) : [];
  const there = new Set(runs.map((run) => run.id));
  for (const [id, card] of cards) {
    if (!there.has(id)) {
      card.node.remove();
      cards.delete(id);
      picked = picked.filter((other) => other !== id);
    }
  }
  runs.forEach((run, i) => {
    if (!cards.has(run.id)) cards.set(run.id, build(run));
    const card = cards.get(run.id);
    fill(card, run);
    if ($("list").children[i] !== card.node) $("list").insertBefore(card.node, $("list").children[i] || null);
  });
  set($("notice"), (value && value.notice) || "");
  $("empty").hidden = !value || runs.length > 0;
  $("intro").hidden = runs.length === 0;
  $("more").hidden = !(value && value.more);
}

$("more").onclick = () => act("more", {});
watch("value", () => take(props.value));
take(props.value);
