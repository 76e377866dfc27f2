// Saves the file {path, name} that it is given.
watch("value", () => {
  const file = props.value;
  if (!file || typeof file.path !== "string") return;
  const link = node("a", { href: addressOf(file.path), download: file.name });
  document.body.append(link);
  link.click();
  link.remove();
});
