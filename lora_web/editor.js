// The editor of pictures with their captions. Text from people is only ever set with textContent or value.
const cards = new Map(); // id -> {root, thumb, frame, text, check, marks, crop}
let seen = {}; // id -> what a run with the present settings would do with the picture
let filter = "all";
let current = null; // the id the arrow keys are at
let stage = null; // the id that is looked at closely
let drawing = 0;

function problemsOf(picture) {
  const found = [];
  if (!picture.caption.trim()) found.push("no_caption");
  if (limits.regions && !picture.regions.length) found.push("no_regions");
  if (seen[picture.id]?.too_small) found.push("too_small");
  if (samples.has(picture.twin)) found.push("duplicate");
  return found;
}
const passes = (picture) => filter === "all" || (filter === "ok" ? !problemsOf(picture).length : problemsOf(picture).includes(filter));
const visible = () => [...samples.keys()].filter((id) => cards.get(id)?.root.hidden === false);
const selected = () => [...samples.keys()].filter((id) => cards.get(id)?.check.checked);
const chosen = () => (selected().length ? selected() : visible());

function makeCard(picture) {
  const { id, name, width, height } = picture;
  const img = node("img", { alt: "", loading: "lazy", decoding: "async", draggable: false });
  const crop = node("span", { className: "crop", hidden: true });
  const frame = node("span", { className: width < height ? "frame tall" : "frame" }, img, crop);
  frame.style.aspectRatio = `${width} / ${height}`;
  const thumb = node("button", { type: "button", className: "thumb", tabIndex: -1, "aria-label": fill(words.look, { name }) }, frame);
  const check = node("input", { type: "checkbox", "aria-label": fill(words.select, { name }) });
  const marks = node("span", { className: "marks" });
  const text = node("textarea", { rows: 3, maxLength: limits.caption, spellcheck: true, "aria-label": fill(words.caption_of, { name }) });
  const label = node("span", { className: "name", title: name, textContent: name });
  const root = node("li", { className: "card" }, thumb, node("div", { className: "side" },
    node("div", { className: "meta" }, check, label, marks), text));
  root.dataset.id = id;
  img.src = address(id, 256);
  return { root, thumb, frame, check, text, marks, crop };
}

