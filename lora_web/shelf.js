// The cards of the library. Text from people and files is only ever set with textContent; pictures only as data URIs.
const $ = partsOf(element);

function line(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  return span;
}

function picture(card) {
  if (!isPicture(card.picture)) return line("blank", card.title.slice(0, 1).toUpperCase());
  const image = document.createElement("img");
  image.src = card.picture;
  image.alt = "";
  return image;
}

function show(card, chosen) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "card";
  button.dataset.id = card.id;
  button.setAttribute("aria-pressed", String(card.id === chosen));
  const text = document.createElement("span");
  text.className = "text";
  text.append(line("title", card.title), ...card.lines.map((each) => line("line", each)));
  if (card.words.length) {
    const words = line("words", "");
    words.append(...card.words.map((each) => line("word", each)));
    text.append(words);
  }
  text.append(...card.problems.map((each) => line("wrong", each)));
  button.append(picture(card), text);
  button.addEventListener("click", () => trigger("choose", { id: card.id }));
  return button;
}

function take(value) {
  const all = value && Array.isArray(value.cards) ? value.cards : [];
  const focused = element.contains(document.activeElement) ? document.activeElement.dataset.id : null;
  $("empty").hidden = !value || all.length > 0;
  $("cards").replaceChildren(...all.map((card) => show(card, value.chosen)));
  if (focused) element.querySelector(`[data-id="${focused}"]`)?.focus();
}

watch("value", () => take(props.value));
take(props.value);
