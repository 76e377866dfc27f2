// Boxes drawn on a picture, each with a caption: with mouse, pen, finger or keyboard. Knows nothing of the page around it.
//
// `root` gets the list of boxes. `picture` is an element on the page over which they are drawn; without one there is an
// empty square in `root`. `changed(regions, what)` hears of each change by the person; changes that go on (typing in one
// caption, nudging one box) have the same `what`, a change of its own has null. Returns `show(regions, fresh)`, which puts
// other regions in place, of another picture if `fresh`. A region is {box: [left, top, right, bottom], caption}, in shares.
function drawRegions(root, { picture = null, regions = [], words, colours, most, longest, changed }) {
  const SIDES = ["left", "top", "right", "bottom"];
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const LEAST = 0.01; // Of a side of the picture: the smallest box, and one step of a key.
  const ALIKE = 0.9; // As the reader of data sets has it.
  let boxes = [];
  let chosen = null; // a place in the list
  let drag = null;
  let told = "";

  const percent = (share) => Math.round(share * 1000) / 10;
  const within = (value, low, high) => Math.min(Math.max(value, low), high);
  const rounded = (box) => box.map((side) => Math.round(side * 1e4) / 1e4);
  const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
  const copy = (list) => list.map(({ box, caption }) => ({ box: [...box], caption }));
  const placed = (number, box) => ({ number, ...Object.fromEntries(SIDES.map((side, i) => [side, percent(box[i])])) });

  const layer = node("div", { className: "region-layer", role: "group", "aria-label": words.surface });
  const handles = node("div", { className: "region-handles", hidden: true },
    ...["nw", "n", "ne", "e", "se", "s", "sw", "w"].map((at) => node("span", { className: `region-handle ${at}` })));
  layer.append(handles);
  const surface = node("div", { className: picture ? "region-surface" : "region-surface blank" });
  if (picture) picture.replaceWith(surface);
  else root.append(surface);
  surface.append(...(picture ? [picture] : []), layer);
  const status = node("p", { className: "region-status", role: "status" });
  const adder = node("button", { type: "button", className: "region-add", textContent: words.add });
  const list = node("ol", { className: "region-list", "aria-label": words.list });
  root.append(node("div", { className: "region-bar" }, adder, status), list, node("p", { className: "quiet", textContent: words.help }));
  const marks = []; // what stands for the box on the picture
  const rows = []; // {root, number, caption, place, sides}

  function makeMark() {
    const tag = node("span", { className: "region-tag", "aria-hidden": "true" });
    const mark = node("div", { className: "region", role: "button", tabIndex: 0 }, tag);
    mark.addEventListener("focus", () => choose(marks.indexOf(mark)));
    mark.addEventListener("keydown", (event) => pressed(event, marks.indexOf(mark)));
    layer.insertBefore(mark, handles);
    marks.push(mark);
  }

  function makeRow() {
    const at = () => rows.indexOf(row);
    const number = node("button", { type: "button", className: "region-number" });
    const caption = node("input", { type: "text", maxLength: longest, placeholder: words.caption_hint });
    const remove = node("button", { type: "button", className: "region-delete", textContent: "×" });
    const place = node("span", { className: "region-place" });
    const inputs = SIDES.map(() => node("input", { type: "number", min: 0, max: 100, step: 0.1, inputMode: "decimal" }));
    const sides = node("div", { className: "region-sides", role: "group" },
      ...SIDES.map((side, i) => node("label", {}, `${words[side]} `, inputs[i], " %")));
    const row = { root: node("li", {}, number, caption, remove, place, sides), number, caption, remove, place, sides, inputs };
    number.addEventListener("click", () => { choose(at()); marks[at()].focus({ preventScroll: true }); });
    caption.addEventListener("focus", () => choose(at()));
    caption.addEventListener("input", () => put(at(), { caption: caption.value }, `caption ${at()}`));
    caption.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      rows[at() + (event.shiftKey ? -1 : 1)]?.caption.focus();
    });
    remove.addEventListener("click", () => takeOut(at()));
    inputs.forEach((input, i) => {
      input.addEventListener("input", () => {
        const box = [...boxes[at()].box];
        box[i] = input.value.trim() === "" ? NaN : Number(input.value) / 100;
        const good = box[i] >= 0 && box[i] <= 1 && box[0] < box[2] && box[1] < box[3];
        input.setAttribute("aria-invalid", String(!good));
        say(good ? "" : words.side_wrong);
        if (good) put(at(), { box: rounded(box) }, `${SIDES[i]} ${at()}`);
      });
      // What could not be used does not stay.
      input.addEventListener("blur", () => { input.setAttribute("aria-invalid", "false"); say(""); update(); });
    });
    list.append(row.root);
    rows.push(row);
  }

  // Puts on the page what the boxes are now. Elements stay, so focus and what is being typed do.
  function update() {
    while (marks.length < boxes.length) { makeMark(); makeRow(); }
    while (marks.length > boxes.length) { marks.pop().remove(); rows.pop().root.remove(); }
    if (chosen !== null && chosen >= boxes.length) chosen = null;
    const order = [...boxes.keys()].sort((a, b) => area(boxes[b].box) - area(boxes[a].box));
    boxes.forEach(({ box, caption }, i) => {
      const colour = colours[i % colours.length];
      const label = fill(words.box, { ...placed(i + 1, box), caption: caption || words.no_caption });
      marks[i].style.inset = insets(box);
      marks[i].style.setProperty("--colour", colour);
      // Small ones lie above large ones, so that each can be reached.
      marks[i].style.zIndex = order.indexOf(i) + 1;
      marks[i].setAttribute("aria-label", label);
      marks[i].setAttribute("aria-pressed", String(i === chosen));
      marks[i].firstChild.textContent = caption ? `${i + 1} ${caption}` : i + 1;
      const row = rows[i];
      row.root.classList.toggle("chosen", i === chosen);
      row.number.textContent = i + 1;
      row.number.style.setProperty("--colour", colour);
      row.number.setAttribute("aria-label", fill(words.select, { number: i + 1 }));
      row.number.setAttribute("aria-pressed", String(i === chosen));
      row.caption.setAttribute("aria-label", fill(words.caption_of, { number: i + 1 }));
      if (row.caption.value !== caption) row.caption.value = caption;
      row.remove.setAttribute("aria-label", fill(words.delete, { number: i + 1 }));
      row.place.textContent = fill(words.place, placed(i + 1, box));
      row.sides.hidden = i !== chosen;
      row.sides.setAttribute("aria-label", fill(words.sides_of, { number: i + 1 }));
      row.inputs.forEach((input, side) => {
        const typing = input === document.activeElement && (input.getAttribute("aria-invalid") === "true" || Number(input.value) === percent(box[side]));
        if (!typing) input.value = percent(box[side]);
      });
    });
    handles.hidden = chosen === null;
    if (chosen !== null) {
      handles.style.inset = insets(boxes[chosen].box);
      handles.style.setProperty("--colour", colours[chosen % colours.length]);
    }
    status.textContent = [told, ...remarks()].filter(Boolean).join(" ");
  }
  function remarks() {
    const found = boxes.length ? [] : [words.none];
    if (boxes.length > most) found.push(fill(words.too_many, { count: boxes.length, most }));
    for (const [i, { box }] of boxes.entries()) {
      const j = boxes.findIndex((other, j) => j > i && alike(box, other.box));
      if (j > 0) found.push(fill(words.alike, { first: i + 1, second: j + 1 }));
    }
    return found;
  }
  function alike(a, b) {
    const both = [Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])];
    const shared = both[0] < both[2] && both[1] < both[3] ? area(both) : 0;
    return shared / (area(a) + area(b) - shared) > ALIKE;
  }
  const say = (sentence) => { told = sentence; update(); };

  function choose(at) {
    if (at === chosen) return;
    chosen = at;
    update();
  }
  // Makes a change and tells of it.
  function set(next, what = null) {
    boxes = next;
    told = "";
    update();
    changed(copy(boxes), what);
  }
  const put = (at, fields, what = null) => set(boxes.map((one, i) => (i === at ? { ...one, ...fields } : one)), what);

  function add(box) {
    if (boxes.length >= most) { say(fill(words.full, { most })); return false; }
    chosen = boxes.length;
    set([...boxes, { box: rounded(box), caption: "" }]);
    return true;
  }
  function takeOut(at) {
    chosen = null;
    set(boxes.filter((_, i) => i !== at));
    say(fill(words.deleted, { number: at + 1 }));
    (marks[Math.min(at, marks.length - 1)] ?? adder).focus({ preventScroll: true });
  }

  function shifted([left, top, right, bottom], across, down) {
    const x = within(across, -left, 1 - right), y = within(down, -top, 1 - bottom);
    return [left + x, top + y, right + x, bottom + y];
  }
  // The box with the sides named by the handle ("nw", "e", ...) moved; a side stops before the opposite one.
  function stretched([left, top, right, bottom], at, across, down) {
    return [
      at.includes("w") ? within(left + across, 0, right - LEAST) : left,
      at.includes("n") ? within(top + down, 0, bottom - LEAST) : top,
      at.includes("e") ? within(right + across, left + LEAST, 1) : right,
      at.includes("s") ? within(bottom + down, top + LEAST, 1) : bottom,
    ];
  }

  function pressed(event, at) {
    const { key, shiftKey } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (ARROWS[key]) {
      const [across, down] = ARROWS[key].map((step) => step * LEAST);
      const { box } = boxes[at];
      put(at, { box: rounded(shiftKey ? stretched(box, "se", across, down) : shifted(box, across, down)) }, `nudge ${at}`);
    } else if (key === "Delete" || key === "Backspace") takeOut(at);
    else if (key === "Enter") rows[at].caption.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function pointOf(event) {
    const { left, top, width, height } = layer.getBoundingClientRect();
    return [within((event.clientX - left) / width, 0, 1), within((event.clientY - top) / height, 0, 1)];
  }
  layer.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || drag) return;
    event.preventDefault();
    const handle = event.target.closest(".region-handle");
    const at = handle ? chosen : event.shiftKey ? -1 : marks.indexOf(event.target.closest(".region"));
    if (at < 0 && boxes.length >= most) { say(fill(words.full, { most })); return; }
    layer.setPointerCapture(event.pointerId);
    const grip = handle?.className.split(" ")[1];
    drag = { pointer: event.pointerId, start: pointOf(event), from: [event.clientX, event.clientY], at, grip, before: boxes, moved: false };
    window.addEventListener("keydown", giveUp, true);
    if (at >= 0) { choose(at); marks[at].focus({ preventScroll: true }); }
  });
  layer.addEventListener("pointermove", (event) => {
    if (drag?.pointer !== event.pointerId) return;
    const [x, y] = pointOf(event), [x0, y0] = drag.start;
    // A trembling hand is no drag.
    drag.moved ||= Math.hypot(event.clientX - drag.from[0], event.clientY - drag.from[1]) > 4;
    if (!drag.moved) return;
    if (drag.at < 0) {
      chosen = drag.before.length;
      boxes = [...drag.before, { box: [Math.min(x, x0), Math.min(y, y0), Math.max(x, x0), Math.max(y, y0)], caption: "" }];
    } else {
      const { box } = drag.before[drag.at];
      const next = drag.grip ? stretched(box, drag.grip, x - x0, y - y0) : shifted(box, x - x0, y - y0);
      boxes = drag.before.map((one, i) => (i === drag.at ? { ...one, box: next } : one));
    }
    update();
  });
  function letGo(event) {
    if (!drag || (event.type !== "keydown" && drag.pointer !== event.pointerId)) return;
    window.removeEventListener("keydown", giveUp, true);
    const { before, moved, at } = drag;
    const after = copy(boxes).map(({ box, caption }) => ({ box: rounded(box), caption }));
    drag = null;
    boxes = before;
    const drawn = at < 0 && moved && after.at(-1).box;
    const tooSmall = drawn && (drawn[2] - drawn[0] < LEAST || drawn[3] - drawn[1] < LEAST);
    if (event.type === "pointerup" && moved && !tooSmall) {
      set(after);
      // A finger would call up the keyboard over the picture.
      if (drawn && event.pointerType === "mouse") rows.at(-1).caption.focus({ preventScroll: true });
      else if (drawn) marks.at(-1).focus({ preventScroll: true });
    } else {
      if (at < 0) { chosen = null; document.activeElement?.closest(".region")?.blur(); }
      update();
    }
  }
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) layer.addEventListener(name, letGo);
  function giveUp(event) {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    letGo(event);
  }
  adder.addEventListener("click", () => {
    // Beside the one before, so that neither hides the other.
    const by = (boxes.length % 5) * 0.06;
    if (add([0.2 + by, 0.2 + by, 0.55 + by, 0.55 + by])) marks.at(-1).focus({ preventScroll: true });
  });

  function show(given, fresh = false) {
    if (fresh) { chosen = null; told = ""; }
    if (drag || (!fresh && same(given, boxes))) return;
    boxes = copy(given);
    update();
  }
  show(regions, true);
  return { show, surface };
}
