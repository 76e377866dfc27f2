// Shows the run this browser watches, if it is going on, until the page shows it itself.
(() => {
  let kept = null;
  try { kept = JSON.parse(localStorage.getItem("lora-web-run")); } catch { /* a frame without storage */ }
  const run = new URLSearchParams(location.search).get("run") ?? kept?.run;
  if (!run || !kept?.visitor) return;
  const arrived = () => document.querySelector(".run-status [data-state]");
  const place = [kept.visitor, run, "LANGUAGE"].map(encodeURIComponent).join("/");
  fetch(new URL(`gradio_api/glance/${place}`, document.baseURI))
    .then((reply) => (reply.status === 200 ? reply.text() : ""))
    .then((told) => {
      if (!told || arrived()) return;
      const glance = document.createElement("div");
      glance.id = "glance";
      // Written by the server, which has escaped what people wrote. The page's own styles are not here yet.
      glance.innerHTML = `<style>#glance { box-sizing: border-box; width: min(40rem, 100%); margin: 0 auto; padding: 1rem }
        #glance a { color: inherit } #glance progress { width: 100% }</style>${told}`;
      document.body.prepend(glance);
      const look = setInterval(() => {
        if (!arrived()) return;
        clearInterval(look);
        glance.remove();
      }, 100);
    })
    .catch(() => { /* the page will say what is wrong */ });
})();
