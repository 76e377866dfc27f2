// Answers at several strengths. They come word by word, those of all strengths with each message, the base's first.
// Moving the slider asks nobody: between two strengths the nearest answer is shown and called so; where the slider comes
// to rest the server gives the exact one. Text from people and models is only ever set with textContent.
const $ = partsOf(element);
const words = JSON.parse($("words").dataset.words);
const slider = $("slider");
const SURE = [0.25, 0.5, 0.75, 0.9]; // where the shades of doubt end
let set = null; // the latest message with all answers
let strength = 1;
let exact = new Map(); // strength as shown -> answer
let balance = {}; // multiples of the strength, by group
let resting = 0;
let cards = [];

const isAnswer = (value) => Array.isArray(value?.tokens) && value.tokens.every(([piece, chance]) => typeof piece === "string" && isNumber(chance));
const percent = (chance) => `${Math.round(100 * chance)} %`;
const text = (answer) => answer.tokens.map(([piece]) => piece).join("");
const pressed = (name) => $(name).getAttribute("aria-pressed") === "true";
const asked = () => ({ ...set.asked, balance });

function put(node, sentence) {
  if (node.textContent !== sentence) node.textContent = sentence;
}

function made(kind, name, sentence = "") {
  const node = document.createElement(kind);
  node.className = name;
  node.textContent = sentence;
  return node;
}

// Where one answer stands: its words, what is to say of it, and a button that copies it. `large` ones tell readers of
// the screen how sure each word was; for those in small there is no room.
function place(root, large) {
  const said = made("p", "said"), note = made("p", "quiet note"), button = made("button", "copy", words.copy);
  button.type = "button";
  let now = null, written = "";
  button.addEventListener("click", () => now && copy(button, text(now)));
  root.append(said, note, button);
  return (answer, done, base) => {
    const key = JSON.stringify([answer.tokens.length, text(answer), pressed("sure"), pressed("fresh"), text(base)]);
    now = answer;
    button.disabled = !answer.tokens.length;
    put(note, done ? remark(answer, large) : "");
    if (written === key) return;
    written = key;
    write(said, answer, base, large);
  };
}

function write(node, answer, base, large) {
  const sure = pressed("sure"), known = new Set(base.tokens.map(([piece]) => piece.trim()));
  const told = large && sure && answer.tokens.length;
  for (const [name, value] of [["role", "list"], ["aria-label", words.chance]]) {
    if (told) node.setAttribute(name, value);
    else node.removeAttribute(name);
  }
  if (!sure && !pressed("fresh")) {
    node.textContent = text(answer);
    return;
  }
  node.replaceChildren(...answer.tokens.map(([piece, chance]) => {
    const token = made("span", "token", piece);
    const level = SURE.findIndex((end) => chance < end);
    if (sure) token.title = percent(chance);
    if (sure && level >= 0) token.dataset.sure = level;
    if (pressed("fresh") && piece.trim() && !known.has(piece.trim())) token.dataset.fresh = "true";
    if (told) token.setAttribute("role", "listitem");
    if (told) token.setAttribute("aria-label", `${piece.trim()} ${percent(chance)}`);
    return token;
  }));
}

function remark(answer, large) {
  const said = [];
  if (!answer.tokens.length && answer.ended) said.push(words.silent);
  if (!answer.ended) said.push(fill(words.cut, { count: answer.tokens.length }));
  const least = answer.tokens.filter(([piece]) => piece.trim()).sort((a, b) => a[1] - b[1]).slice(0, 3);
  if (large && pressed("sure") && least.length) {
    said.push(fill(words.least_sure, { words: least.map(([piece, chance]) => `“${piece.trim()}” ${percent(chance)}`).join(", ") }));
  }
  return said.join(" ");
}

async function copy(button, whole) {
  try {
    await navigator.clipboard.writeText(whole);
  } catch {
    // Only pages that came over an encrypted or local line may use the clipboard; this way needs no leave.
    const field = made("textarea", "off-screen");
    field.value = whole;
    element.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    button.focus();
  }
  put(button, words.copied);
  setTimeout(() => put(button, words.copy), 1500);
}

const base = place($("base"), true);
const beside = place($("with"), true);

function rung(value) {
  const root = made("div", "answer rung"), button = made("button", "", "");
  const name = value ? `${words.strength} ${strengthText(value)}` : $("base").getAttribute("aria-label");
  button.type = "button";
  button.textContent = name;
  button.addEventListener("click", () => move(value));
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", name);
  root.append(button);
  return { root, button, put: place(root, false) };
}

// The nearest of the strengths that all were asked at.
function nearest(value) {
  return set.strengths.reduce((best, each, i) => (Math.abs(each - value) < Math.abs(set.strengths[best] - value) - 1e-9 ? i : best), 0);
}

