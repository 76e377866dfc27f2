// What the components with a slider of strengths have in common.
const REST = 300; // ms without a move
const KEPT = 60; // exact ones, asked for where the slider came to rest
const strengthText = (value) => (value < 0 ? "−" : "") + Math.abs(value).toFixed(2);

// One slider per group of layers: a multiple of the strength for this group alone. `moved` hears of it.
function groupSlider(group, title, factor, moved) {
  const head = node("span");
  const input = node("input", { type: "range", min: "-1", max: "2", step: "0.1", value: String(factor) });
  const say = () => {
    const told = `× ${Number(input.value).toFixed(1)}`;
    head.textContent = `${title} ${told}`;
    input.setAttribute("aria-valuetext", told);
  };
  input.dataset.group = group;
  say();
  input.addEventListener("input", () => {
    say();
    moved(Number(input.value));
  });
  return node("label", {}, head, input);
}

// PageUp and PageDown go to the next rung; `now` says what the strengths are and where the slider is, if it is in use.
function stepByRungs(slider, now, move) {
  slider.addEventListener("keydown", (event) => {
    const direction = { PageUp: 1, PageDown: -1 }[event.key], there = now();
    if (!there || !direction) return;
    event.preventDefault();
    const rungs = direction > 0 ? there.strengths : [...there.strengths].reverse();
    const next = rungs.find((each) => (each - there.strength) * direction > 1e-6);
    if (next !== undefined) move(next);
  });
}

// Whether strength 0 was equal to the base, as far as it was compared.
function tellZero(place, words, zero) {
  place.hidden = !isNumber(zero?.compared);
  if (!place.hidden) place.textContent = fill(zero.different ? words.zero_differs : words.zero_equal, zero);
}
