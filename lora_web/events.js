// What events of the page's components do in the browser, before the server is asked or instead of it.
const unsaved = new Set(); // one function for each editor: sends what waits, false when something could not be saved
const formOf = {}; // family -> the settings of its form that say what becomes of a picture
const changes = {}; // name of a form -> how often it has changed

const events = {
  // Puts the run a page watches into its address, and where `glance.js` finds it.
  setUrl(who) {
    const url = new URL(window.location.href);
    const run = who && who[who.watched || "run"];
    if (run) url.searchParams.set("run", run);
    else url.searchParams.delete("run");
    window.history.replaceState(null, "", url);
    try {
      if (run) localStorage.setItem("lora-web-run", JSON.stringify({ visitor: who.visitor, run }));
      else localStorage.removeItem("lora-web-run");
    } catch { /* a frame without storage */ }
  },

  // For the button that starts a run: waits until the server has every edit.
  async flush(who, ...values) {
    const saved = await Promise.all([...unsaved].map((push) => push()));
    return [saved.every(Boolean) ? who : { ...who, unsaved: true }, ...values];
  },

  // A preset changes many fields, each of which says so. Asking the server at each would send the same form several times,
  // the first ones half changed, and their answers may overtake each other.
  async atRest(form, last) {
    const mine = (changes[form] = (changes[form] ?? 0) + 1);
    await new Promise((done) => setTimeout(done, 60));
    return changes[form] === mine ? String(mine) : last;
  },

  // Tells the editor of a family of its settings.
  follow(family, base, data) {
    formOf[family] = { base, data };
    window.dispatchEvent(new Event("lora-web-settings"));
  },

  // What is suggested, unless something was written or drawn meanwhile: only the page knows what its person does.
  keep(suggested, ...made) {
    const kept = made.some((each) => (typeof each === "string" ? each.trim() : each)) ? made : suggested ?? made;
    return kept.length === 1 ? kept[0] : kept;
  },

  // The ladder of a run that has just ended, as if the person had asked for it: not in the middle of a word, and not when
  // the button is off because there is nothing to show.
  pressShow(prefix) {
    if (!document.activeElement?.closest(`#${prefix}prompt`)) document.querySelector(`#${prefix}show:enabled`)?.click();
  },
};
