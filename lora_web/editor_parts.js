// What every editor of a dataset is made of. Text from people is only ever set with textContent or value.
const $ = partsOf(element);
const $$ = (...names) => names.map($).filter(Boolean);
const { words, limits, family } = JSON.parse($("editor").dataset.settings);
const address = (id, side) =>
  new URL(`gradio_api/pictures/${desk.visitor}/${desk.dataset}/${id}/${side}`, document.baseURI).href;

async function takeHome(path, name) {
  if (!(await saver.push())) return;
  const link = node("a", { href: new URL(path, document.baseURI).href, download: name });
  element.append(link);
  link.click();
  link.remove();
}

// How an editor tells of what goes on; each adds how it shows its samples.
const shownByAll = {
  saving(error = null) {
    const refused = [...saver.refused.values()].flatMap(({ sentences }) => sentences);
    const state = error ? "failed" : refused.length ? "refused" : saver.dirty ? "saving" : "saved";
    const status = $("saved");
    status.dataset.state = state;
    status.textContent = words[`state_${state}`];
    if (refused.length) shown.problems(refused);
    for (const id of saver.refused.keys()) if (samples.has(id)) shown.sample(samples.get(id));
  },

  history() {
    for (const button of $$("undo", "stage-undo")) button.disabled = !past.done.length;
    for (const button of $$("redo", "stage-redo")) button.disabled = !past.undone.length;
  },

  busy(sentence, share = null) {
    $("busy").hidden = !sentence;
    $("busy-text").textContent = sentence;
    if (share === null) $("busy-bar").removeAttribute("value");
    else $("busy-bar").value = share;
  },

  problems(sentences) {
    $("report").replaceChildren(node("div", { className: "problems" }, ...sentences.map((line) => node("p", { textContent: line }))));
  },
};
const shown = { ...shownByAll };
