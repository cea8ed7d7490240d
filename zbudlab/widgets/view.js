// The one live view: it shows an SVG that Python drew, and says which marked part was chosen.
// A plain ES module: no build step, nothing fetched.

const HEAD = 3; // elements that begin every picture: title, desc, defs

function parsed(svg) {
  const template = document.createElement("template");
  template.innerHTML = svg;
  return template.content.children;
}

// Setting what is set already would have the browser lay out the picture again.
function set(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

// A picture in text: its beginning, up to the definitions, and its top-level elements.  Each element and each end of a group has a line.
function blocksOf(svg) {
  const [head, ...lines] = svg.replace(/<\/svg>$/, "").split("\n");
  const blocks = [];
  let depth = 0;
  for (const text of lines) {
    if (depth) blocks[blocks.length - 1] += text;
    else blocks.push(text);
    if (text.startsWith("<g ")) depth++;
    else if (text === "</g>") depth--;
  }
  return [head, blocks];
}

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "zl-view";
  root.dataset.lmSuppressShortcuts = "true"; // the arrow keys and letters are ours while the focus is in here
  const stage = document.createElement("div");
  const line = document.createElement("div"); // what is under the pointer or the focus, or what just happened
  line.className = "zl-line";
  line.setAttribute("aria-live", "polite");
  const reel = document.createElement("input"); // the timeline: it turns without the kernel
  reel.type = "range";
  reel.className = "zl-reel";
  reel.min = 0;
  reel.setAttribute("aria-label", "event");
  root.append(line, stage, reel); // the answer stands above the picture, beside the buttons
  el.append(root);
  let parts = [];
  let current = 0; // the part that Tab reaches
  let at = { x: NaN, y: NaN }; // where the pointer was last
  let pieces = []; // the elements on the stage, each with the text that it was made of
  let frames = []; // the picture at each event, for the reel: [svg, line]
  let waiting = 0; // the timer that will ask for them

  function say(text) {
    line.textContent = text ?? model.get("line");
  }

  function send(message) {
    try {
      model.send(message);
    } catch {
      say("The kernel does not answer. The reel still turns; to do more, restart it and run the cell again.");
    }
  }

  function aim(i, focus) {
    if (!parts.length) return;
    parts[current]?.setAttribute("tabindex", "-1");
    current = Math.max(0, Math.min(parts.length - 1, i));
    parts[current].setAttribute("tabindex", "0");
    if (focus) parts[current].focus();
  }

  // Parts that speak of the same bytes light up together.
  function light(part) {
    const bytes = new Set(part?.dataset.lights?.split(" "));
    for (const other of stage.querySelectorAll("[data-lights]")) {
      other.classList.toggle("lit", other.dataset.lights.split(" ").some((byte) => bytes.has(byte)));
    }
  }

  // Put a picture on the stage.  Whatever of the old one stands in the new one too is kept, and at most moved.
  function put(svg) {
    const [head, blocks] = blocksOf(svg);
    const shell = parsed(head + "</svg>")[0];
    const fresh = blocks.map((block) => /^<g transform="[^"]*">/.exec(block)?.[0] ?? "");
    const contents = blocks.map((block, i) => block.slice(fresh[i].length));
    const old = new Map();
    for (const [content, node] of pieces) old.set(content, [...(old.get(content) ?? []), node]);
    const nodes = contents.map((content) => old.get(content)?.shift());
    const missing = blocks.filter((_, i) => !nodes[i]);
    const made = [...parsed(`<svg>${missing.join("")}</svg>`)[0].children];
    if (made.length !== missing.length || !pieces.length) { // the first picture, or one that is not made of blocks
      stage.innerHTML = svg;
      const drawn = [...stage.firstElementChild.children].slice(HEAD);
      pieces = drawn.length === blocks.length ? contents.map((content, i) => [content, drawn[i]]) : [];
      return;
    }
    const picture = stage.firstElementChild;
    for (const { name } of [...picture.attributes]) if (!shell.hasAttribute(name)) picture.removeAttribute(name);
    for (const { name, value } of shell.attributes) if (name !== "role") set(picture, name, value);
    for (let i = 0; i < HEAD; i++) {
      const [was, is] = [picture.children[i], shell.children[i]];
      if (!was.isEqualNode(is)) was.replaceWith(is.cloneNode(true));
    }
    const kept = new Set(nodes);
    for (const [, node] of pieces) if (!kept.has(node)) node.remove();
    let last = picture.children[HEAD - 1];
    nodes.forEach((node, i) => {
      if (node && fresh[i]) set(node, "transform", fresh[i].slice(14, -2));
      if (node && last.nextSibling?.nextSibling === node) last.nextSibling.remove(); // that one moves, not all behind it
      nodes[i] = node ?? made.shift();
      if (last.nextSibling !== nodes[i]) last.after(nodes[i]);
      last = nodes[i];
    });
    pieces = contents.map((content, i) => [content, nodes[i]]);
  }

  function paint(svg) {
    let active = stage.contains(document.activeElement) ? document.activeElement.dataset.part : null;
    put(svg);
    if (active) active = stage.querySelector("svg")?.dataset.focus ?? active; // the picture may move the focus
    if (stage.firstElementChild) set(stage.firstElementChild, "role", "group"); // its parts are to be met one by one
    parts = [...stage.querySelectorAll("[data-part]")];
    for (const part of parts) {
      set(part, "role", "button");
      set(part, "tabindex", "-1");
    }
    const found = parts.findIndex((part) => part.dataset.part === active);
    // If the part that had the focus is gone, a neighbour of its own kind gets it: no tenant hands over to an event.
    const alike = (part) => part.dataset.part.startsWith("event") === active?.startsWith("event");
    const near = parts.slice(0, current + 1).findLastIndex(alike);
    const next = found >= 0 || active === null ? found : near >= 0 ? near : parts.findIndex(alike);
    aim(next < 0 ? current : next, active !== null && next >= 0);
  }

  function show() {
    paint(model.get("svg"));
    const [now, events] = model.get("reel");
    reel.hidden = events === 0;
    reel.max = events;
    if (document.activeElement !== reel) reel.value = now; // while it is being turned, the hand is right
    reel.setAttribute("aria-valuetext", `event ${now} of ${events}`);
    say(); // what happened, not what happens to be under the focus or the pointer now
    root.dataset.shown = model.get("shown"); // tests and benchmarks wait for this
  }

  // New events: the frames are stale.  They are asked for when nothing has happened for a while.
  function stale() {
    frames = [];
    delete root.dataset.frames;
    clearTimeout(waiting);
    if (model.get("reel")[1]) waiting = setTimeout(() => send({ need: model.get("tape") }), 400);
  }

  function received(message) {
    if (message.tape !== model.get("tape")) return;
    frames = message.frames;
    root.dataset.frames = frames.length;
  }

  function turn() {
    const frame = frames[reel.value];
    if (frame) {
      paint(frame[0]);
      say(frame[1]);
    }
    reel.setAttribute("aria-valuetext", `event ${reel.value} of ${reel.max}`);
    send({ event: Number(reel.value) });
  }

  function act(part) {
    send({ part: part.dataset.part });
  }

  reel.addEventListener("input", turn);
  reel.addEventListener("keydown", (event) => {
    if (event.key !== "Tab") event.stopPropagation(); // or the notebook takes the arrows for its headings
  });
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
    light(part);
  });
  stage.addEventListener("pointerleave", () => { say(); light(null); });
  stage.addEventListener("focusin", (event) => { say(event.target.getAttribute("aria-label")); light(event.target); });
  root.addEventListener("keydown", (event) => {
    const part = event.target.closest("[data-part]");
    if (!part || event.altKey || event.metaKey || (event.ctrlKey && !event.key.startsWith("Arrow"))) return;
    // In a grid, up and down move by a row, and stay among parts with rows of that length.
    const row = Number(part.dataset.row ?? stage.firstElementChild?.dataset.row) || 1;
    const steps = { ArrowRight: 1, ArrowDown: row, ArrowLeft: -1, ArrowUp: -row };
    const named = part.dataset[event.key.slice(5).toLowerCase()]; // data-left names where ArrowLeft leads
    const there = parts.findIndex((other) => other.dataset.part === named);
    if (there >= 0) aim(there, true);
    else if (event.key in steps) {
      const to = current + steps[event.key];
      if (Math.abs(steps[event.key]) === 1 || (parts[to] && parts[to].dataset.row === part.dataset.row)) aim(to, true);
    } else if (event.key === "Home") aim(0, true);
    else if (event.key === "End") aim(parts.length - 1, true);
    else if (event.key === "Enter" || event.key === " ") act(part);
    else if (event.key === "Escape") { part.blur(); say(); light(null); }
    else if (/^[a-z,.[\]]$/.test(event.key)) send({ key: event.key });
    else return; // Tab goes on its way
    event.preventDefault();
    event.stopPropagation();
  });
  model.on("change:shown", show); // the last of the traits to change: svg and line are there
  model.on("change:tape", stale);
  model.on("msg:custom", received);
  const keep = (event) => {
    const labs = event.key === "Tab" || event.ctrlKey || event.metaKey || (event.shiftKey && event.key === "Enter");
    if (!labs) event.stopPropagation();
  };
  // The buttons beside the picture are silent when the kernel is gone: they are followed by a word that is not.
  const follow = (event) => {
    if (!root.contains(event.target)) send({});
  };
  const measure = new ResizeObserver(() => {
    const controls = root.closest(".zl-instrument"); // a letter typed at a list of choices must not cut the cell
    if (controls) [controls.onkeydown, controls.onclick] = [keep, follow];
    const narrow = root.clientWidth > 0 && root.clientWidth < 792; // 880 px drawn at 0.9
    if (narrow !== model.get("narrow")) {
      model.set("narrow", narrow);
      model.save_changes();
    }
  });
  measure.observe(root);
  show();
  stale();
  send({ seen: 1 }); // somebody looks at this picture
  return () => {
    send({ seen: -1 });
    measure.disconnect();
    clearTimeout(waiting);
    model.off("change:shown", show);
    model.off("change:tape", stale);
    model.off("msg:custom", received);
  };
}

export default { render };
