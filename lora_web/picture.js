// One picture: picked (on a phone also taken), dropped, or pasted while the component has the focus.
const $ = partsOf(element);
const words = JSON.parse($("words").dataset.words);

async function bring(file) {
  if (!file?.type.startsWith("image/")) {
    $("told").textContent = words.none;
    return;
  }
  $("told").textContent = words.loading;
  try {
    const { path } = await upload(file);
    props.value = { path, name: file.name };
    show();
  } catch {
    $("told").textContent = words.failed;
  }
}

function show() {
  const { path, name } = props.value ?? {};
  const there = typeof path === "string";
  $("told").textContent = "";
  $("file").value = "";
  $("shown").hidden = $("remove").hidden = !there;
  $("hint").hidden = there;
  if (!there) return;
  $("shown").src = addressOf(path);
  $("shown").alt = typeof name === "string" ? name : "";
}

$("file").addEventListener("change", () => $("file").files.length && bring($("file").files[0]));
$("remove").addEventListener("click", () => {
  props.value = null;
  show();
  $("file").focus();
});
for (const kind of ["dragover", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    if (kind === "drop") bring(event.dataTransfer.files[0]);
  });
}
element.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
  if (!file) return;
  event.preventDefault();
  bring(file);
});
watch("value", show);
show();
