// The strength ladder: all rungs are here already, so moving the slider asks nobody. Between two rungs the nearer ones
// are laid over each other and called approximate; where the slider comes to rest the server draws the exact picture.
// Text from people is only ever set with textContent; pictures only as data URIs.
const $ = partsOf(element);
const words = JSON.parse($("words").dataset.words);
const slider = $("slider");
let ladder = null;
let strength = 1;
let exact = new Map(); // strength as shown -> picture
let balance = {}; // multiples of the strength, by group
let resting = 0;

const set = (node, name, value) => node.getAttribute(name) === value || node.setAttribute(name, value);
const asked = () => ({ request: ladder.request, span: ladder.span, balance });

// The rungs around a strength and how far it is from the first to the second.
function around(value) {
  const rungs = ladder.strengths;
  let i = rungs.findIndex((rung) => rung >= value - 1e-6);
  if (i < 0) i = rungs.length - 1;
  if (i === 0 || Math.abs(rungs[i] - value) < 1e-6) return [i, i, 0];
  return [i - 1, i, (value - rungs[i - 1]) / (rungs[i] - rungs[i - 1])];
}

function show(value) {
  const rungs = ladder.strengths;
  strength = Math.round(Math.max(rungs[0], Math.min(rungs.at(-1), value)) * 100) / 100;
  const [low, high, part] = around(strength);
  const made = exact.get(strengthText(strength));
  const kind = low === high || made ? "exact" : "approximate";
  const caption = fill(words.adapter_picture, { strength: strengthText(strength) });
  set($("adapter"), "src", made || ladder.images[low]);
  set($("adapter"), "alt", caption);
  set($("over"), "src", ladder.images[high]);
  $("over").style.opacity = kind === "exact" ? 0 : part;
  $("adapter-caption").textContent = caption;
  set($("stack"), "data-kind", kind);
  tell(kind === "exact" ? words[made ? "exact_drawn" : "exact_rung"] : between(low, high));
  $("value").textContent = strengthText(strength);
  slider.value = String(strength);
  slider.setAttribute("aria-valuetext", kind === "exact" ? strengthText(strength) : `${strengthText(strength)}, ${words.approximate}`);
  for (const [i, button] of [...$("rungs").children].entries()) set(button, "aria-pressed", String(low === high && i === low));
  point();
  mark();
}

function between(low, high) {
  return fill(words.between, { low: strengthText(ladder.strengths[low]), high: strengthText(ladder.strengths[high]) });
}

function tell(sentence) {
  if ($("kind").textContent !== sentence) $("kind").textContent = sentence;
}

function move(value) {
  show(value);
  clearTimeout(resting);
  if ($("stack").dataset.kind === "approximate") resting = setTimeout(ask, REST);
}

function ask() {
  tell(`${$("kind").textContent} ${words.drawing_exact}`);
  trigger("rest", { ...asked(), strength });
}

function rung(value, image) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", `${words.strength} ${strengthText(value)}`);
  const picture = document.createElement("img");
  picture.src = image;
  picture.alt = "";
  const label = document.createElement("span");
  label.textContent = strengthText(value);
  button.append(picture, label);
  button.addEventListener("click", () => move(value));
  return button;
}

function groupOf(name) {
  return groupSlider(name, words.groups[name] || name, balance[name] ?? 1, (factor) => {
    balance = { ...balance, [name]: factor };
    clearTimeout(resting);
    resting = setTimeout(() => trigger("rebalance", asked()), 2 * REST);
  });
}

const SVG = "http://www.w3.org/2000/svg";
const across = (value) => {
  const [first, last] = [ladder.curve.strengths[0], ladder.curve.strengths.at(-1)];
  return 30 + (260 * (value - first)) / (last - first);
};
const up = (value) => 100 - 84 * Math.max(-0.15, Math.min(1.1, value));

