// Captions from a model: a process on the server writes them, this page asks for them and puts them in as one more step
// that can be undone. A caption that was changed since the model was asked stays as it is.
let described = 0;

async function listen() {
  const reply = await ask("described", { since: described }).catch(() => null);
  if (reply === null) { setTimeout(listen, 3000); return; }
  if (reply.problems) { shown.problems(reply.problems); return; }
  described += reply.lines.length;
  const values = {};
  for (const line of reply.lines) {
    if (line.id && samples.get(line.id)?.caption === line.before) values[line.id] = { caption: line.caption };
    if (line.problems) shown.problems(line.problems);
  }
  apply(values);
  $("describe-stop").hidden = !reply.active;
  $("describe-go").disabled = reply.active;
  $("describe-state").textContent = reply.count ? fill(words[reply.active ? "describing" : "described"], { done: Math.min(described, reply.count), count: reply.count }) : "";
  if (reply.active) setTimeout(listen, 1000);
}

function offerDescribing() {
  $("describe-box").hidden = !limits.describe;
  $("describe-models").replaceChildren(...limits.models.map((value) => node("option", { value })));
  $("describe-model").value = limits.models[0] ?? "";
  $("describe").addEventListener("submit", async (event) => {
    event.preventDefault();
    const model = $("describe-model").value.trim();
    if (!model) { $("describe-model").focus(); return; }
    await saver.push();
    const reply = await ask("describe", { model, ids: chosen(), overwrite: $("describe-all").checked }).catch(() => ({ problems: [words.unreachable] }));
    if (reply.problems) { shown.problems(reply.problems); return; }
    $("describe-state").textContent = words.describe_loading;
    described = 0;
    listen();
  });
  $("describe-stop").addEventListener("click", () => ask("hush").catch(() => null));
}
