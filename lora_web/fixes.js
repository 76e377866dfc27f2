// A click on a button that puts something right says which one.
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-fix]");
  if (button) trigger("click", { fix: button.dataset.fix });
});
