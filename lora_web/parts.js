// What the scripts of several components use. Text from people is only ever set with textContent or value.
const partsOf = (element) => (name) => element.querySelector(`[data-part="${name}"]`);
const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (all, name) => (name in values ? values[name] : all));
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isPicture = (uri) => typeof uri === "string" && /^data:image\/(png|jpeg|webp);base64,/.test(uri);
// A box, in shares of the picture, as the style of what lies over the picture.
const insets = ([left, top, right, bottom]) => `${top * 100}% ${(1 - right) * 100}% ${(1 - bottom) * 100}% ${left * 100}%`;
// Where the browser finds a file that Gradio serves.
const addressOf = (path) => new URL("gradio_api/file=" + path.split("/").map(encodeURIComponent).join("/"), document.baseURI).href;

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
