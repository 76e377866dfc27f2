const part = (name) => element.querySelector(`[data-part="${name}"]`);
const page = element.querySelector("[lang]");
document.documentElement.lang = page.lang;

// The link to the other language takes along the run and the theme, which change while the page is open.
const link = part("language");
const here = link.getAttribute("href");
const aim = () => {
  const url = new URL(here, document.baseURI);
  for (const [name, value] of new URLSearchParams(window.location.search))
    if (name !== "lang") url.searchParams.set(name, value);
  link.href = url;
};
for (const event of ["pointerenter", "pointerdown", "focus", "click"]) link.addEventListener(event, aim);

// Light or dark: as the address says, else as chosen here before, else as the system likes it.
const STORED = "lora-web-theme";
const button = part("theme");
const words = JSON.parse(button.dataset.words);
const recall = () => {
  try { return window.localStorage.getItem(STORED); } catch { return null; }
};
const remember = (theme) => {
  try { window.localStorage.setItem(STORED, theme); } catch { /* a frame without storage: the address has it */ }
};
const isDark = () => document.body.classList.contains("dark");
const name = () => { button.textContent = isDark() ? words.light : words.dark; };
const wear = (theme) => {
  document.body.classList.toggle("dark", theme === "dark");
  const url = new URL(window.location.href);
  url.searchParams.set("__theme", theme);
  window.history.replaceState(null, "", url);
};
const stored = recall();
const asked = new URL(window.location.href).searchParams.get("__theme");
if (!asked && (stored === "dark" || stored === "light")) wear(stored);
new MutationObserver(name).observe(document.body, { attributeFilter: ["class"] });
name();
button.addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  wear(theme);
  remember(theme);
});
