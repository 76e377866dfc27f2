// Files on their way in: picked, dropped (folders too) or pasted.
const BATCH = 20;

// [{file, name}] of everything in a drop, folders read to their end.
async function dropped(items) {
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  async function walk(entry) {
    if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed));
      found.push({ file, name: entry.fullPath.replace(/^\/+/, "") });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) return;
      for (const one of some) await walk(one);
    }
  }
  for (const entry of entries) await walk(entry);
  return found;
}

const picked = (files) => [...files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));

// "set/a.png" is called "a.png" when everything lies in "set".
function withoutCommonFolder(files) {
  const top = files[0]?.name.split("/")[0];
  const common = files.every(({ name }) => name.includes("/") && name.split("/")[0] === top);
  return common ? withoutCommonFolder(files.map(({ file, name }) => ({ file, name: name.slice(top.length + 1) }))) : files;
}

async function upload_batch(files) {
  const form = new FormData();
  for (const { file } of files) form.append("files", file, file.name);
  const answer = await fetch(new URL("gradio_api/upload", document.baseURI), { method: "POST", body: form });
  if (!answer.ok) throw new Error(answer.statusText);
  const paths = await answer.json();
  return paths.map((path, i) => ({ path, name: files[i].name }));
}

async function bring(all) {
  if (!all.length || desk === null) return;
  const hidden = ({ name }) => name.split("/").some((part) => part.startsWith(".") || part === "__MACOSX");
  const files = withoutCommonFolder(all).filter((one) => !hidden(one));
  const heavy = files.filter(({ file }) => file.size > limits.file_bytes).map(({ name }) => name);
  if (heavy.length || files.length > limits.files) {
    const sentences = heavy.map((name) => fill(words.too_heavy, { name, megabytes: limits.file_bytes / 2 ** 20 }));
    if (files.length > limits.files) sentences.push(fill(words.too_many_files, { count: files.length, files: limits.files }));
    shown.problems(sentences);
    return;
  }
  await during(async () => {
    const there = [];
    for (let at = 0; at < files.length; at += BATCH) {
      shown.busy(fill(words.uploading, { done: at, count: files.length }), at / files.length);
      there.push(...await upload_batch(files.slice(at, at + BATCH)));
    }
    shown.busy(fill(words.reading, { count: files.length }));
    await saver.push();
    received(await ask("add", { files: there, replace: $("replace")?.checked ?? false }));
  });
}

// Takes what the server made of an import into the history.
function received(reply) {
  if (reply.problems) {
    shown.problems(reply.problems);
    return;
  }
  shown.take(reply, true);
  record({ changes: reply.changes, gone: reply.gone, come: reply.come });
  tellOthers();
}

// One import at a time, with words for whatever goes wrong.
let importing = false;
async function during(work) {
  if (importing) return;
  importing = true;
  try {
    await work();
  } catch {
    shown.problems([words.import_failed]);
  } finally {
    importing = false;
    shown.busy("");
  }
}

// All the ways in, and what the page owes its person when it is left.
function offerFiles() {
  for (const name of ["file", "folder"]) {
    const [pick, input] = $$(name === "file" ? "pick" : "pick-folder", `${name}-input`);
    if (!pick) continue;
    pick.addEventListener("click", () => input.click());
    input.addEventListener("change", () => { const files = picked(input.files); input.value = ""; bring(files); });
  }
  const dragging = (on) => $("editor").classList.toggle("dragging", on);
  element.addEventListener("dragover", (event) => { if (event.dataTransfer.types.includes("Files")) { event.preventDefault(); dragging(true); } });
  element.addEventListener("dragleave", (event) => { if (!element.contains(event.relatedTarget)) dragging(false); });
  element.addEventListener("drop", async (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    dragging(false);
    const found = dropped(event.dataTransfer.items);
    bring(await found);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    // Of two editors on a page the first one takes them.
    if (!files.length || !element.offsetParent || event.defaultPrevented) return;
    event.preventDefault();
    bring(picked(files));
  });
  $("undo").addEventListener("click", undo);
  $("redo").addEventListener("click", redo);
  window.addEventListener("beforeunload", (event) => { if (saver.dirty) event.preventDefault(); });
  document.addEventListener("visibilitychange", () => { if (document.hidden && saver.waiting) saver.push(); });
  // What starts a run waits for these; false means that something could not be saved. A tab that is not looked at cannot
  // be what the run is started from.
  unsaved.add(async () => (await saver.push()) || !element.offsetParent);
}