Object.assign(shown, {
  // Puts what the server says in place of what is shown; what the server does not have yet stays.
  take(reply, report = false) {
    version = reply.version;
    trigger("saved");
    const mine = saver.unsaved();
    const before = [...samples.keys()].join();
    samples.clear();
    for (const picture of reply.pictures) {
      if (!saver.remove.has(picture.id)) samples.set(picture.id, { ...picture, ...mine[picture.id] });
    }
    for (const [id, card] of cards) if (!samples.has(id)) { card.root.remove(); cards.delete(id); }
    if (report) shown.report(reply);
    if ([...samples.keys()].join() !== before) shown.list();
    else for (const picture of samples.values()) shown.sample(picture);
    shown.counts();
    look();
  },

  async again() {
    shown.take(await ask("open", { again: true }));
  },

  // Draws the cards, some in every frame, so that no frame takes long.
  list() {
    const turn = ++drawing;
    const left = [...samples.values()];
    let last = null;
    const draw = () => {
      if (turn !== drawing) return;
      const until = performance.now() + 12;
      while (left.length && performance.now() < until) {
        const picture = left.shift();
        if (!samples.has(picture.id)) continue;
        if (!cards.has(picture.id)) cards.set(picture.id, makeCard(picture));
        const { root } = cards.get(picture.id);
        root.hidden = !passes(samples.get(picture.id));
        shown.sample(samples.get(picture.id));
        if (root.previousElementSibling !== last || !root.parentNode) {
          if (last) last.after(root);
          else $("cards").prepend(root);
        }
        last = root;
      }
      if (left.length) requestAnimationFrame(draw);
      else shown.counts();
    };
    draw();
  },

  sample(picture) {
    const card = cards.get(picture.id);
    if (!card) return;
    if (card.text.value !== picture.caption) card.text.value = picture.caption;
    const state = seen[picture.id];
    card.text.placeholder = !picture.caption.trim() && state?.caption ? fill(words.trained_as, { caption: state.caption }) : words.no_caption;
    const refused = saver.refused.get(picture.id);
    card.text.setAttribute("aria-invalid", String(!!refused));
    card.text.title = refused ? refused.sentences.join(" ") : "";
    const found = problemsOf(picture);
    if (card.marks.dataset.state !== found.join()) {
      card.marks.dataset.state = found.join();
      card.marks.replaceChildren(...found.map((name) => node("span", { className: `mark ${name}`, title: words[`why_${name}`], textContent: words[name] })));
    }
    outline(card.frame, picture.regions);
    place(card.crop, state, $("crops").checked);
    if (stage === picture.id) closeUp(picture.id);
  },

  present(gone) {
    const next = visible().find((id) => !gone.includes(id));
    for (const id of gone) {
      samples.delete(id);
      cards.get(id)?.root.remove();
      cards.delete(id);
    }
    if (gone.includes(current)) current = next ?? null;
    if (gone.includes(stage)) $("stage").close();
    shown.counts();
    for (const picture of samples.values()) shown.sample(picture);
  },

  counts() {
    const count = { all: samples.size, ok: 0, no_caption: 0, no_regions: 0, too_small: 0, duplicate: 0 };
    for (const picture of samples.values()) {
      const found = problemsOf(picture);
      if (!found.length) count.ok += 1;
      for (const name of found) count[name] += 1;
    }
    for (const option of $("filter").options) option.textContent = `${words[`show_${option.value}`]} (${count[option.value]})`;
    const any = samples.size > 0;
    for (const name of ["tools", "list"]) $(name).hidden = !any;
    $("clear").disabled = !any;
    $("example").hidden = any || !limits.example;
    $("lead").textContent = !any ? words.no_pictures : samples.size === 1 ? words.one : fill(words.count, { count: samples.size });
    $("none-shown").hidden = visible().length > 0 || drawingStill();
    const picked = selected().length;
    $("selection").textContent = picked ? fill(words.selected, { count: picked }) : words.none_selected;
    $("remove").disabled = !picked;
    $("apply").textContent = fill(words.apply, { count: chosen().length });
    const first = visible();
    if (!first.includes(current)) current = first[0] ?? null;
    for (const [id, card] of cards) card.thumb.tabIndex = id === current ? 0 : -1;
  },

  report({ rejected, notes }) {
    const parts = [];
    for (const [title, lines] of [[words.rejected, rejected], [words.notes, notes]]) {
      if (!lines.length) continue;
      const more = lines.length > 40 ? [fill(words.more_lines, { count: lines.length - 40 })] : [];
      parts.push(node("p", { textContent: title }), node("ul", {}, ...[...lines.slice(0, 40), ...more].map((line) => node("li", { textContent: line }))));
    }
    $("report").replaceChildren(...parts);
  },
});
const drawingStill = () => cards.size < samples.size;

// Which part of a picture is trained on.
function place(crop, state, wanted) {
  crop.hidden = !(wanted && state?.crop);
  if (crop.hidden) return;
  crop.style.inset = insets(state.crop);
}

// Asks what a run with the settings of the form would do with each picture; only the last answer counts.
let looking = 0;
let lookTimer = 0;
function look() {
  clearTimeout(lookTimer);
  lookTimer = setTimeout(async () => {
    const turn = ++looking;
    const settings = formOf[family] ?? limits.settings;
    const reply = await ask("look", { settings }).catch(() => null);
    if (turn !== looking || !reply || reply.problems) return;
    seen = reply.seen;
    for (const picture of samples.values()) shown.sample(picture);
    shown.counts();
  }, 150);
}

