// What an editor knows, its history, and saving. Nothing here touches the page but through `shown`.
// A sample is known by its `id`, never by its place in the list.
const samples = new Map();
let desk = null; // {visitor, dataset}: who asks, and for what
let version = -1;

async function ask(name, more = {}) {
  const reply = await server[name]({ ...desk, version, ...more });
  // Gradio answers with nothing when the server cannot be reached.
  if (!reply) throw new Error(words.unreachable);
  return reply;
}
// Another editor of the same dataset has to look again.
const tellOthers = () => window.dispatchEvent(new CustomEvent("lora-web-dataset", { detail: { dataset: desk.dataset, from: element } }));
window.addEventListener("lora-web-dataset", ({ detail }) => {
  if (desk && detail.from !== element && detail.dataset === desk.dataset) shown.again();
});

const memory = () => `lora-web-unsaved-${limits.memory ?? ""}${desk.dataset}`;

// Changes that the server does not have yet. Also kept in this browser, so that closing the page loses nothing.
const SOON = 400;
const saver = {
  edits: new Map(), remove: new Set(), restore: new Set(),
  flying: null, timer: 0, wait: 1000, refused: new Map(), running: null,

  get dirty() { return this.flying !== null || this.refused.size > 0 || this.waiting; },
  get waiting() { return this.edits.size + this.remove.size + this.restore.size > 0; },

  // Whoever has noted every change says `soon` once.
  edit(id, field, value) {
    this.edits.set(id, { ...this.edits.get(id), [field]: value });
    this.refused.delete(id);
  },
  take(gone, come) {
    // What is asked twice is done once; whoever takes out and restores in one breath gets the picture back as an answer.
    for (const id of gone) { this.restore.delete(id); this.remove.add(id); }
    for (const id of come) { this.remove.delete(id); this.restore.add(id); }
    this.soon();
  },
  soon(after = SOON) {
    this.remember();
    shown.saving();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.push(), after);
  },
  // Sends what waits, one request at a time. True when the server has everything.
  push() {
    clearTimeout(this.timer);
    this.running ??= this.send().finally(() => { this.running = null; });
    return this.running;
  },
  async send() {
    while (this.waiting) {
      this.flying = { edits: this.edits, remove: this.remove, restore: this.restore };
      this.edits = new Map();
      this.remove = new Set();
      this.restore = new Set();
      let reply;
      try {
        reply = await ask("save", {
          edits: [...this.flying.edits].map(([id, fields]) => ({ id, ...fields })),
          remove: [...this.flying.remove], restore: [...this.flying.restore],
        });
        if (reply.problems) throw new Error(reply.problems.join(" "));
      } catch (error) {
        this.land();
        this.remember();
        shown.saving(error);
        this.wait = Math.min(this.wait * 2, 30000);
        this.timer = setTimeout(() => this.push(), this.wait);
        return false;
      }
      const flown = this.flying;
      this.flying = null;
      shown.landed?.(reply);
      this.wait = 1000;
      for (const id of flown.edits.keys()) this.refused.delete(id);
      for (const [id, sentences] of Object.entries(reply.refused)) {
        // What was typed since then may be right.
        if (samples.has(id) && !this.edits.has(id) && !reply.missing?.includes(id)) this.refused.set(id, { fields: flown.edits.get(id), sentences });
      }
      version = reply.version;
      trigger("saved");
      if (reply.pictures || reply.rows) shown.take(reply);
      if (flown.remove.size || flown.restore.size) tellOthers();
      this.remember();
      shown.saving();
    }
    return this.refused.size === 0;
  },
  // What could not be sent waits again; what was typed since then counts more.
  land() {
    const { edits, remove, restore } = this.flying;
    this.flying = null;
    for (const [id, fields] of edits) this.edits.set(id, { ...fields, ...this.edits.get(id) });
    for (const id of remove) if (!this.restore.has(id)) this.remove.add(id);
    for (const id of restore) if (!this.remove.has(id)) this.restore.add(id);
  },
  unsaved() {
    const all = {};
    for (const [id, { fields }] of this.refused) all[id] = { ...fields };
    for (const part of [this.flying?.edits ?? [], this.edits]) {
      for (const [id, fields] of part) all[id] = { ...all[id], ...fields };
    }
    return all;
  },
  remember() {
    const all = this.unsaved();
    try {
      if (Object.keys(all).length) localStorage.setItem(memory(), JSON.stringify(all));
      else localStorage.removeItem(memory());
    } catch { /* A browser may forbid it, or be full: the server is asked anyway. */ }
  },
  // What an earlier page of this browser could not save.
  remembered() {
    try {
      return JSON.parse(localStorage.getItem(memory())) ?? {};
    } catch {
      return {};
    }
  },
};

// A step: {changes: {id: {field: [before, after]}}, gone: [ids], come: [ids]}.
const past = { done: [], undone: [], typing: null };
const PAUSE = 1000;

function record(step) {
  past.done.push(step);
  past.undone = [];
  past.typing = null;
  shown.history();
}

// What goes on, as typing in one caption does, is one step until there is a pause. `what` goes on; null is a step of its own.
function revised(id, field, before, after, what) {
  const last = past.typing;
  const now = Date.now();
  if (what && last && last.id === id && last.what === what && now - last.at < PAUSE && past.done.at(-1) === last.step) {
    last.step.changes[id][field][1] = after;
    last.at = now;
  } else {
    const step = { changes: { [id]: { [field]: [before, after] } }, gone: [], come: [] };
    record(step);
    past.typing = { id, what, step, at: now };
  }
}

function change(changes, side = 1) {
  for (const [id, fields] of Object.entries(changes)) {
    const sample = samples.get(id);
    if (!sample) continue;
    for (const [field, sides] of Object.entries(fields)) {
      sample[field] = sides[side];
      saver.edit(id, field, sides[side]);
    }
    shown.sample(sample);
  }
  if (saver.waiting) saver.soon();
  shown.counts();
}

// Makes a new step of changes {id: {field: value}} that the person asked for. Returns how many samples it changed.
function apply(values) {
  const changes = {};
  for (const [id, fields] of Object.entries(values)) {
    for (const [field, value] of Object.entries(fields)) {
      const before = samples.get(id)?.[field];
      if (before !== undefined && !same(before, value)) (changes[id] ??= {})[field] = [before, value];
    }
  }
  const count = Object.keys(changes).length;
  if (count) {
    record({ changes, gone: [], come: [] });
    change(changes);
  }
  return count;
}

function takeOut(ids) {
  record({ changes: {}, gone: ids, come: [] });
  saver.take(ids, []);
  shown.present(ids, []);
}

function travel(from, to, side) {
  const step = from.pop();
  if (!step) return;
  to.push(step);
  past.typing = null;
  const [gone, come] = side ? [step.gone, step.come] : [step.come, step.gone];
  if (gone.length || come.length) {
    saver.take(gone, come);
    shown.present(gone, come);
    // Samples that come back are known again once the server has answered.
    saver.push().then(() => { change(step.changes, side); shown.reveal?.(come[0]); });
  } else {
    change(step.changes, side);
    shown.reveal?.(Object.keys(step.changes)[0]);
  }
  shown.history();
}
const undo = () => travel(past.done, past.undone, 0);
const redo = () => travel(past.undone, past.done, 1);