function drawn(kind, attributes, text) {
  const node = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function plot() {
  const curve = ladder.curve;
  $("curve").hidden = !curve;
  if (!curve) return;
  const line = (values, name) =>
    drawn("polyline", { class: name, points: values.map((v, i) => `${across(curve.strengths[i])},${up(v)}`).join(" ") });
  const parts = [drawn("line", { class: "axis", x1: 30, x2: 290, y1: up(0), y2: up(0) })];
  for (const value of curve.strengths.filter((v) => Number.isInteger(v * 2))) {
    parts.push(drawn("text", { x: across(value), y: 124, "text-anchor": "middle" }, String(value)));
  }
  if (curve.recommended !== null) {
    const x = across(curve.recommended);
    parts.push(drawn("line", { class: "recommended", x1: x, x2: x, y1: 8, y2: up(0) }));
  }
  parts.push(line(curve.moved, "moved"), line(curve.near, "near"), drawn("line", { class: "now", y1: 8, y2: 112 }));
  $("plot").replaceChildren(...parts);
  const found = curve.recommended === null ? words.recommends_none : fill(words.recommends, { strength: strengthText(curve.recommended) });
  $("recommended").textContent = found;
  set($("plot"), "aria-label", found);
  $("measured").textContent = fill(words.measured, curve);
  $("use").hidden = curve.recommended === null;
  mark();
}

const called = ({ caption }, i) => `${i + 1} ${caption}`.trim();

// The boxes the pictures were asked for, over the base's and the adapter's alike.
function outline(regions) {
  $("overlay").hidden = !regions.length;
  const told = regions.map(called);
  for (const name of ["base-boxes", "adapter-boxes"]) {
    const frames = regions.map(({ box: [left, top, right, bottom] }, i) => {
      // Of its own size, so that a long caption ends with the box.
      const frame = drawn("svg", { x: 100 * left, y: 100 * top, width: 100 * (right - left), height: 100 * (bottom - top) });
      frame.style.setProperty("--colour", words.colours[i % words.colours.length]);
      frame.append(drawn("rect", { width: "100%", height: "100%" }), drawn("text", { x: 1.5, y: 1 }, told[i]));
      return frame;
    });
    $(name).replaceChildren(...frames);
    set($(name), "aria-label", fill(words.overlay_has, { boxes: told.join(", ") }));
    $(name).toggleAttribute("hidden", !regions.length);
  }
}

// In which boxes what they ask for was found: a row for each that could be judged, a column for each strength.
function check({ found, hint }) {
  const boxes = ladder.request.regions;
  if (!Array.isArray(found) || found.length > boxes.length) return;
  const rows = found.flatMap((row, i) => (Array.isArray(row) ? [[called(boxes[i], i), row]] : []));
  const verdict = (yes) =>
    node("td", { "data-found": String(yes) }, node("span", { class: "off-screen" }, words[yes ? "adherence_yes" : "adherence_no"]));
  $("found-at").replaceChildren(
    $("found-at").firstElementChild,
    ...ladder.strengths.map((each) => node("th", { scope: "col" }, strengthText(each))),
  );
  $("found-in").replaceChildren(
    ...rows.map(([box, row]) => node("tr", {}, node("th", { scope: "row" }, box), ...row.map(verdict))),
  );
  $("found").hidden = !rows.length;
  $("found-hint").textContent = hint;
  $("adherence").hidden = !rows.length && !hint;
  point();
}

// Shows which column of what was found belongs to the picture above.
function point() {
  const [low, high] = around(strength);
  for (const [i, head] of [...$("found-at").children].entries()) set(head, "data-now", String(low === high && i === low + 1));
}

function mark() {
  const now = $("plot").querySelector(".now");
  if (!now) return;
  const { strengths } = ladder.curve;
  const x = across(Math.max(strengths[0], Math.min(strengths.at(-1), strength)));
  now.setAttribute("x1", x);
  now.setAttribute("x2", x);
}

function takeLadder(value) {
  const good = Array.isArray(value.strengths) && Array.isArray(value.images) && value.images.every(isPicture) && isPicture(value.base);
  if (!good) return clear();
  if (ladder && ladder.of === value.of) {
    // Shown already: the slider and what was drawn between the rungs stay.
    ladder.curve = value.curve;
    return plot();
  }
  const same = ladder && ladder.about === value.about;
  ladder = value;
  // Show draws with every group as trained; only a group's own slider asks for anything else.
  const reset = !same || !Object.keys(ladder.balance).length;
  if (reset) balance = { ...ladder.balance };
  exact = new Map();
  $("empty").hidden = true;
  $("ladder").hidden = false;
  $("base").src = ladder.base;
  outline(ladder.request.regions);
  $("of").textContent = fill(words.ladder_of, { prompt: ladder.request.prompt, seed: ladder.request.seed });
  slider.min = String(ladder.strengths[0]);
  slider.max = String(ladder.strengths.at(-1));
  $("rungs").replaceChildren(...ladder.strengths.map((each, i) => rung(each, ladder.images[i])));
  if (reset) $("groups").replaceChildren(...ladder.groups.map(groupOf));
  $("more").hidden = ladder.groups.length < 2;
  tellZero($("zero"), words, null);
  $("adherence").hidden = true;
  plot();
  show(same ? strength : ladder.recommended ?? 1);
}

function takeExact(value) {
  if (!isPicture(value.image) || !isNumber(value.strength)) return;
  exact.set(strengthText(value.strength), value.image);
  if (exact.size > KEPT) exact.delete(exact.keys().next().value);
  if (strengthText(strength) === strengthText(value.strength)) show(strength);
}

function clear() {
  ladder = null;
  clearTimeout(resting);
  $("empty").hidden = false;
  $("ladder").hidden = true;
}

function take(value) {
  if (!value) return clear();
  if (value.kind === "wait") {
    $("wait").textContent = value.text;
    set(element.querySelector(".ladder"), "aria-busy", String(!!value.text));
    return;
  }
  take({ kind: "wait", text: "" });
  if (value.kind === "ladder") takeLadder(value);
  // An answer about another ladder came too late.
  else if (!ladder || value.of !== ladder.of) return;
  else if (value.kind === "exact") takeExact(value);
  else if (value.kind === "zero") tellZero($("zero"), words, value);
  else if (value.kind === "adherence") check(value);
  else if (value.kind === "curve") {
    ladder.curve = value.curve;
    plot();
    if (value.curve.recommended !== null) move(value.curve.recommended);
  }
}

slider.addEventListener("input", () => ladder && move(Number(slider.value)));
stepByRungs(slider, () => ladder && { strengths: ladder.strengths, strength }, move);
$("wipe").addEventListener("input", () => $("compare").style.setProperty("--wipe", `${$("wipe").value}%`));
for (const view of ["side", "over-view"]) {
  $(view).addEventListener("click", () => {
    set($("compare"), "data-view", view === "side" ? "side" : "wipe");
    for (const each of ["side", "over-view"]) set($(each), "aria-pressed", String(each === view));
  });
}
for (const button of $("overlay").children) {
  button.addEventListener("click", () => {
    set($("compare"), "data-boxes", button.dataset.boxes);
    for (const each of $("overlay").children) set(each, "aria-pressed", String(each === button));
  });
}
$("use").addEventListener("click", () => ladder?.curve && move(ladder.curve.recommended));
// Gradio copies the value of every component whenever an event begins or ends: a dozen pictures would be copied each time.
const TAKEN = "taken";
const receive = () => {
  const value = props.value;
  if (value?.kind === TAKEN) return;
  take(value);
  if (value?.kind === "ladder") props.value = { kind: TAKEN };
};
watch("value", receive);
receive();