// Close up: one picture large, with all there is to know about it.
function closeUp(id) {
  const picture = samples.get(id);
  if (!picture) return;
  const fresh = stage !== id || !$("stage").open;
  stage = id;
  const state = seen[id];
  $("stage-name").textContent = picture.name;
  $("stage-frame").style.aspectRatio = `${picture.width} / ${picture.height}`;
  $("stage").style.setProperty("--aspect", picture.width / picture.height);
  if (fresh) $("stage-picture").src = address(id, 1280);
  $("stage-picture").alt = picture.caption;
  if ($("stage-caption").value !== picture.caption) $("stage-caption").value = picture.caption;
  regionsDrawn?.show(picture.regions, fresh);
  place($("stage-crop"), state, true);
  const facts = [fill(words.pixels, { width: picture.width, height: picture.height })];
  if (state?.bucket) facts.push(fill(words.bucket, { width: state.bucket[0], height: state.bucket[1] }));
  $("stage-facts").textContent = facts.join(" ");
  $("stage-seen").textContent = state?.caption ? fill(words.trained_as, { caption: state.caption }) : "";
  $("stage-why").replaceChildren(...problemsOf(picture).map((name) => node("li", { textContent: words[`why_${name}`] })));
  if (!$("stage").open) $("stage").showModal();
}

function step(by) {
  const ids = visible();
  const next = ids[Math.max(0, Math.min(ids.length - 1, ids.indexOf(stage) + by))];
  if (next) { current = next; closeUp(next); }
}

// Arrow keys: across and down by where the cards are.
function moveTo(id, part = "thumb") {
  const card = cards.get(id);
  if (!card) return;
  cards.get(current)?.thumb.setAttribute("tabindex", "-1");
  current = id;
  card.thumb.tabIndex = 0;
  card[part].focus();
  card.root.scrollIntoView({ block: "nearest" });
}

function neighbour(id, key) {
  const ids = visible();
  const at = ids.indexOf(id);
  const left = (other) => cards.get(other).root.offsetLeft;
  const columns = Math.max(1, ids.findIndex((other, i) => i > 0 && left(other) === left(ids[0])));
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -ids.length, End: ids.length }[key];
  return by === undefined ? null : ids[Math.max(0, Math.min(ids.length - 1, at + by))];
}

const idOf = (target) => target.closest?.(".card")?.dataset.id;

function revise(id, field, value, what = field) {
  const picture = samples.get(id);
  if (!picture || same(picture[field], value)) return;
  revised(id, field, picture[field], value, what);
  picture[field] = value;
  saver.edit(id, field, value);
  saver.soon();
  shown.sample(picture);
  shown.history();
  countSoon();
}
let counting = 0;
function countSoon() {
  clearTimeout(counting);
  counting = setTimeout(() => { shown.counts(); look(); }, 300);
}

function show(which) {
  filter = which;
  for (const [id, picture] of samples) {
    const card = cards.get(id);
    if (card) card.root.hidden = !passes(picture);
  }
  shown.counts();
}

// Many captions at once.
const letter = "[\\p{L}\\p{N}_]";
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const BULK = {
  prefix: (caption, text) => `${text} ${caption}`.trim(),
  suffix: (caption, text) => `${caption} ${text}`.trim(),
  trigger: (caption, text) =>
    new RegExp(`(?<!${letter})${escaped(text)}(?!${letter})`, "iu").test(caption) ? caption : caption ? `${text}, ${caption}` : text,
  replace: (caption, text, by) => caption.replaceAll(text, () => by),
};

function bulk() {
  const kind = $("bulk-kind").value;
  const text = $("bulk-text").value.trim();
  if (!text) { $("bulk-text").focus(); return; }
  const values = {};
  for (const id of chosen()) values[id] = { caption: BULK[kind](samples.get(id).caption, text, $("bulk-by").value.trim()).slice(0, limits.caption) };
  $("bulk-done").textContent = fill(words.changed, { count: apply(values) });
  look();
}

async function begin(value) {
  if (!value || (desk && desk.dataset === value.dataset && desk.visitor === value.visitor)) return;
  desk = { visitor: value.visitor, dataset: value.dataset };
  let reply;
  try {
    reply = await ask("open");
  } catch {
    setTimeout(() => { desk = null; begin(value); }, 2000);
    return;
  }
  if (reply.problems) { shown.problems(reply.problems); return; }
  shown.take(reply, true);
  for (const name of ["example", "pick", "pick-folder"]) $(name).disabled = false;
  if (reply.describing) listen();
  apply(Object.fromEntries(Object.entries(saver.remembered()).filter(([id]) => samples.has(id))));
}

