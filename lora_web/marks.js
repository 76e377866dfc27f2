// Marks the fields that have a problem: the sentence stands below the field and belongs to it for screen readers.
// The server's value is {id of the field: sentence}; sentences are only ever set with textContent.
const NOTE = "field-problem";

let marked = []; // of this form: there may be others on the page

function unmark() {
  for (const { note, input } of marked) {
    note.remove();
    for (const name of ["aria-invalid", "aria-describedby"]) input.removeAttribute(name);
  }
  marked = [];
}

function mark() {
  unmark();
  for (const [id, sentence] of Object.entries(props.value || {})) {
    const field = document.getElementById(id);
    const input = field && field.querySelector("input, textarea");
    if (!input) continue;
    const note = document.createElement("p");
    note.className = NOTE;
    note.id = id + "-problem";
    note.textContent = sentence;
    field.append(note);
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", note.id);
    marked.push({ note, input });
  }
}

watch("value", mark);
// What is folded away has no fields in the page; they are marked when it is opened.
document.addEventListener("click", (event) => event.target.closest(".label-wrap") && setTimeout(mark, 300));
mark();