function show(value) {
  const { strengths, answers } = set;
  strength = Math.round(Math.max(strengths[0], Math.min(strengths.at(-1), value)) * 100) / 100;
  const near = nearest(strength), rests = Math.abs(strengths[near] - strength) < 1e-6, own = exact.get(strengthText(strength));
  const zero = answers[nearest(0)], answer = own || answers[near];
  base(zero, set.done, zero);
  beside(answer, own ? own.done : set.done, zero);
  const title = fill(words.adapter_picture, { strength: strengthText(own || rests ? strength : strengths[near]) });
  put($("with-title"), title);
  $("with").setAttribute("aria-label", title);
  $("with").dataset.kind = own || rests ? "exact" : "nearest";
  put($("value"), strengthText(strength));
  slider.value = String(strength);
  slider.setAttribute("aria-valuetext", strengthText(strength));
  for (const [i, card] of cards.entries()) {
    card.put(answers[i], set.done, zero);
    card.button.setAttribute("aria-pressed", String(rests && i === near));
  }
  if (!set.done) put($("kind"), "");
  else if (own) put($("kind"), own.done ? words.exact_now : words.saying_exact);
  else put($("kind"), rests ? words.exact_rung : fill(words.nearest, { strength: strengthText(strengths[near]) }));
}

function move(value) {
  show(value);
  clearTimeout(resting);
  if ($("with").dataset.kind === "nearest" && set.done) resting = setTimeout(ask, REST);
}

function ask() {
  put($("kind"), `${$("kind").textContent} ${words.asking_exact}`);
  trigger("rest", { asked: asked(), strength });
}

function groupOf(name) {
  return groupSlider(name, words.groups[name] || name, balance[name] ?? 1, (factor) => {
    balance = { ...balance, [name]: factor };
    clearTimeout(resting);
    resting = setTimeout(() => trigger("rebalance", { asked: asked() }), 2 * REST);
  });
}

function takeAnswers(value) {
  const fine = Array.isArray(value.strengths) && Array.isArray(value.answers) && value.answers.length === value.strengths.length;
  if (!fine || !value.answers.every(isAnswer)) return clear();
  const before = set, same = before && before.about === value.about;
  set = value;
  wait(set.done ? "" : fill(words.saying, { count: set.strengths.length }));
  if (!before || before.of !== value.of) {
    clearTimeout(resting);
    exact = new Map();
    // Show asks with every group as trained; only a group's own slider asks for anything else.
    if (!same || !Object.keys(set.asked.balance).length) {
      balance = { ...set.asked.balance };
      $("groups").replaceChildren();
    }
    tellZero($("zero"), words, null);
    $("empty").hidden = true;
    $("answers").hidden = false;
    put($("of"), set.asked.prompt);
    [slider.min, slider.max] = [String(set.strengths[0]), String(set.strengths.at(-1))];
    cards = set.strengths.map(rung);
    $("rungs").replaceChildren(...cards.map(({ root }) => root));
  }
  if (set.groups && !$("groups").children.length) $("groups").replaceChildren(...set.groups.map(groupOf));
  $("more").hidden = $("groups").children.length < 2;
  if (set.zero) tellZero($("zero"), words, set.zero);
  if (before?.of === value.of && before.done) show(strength);
  else move(same || before?.of === value.of ? strength : 1);
}

function takeExact(value) {
  if (!set || value.of !== set.of || !isAnswer(value.answer) || !isNumber(value.strength)) return;
  exact.set(strengthText(value.strength), { ...value.answer, done: value.done });
  if (exact.size > KEPT) exact.delete(exact.keys().next().value);
  if (strengthText(strength) === strengthText(value.strength)) show(strength);
}

function wait(sentence) {
  put($("wait"), sentence);
  $("stop").hidden = !sentence;
  $("words").setAttribute("aria-busy", String(!!sentence));
}

function clear() {
  set = null;
  clearTimeout(resting);
  $("empty").hidden = false;
  $("answers").hidden = true;
  wait("");
}

function take(value) {
  if (!value) clear();
  else if (value.kind === "wait") {
    wait(value.text);
    // Ended before its end: what there is stays.
    if (!value.text && set) takeAnswers({ ...set, done: true });
  } else if (value.kind === "answers") takeAnswers(value);
  else if (value.kind === "exact") takeExact(value);
}

slider.addEventListener("input", () => set && move(Number(slider.value)));
stepByRungs(slider, () => set && { strengths: set.strengths, strength }, move);
$("stop").addEventListener("click", () => trigger("stop"));
for (const name of ["sure", "fresh"]) {
  $(name).addEventListener("click", () => {
    const on = !pressed(name);
    $(name).setAttribute("aria-pressed", String(on));
    $(`${name}-legend`).hidden = !on;
    if (set) show(strength);
  });
}
const receive = () => take(props.value ? JSON.parse(props.value) : null);
watch("value", receive);
receive();
