// An empty square on which boxes are drawn; the value of the component is the list of them, or null while it is untouched.
const root = element.querySelector("[data-options]");
const drawing = drawRegions(root, {
  ...JSON.parse(root.dataset.options),
  changed: (regions) => { props.value = regions; },
});
const receive = () => drawing.show(Array.isArray(props.value) ? props.value : []);
watch("value", receive);
receive();