element.addEventListener("input", (event) => {
  if (event.target.matches(".card textarea")) revise(idOf(event.target), "caption", event.target.value);
  else if (event.target === $("stage-caption")) revise(stage, "caption", event.target.value);
});
element.addEventListener("change", (event) => {
  if (event.target.matches(".card input")) shown.counts();
});
let lastChecked = null;
element.addEventListener("click", (event) => {
  const { target } = event;
  const id = idOf(target);
  if (id && target.closest(".thumb")) { current = id; closeUp(id); }
  if (id && target.matches(".card input")) {
    const ids = visible();
    if (event.shiftKey && ids.includes(lastChecked)) {
      const [from, to] = [ids.indexOf(lastChecked), ids.indexOf(id)].sort((a, b) => a - b);
      for (const other of ids.slice(from, to + 1)) cards.get(other).check.checked = target.checked;
      shown.counts();
    }
    lastChecked = id;
  }
});
element.addEventListener("keydown", (event) => {
  const { target, key } = event;
  const id = idOf(target);
  if ((event.ctrlKey || event.metaKey) && !event.altKey && ["z", "y"].includes(key.toLowerCase()) && (id || target.closest(".stage") || !target.matches("input, textarea"))) {
    event.preventDefault();
    (key.toLowerCase() === "y" || event.shiftKey ? redo : undo)();
  } else if (id && target.matches(".thumb")) {
    const next = neighbour(id, key);
    if (next) { event.preventDefault(); moveTo(next); }
    else if (key === "Delete") { const after = neighbour(id, "ArrowRight"); takeOut([id]); moveTo(samples.has(after) ? after : current); }
  } else if (key === "Enter" && !event.isComposing && (target.matches(".card textarea") || target === $("stage-caption"))) {
    // A caption is one line: Enter goes on to the next picture.
    event.preventDefault();
    if (id) moveTo(neighbour(id, "ArrowRight") === id ? id : visible()[visible().indexOf(id) + (event.shiftKey ? -1 : 1)] ?? id, "text");
    else step(event.shiftKey ? -1 : 1);
  }
});

$("filter").addEventListener("change", () => show($("filter").value));
$("crops").addEventListener("change", () => { for (const picture of samples.values()) shown.sample(picture); });
$("select-all").addEventListener("click", () => { for (const id of visible()) cards.get(id).check.checked = true; shown.counts(); });
$("select-none").addEventListener("click", () => { for (const card of cards.values()) card.check.checked = false; shown.counts(); });
$("remove").addEventListener("click", () => takeOut(selected()));
$("bulk-kind").addEventListener("change", () => { $("bulk-by-label").hidden = $("bulk-kind").value !== "replace"; });
$("bulk").addEventListener("submit", (event) => { event.preventDefault(); bulk(); });
$("stage-next").addEventListener("click", () => step(1));
$("stage-before").addEventListener("click", () => step(-1));
$("stage-remove").addEventListener("click", () => takeOut([stage]));
$("stage-close").addEventListener("click", () => $("stage").close());
$("stage").addEventListener("close", () => { const id = stage; stage = null; if (cards.has(id)) moveTo(id); });
$("stage").addEventListener("keydown", (event) => {
  if (event.target.matches("textarea, input") || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
  event.preventDefault();
  step(event.key === "ArrowLeft" ? -1 : 1);
});

$("example").addEventListener("click", () => during(async () => {
  shown.busy(words.reading_example);
  received(await ask("example"));
}));
$("clear").addEventListener("click", () => {
  takeOut([...samples.keys()]);
  $("report").replaceChildren();
});
for (const what of ["pictures", "captions", "coco", "yolo"]) {
  $(`save-${what}`).addEventListener("click", () => takeHome(`gradio_api/pictures/${desk.visitor}/${desk.dataset}/${what}.zip`, `${what}.zip`));
}
window.addEventListener("lora-web-settings", look);
$("crops").parentElement.hidden = !limits.crops;
offerFiles();
offerDescribing();
offerRegions();
watch("value", () => begin(props.value));
begin(props.value);
