// The one live view: it shows an SVG that Python drew, and says which marked part was chosen.
// A plain ES module: no build step, nothing fetched.

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "zl-view";
  root.dataset.lmSuppressShortcuts = "true"; // the arrow keys and letters are ours while the focus is in here
  const stage = document.createElement("div");
  const line = document.createElement("div"); // what is under the pointer or the focus, or what just happened
  line.className = "zl-line";
  line.setAttribute("aria-live", "polite");
  root.append(line, stage); // the answer stands above the picture, beside the buttons
  el.append(root);
  let parts = [];
  let current = 0; // the part that Tab reaches
  let at = { x: NaN, y: NaN }; // where the pointer was last

  function say(text) {
    line.textContent = text ?? model.get("line");
  }

  function aim(i, focus) {
    if (!parts.length) return;
    parts[current]?.setAttribute("tabindex", "-1");
    current = Math.max(0, Math.min(parts.length - 1, i));
    parts[current].setAttribute("tabindex", "0");
    if (focus) parts[current].focus();
  }

  function show() {
    const active = stage.contains(document.activeElement) ? document.activeElement.dataset.part : null;
    stage.innerHTML = model.get("svg");
    stage.querySelector("svg")?.setAttribute("role", "group"); // its parts are to be met one by one
    parts = [...stage.querySelectorAll("[data-part]")];
    for (const part of parts) {
      part.setAttribute("role", "button");
      part.setAttribute("tabindex", "-1");
    }
    const found = parts.findIndex((part) => part.dataset.part === active);
    // If the part that had the focus is gone, a neighbour of its own kind gets it: no tenant hands over to an event.
    const alike = (part) => part.dataset.part.startsWith("event") === active?.startsWith("event");
    const near = parts.slice(0, current + 1).findLastIndex(alike);
    const next = found >= 0 || active === null ? found : near >= 0 ? near : parts.findIndex(alike);
    aim(next < 0 ? current : next, active !== null && next >= 0);
    say(); // what happened, not what happens to be under the focus or the pointer now
    root.dataset.shown = model.get("shown"); // tests and benchmarks wait for this
  }

  function act(part) {
    model.send({ part: part.dataset.part });
  }

  stage.addEventListener("click", (event) => {
    at = { x: event.clientX, y: event.clientY };
    const part = event.target.closest("[data-part]");
    if (!part) return;
    aim(parts.indexOf(part), true);
    act(part);
  });
  stage.addEventListener("pointerover", (event) => {
    if (Math.hypot(event.clientX - at.x, event.clientY - at.y) < 2) return; // the picture moved, not the pointer
    at = { x: event.clientX, y: event.clientY };
    const part = event.target.closest("[data-part]");
    if (part) say(part.getAttribute("aria-label"));
  });
  stage.addEventListener("pointerleave", () => say());
  stage.addEventListener("focusin", (event) => say(event.target.getAttribute("aria-label")));
  root.addEventListener("keydown", (event) => {
    const part = event.target.closest("[data-part]");
    if (!part || event.altKey || event.ctrlKey || event.metaKey) return;
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    if (event.key in steps) aim(current + steps[event.key], true);
    else if (event.key === "Home") aim(0, true);
    else if (event.key === "End") aim(parts.length - 1, true);
    else if (event.key === "Enter" || event.key === " ") act(part);
    else if (event.key === "Escape") { part.blur(); say(); }
    else if (/^[a-z,.]$/.test(event.key)) model.send({ key: event.key });
    else return; // Tab goes on its way
    event.preventDefault();
    event.stopPropagation();
  });
  model.on("change:shown", show); // the last of the traits to change: svg and line are there
  const measure = new ResizeObserver(() => {
    const narrow = root.clientWidth > 0 && root.clientWidth < 792; // 880 px drawn at 0.9
    if (narrow !== model.get("narrow")) {
      model.set("narrow", narrow);
      model.save_changes();
    }
  });
  measure.observe(root);
  show();
  return () => measure.disconnect();
}

export default { render };
