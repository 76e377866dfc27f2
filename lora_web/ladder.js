// The strength ladder: all pictures are here already, so moving the slider asks nobody.
// Text from people is only ever set with textContent; pictures only as data URIs.
const $ = (name) => element.querySelector(`[data-part="${name}"]`);
const words = JSON.parse($("words").dataset.words);
const slider = $("slider");
let ladder = null;
let at = 0;

const isPicture = (uri) => typeof uri === "string" && /^data:image\/(png|webp);base64,/.test(uri);
const shown = (strength) => strength.toFixed(2);

function show(index) {
  at = Math.max(0, Math.min(ladder.strengths.length - 1, index));
  const strength = ladder.strengths[at];
  const caption = words.adapter_picture.replace("{strength}", shown(strength));
  $("adapter").src = ladder.images[at];
  $("adapter").alt = caption;
  $("adapter-caption").textContent = caption;
  $("value").textContent = shown(strength);
  slider.value = String(at);
  slider.setAttribute("aria-valuetext", shown(strength));
  for (const [i, button] of [...$("rungs").children].entries()) {
    button.setAttribute("aria-pressed", String(i === at));
  }
}

function rung(strength, image, index) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", `${words.strength} ${shown(strength)}`);
  const picture = document.createElement("img");
  picture.src = image;
  picture.alt = "";
  const label = document.createElement("span");
  label.textContent = shown(strength);
  button.append(picture, label);
  button.addEventListener("click", () => show(index));
  return button;
}

function take(value) {
  const good = value && Array.isArray(value.strengths) && Array.isArray(value.images) && value.images.every(isPicture) && isPicture(value.base);
  ladder = good ? value : null;
  $("empty").hidden = !!good;
  $("ladder").hidden = !good;
  if (!good) return;
  slider.max = String(ladder.strengths.length - 1);
  $("base").src = ladder.base;
  $("of").textContent = words.ladder_of.replace("{prompt}", () => ladder.prompt).replace("{seed}", ladder.seed);
  $("rungs").replaceChildren(...ladder.strengths.map((strength, i) => rung(strength, ladder.images[i], i)));
  const one = ladder.strengths.indexOf(1);
  show(one < 0 ? ladder.strengths.length - 1 : one);
}

slider.addEventListener("input", () => ladder && show(Number(slider.value)));
watch("value", () => take(props.value));
take(props.value);
