// A whole memmap as dots: the SVG that Python drew, and beneath it a canvas for each map, one dot for each page.
// A plain ES module: no build step, nothing fetched.

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "zl zl-view"; // zl: the colours are here
  root.dataset.lmSuppressShortcuts = "true"; // the arrow keys and letters are ours while the focus is in here
  const line = document.createElement("div"); // the page in the middle of the lens, or what just happened
  line.className = "zl-line";
  line.setAttribute("aria-live", "polite");
  const tools = document.createElement("div");
  tools.className = "zl-tools";
  const stage = document.createElement("div");
  stage.className = "zl-dots";
  stage.tabIndex = 0; // the picture is one stop
  stage.setAttribute("role", "application");
  stage.setAttribute("aria-label", "memmap: arrows move the lens, plus and minus zoom, Enter chooses the page");
  const picture = document.createElement("div");
  stage.append(picture);
  root.append(line, tools, stage);
  el.append(root);
  let sheets = []; // each map, one pixel for each page
  let canvases = [];
  let inked = false;

  function send(message) {
    try {
      model.send(message);
    } catch {
      line.textContent = "The kernel does not answer: restart it and run the cell again.";
    }
  }

  for (const [sign, words, zoom] of [["\u2212", "zoom out", -1], ["+", "zoom in", 1]]) {
    const button = document.createElement("button");
    button.textContent = sign;
    button.setAttribute("aria-label", words);
    button.title = words;
    button.addEventListener("click", () => send({ zoom }));
    tools.append(button);
  }
  const label = document.createElement("label");
  const typed = document.createElement("input");
  typed.placeholder = "0x0";
  label.append("pfn ", typed);
  tools.append(label);
  tools.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target === typed) send({ pfn: typed.value });
    if (event.key !== "Tab") event.stopPropagation();
  });

  // The colour of each class, blank first: of the theme that is on; all but `only` faint.
  function colours() {
    const style = getComputedStyle(root);
    const only = model.get("only");
    const found = new Uint32Array(model.get("paints").length + 1);
    model.get("paints").forEach((name, i) => {
      const rgb = parseInt(style.getPropertyValue(`--zl-${name}`).trim().slice(1), 16);
      const alpha = only >= 0 && only !== i + 1 ? 40 : name === "K" ? 150 : 255;
      found[i + 1] = ((alpha << 24) | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
    });
    return found;
  }

  function ink() {
    const paint = colours();
    const cols = model.get("cols");
    sheets = model.get("maps").map((view) => {
      const classes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
      const rows = Math.ceil(classes.length / cols);
      const pixels = new Uint32Array(cols * rows);
      for (let i = 0; i < classes.length; i++) pixels[i] = paint[classes[i]];
      const sheet = document.createElement("canvas");
      sheet.width = cols;
      sheet.height = rows;
      sheet.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), cols, rows), 0, 0);
      return sheet;
    });
  }

  // Each canvas exactly beneath its place in the SVG.
  function place() {
    const [left, top, width, height] = model.get("window");
    const origin = stage.getBoundingClientRect();
    if (!origin.width) return; // out of sight: the observer below will tell when that ends
    const places = [...picture.querySelectorAll("[data-map]")];
    while (canvases.length < places.length) {
      canvases.push(document.createElement("canvas"));
      stage.insertBefore(canvases.at(-1), picture);
    }
    while (canvases.length > places.length) canvases.pop().remove();
    places.forEach((spot, k) => {
      const box = spot.getBoundingClientRect();
      const canvas = canvases[k];
      Object.assign(canvas.style, {
        left: `${box.left - origin.left}px`, top: `${box.top - origin.top}px`,
        width: `${box.width}px`, height: `${box.height}px`,
      });
      canvas.width = Math.max(1, Math.round(box.width * devicePixelRatio));
      canvas.height = Math.max(1, Math.round(box.height * devicePixelRatio));
      const pen = canvas.getContext("2d");
      pen.imageSmoothingEnabled = canvas.width < width; // several pages to a pixel: their mixture
      pen.imageSmoothingQuality = "high";
      pen.drawImage(sheets[k], left, top, width, height, 0, 0, canvas.width, canvas.height);
    });
  }

  function show() {
    picture.innerHTML = model.get("svg");
    place();
    line.textContent = model.get("line");
    root.dataset.shown = model.get("shown"); // tests and benchmarks wait for this
  }

  function repaint() {
    ink();
    place();
  }

  stage.addEventListener("click", (event) => {
    stage.focus({ preventScroll: true });
    const spot = event.target.closest("[data-map],[data-lens],[data-part]");
    if (!spot) return;
    if (spot.dataset.part) {
      send({ count: spot.dataset.part.split(":")[1] });
      return;
    }
    const box = spot.getBoundingClientRect();
    const at = { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
    send({ in: "lens" in spot.dataset ? "lens" : "map", ...at });
  });
  stage.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey || event.ctrlKey || event.key === "Tab") return;
    if (event.key === "/") typed.focus();
    else if (/^(Arrow\w+|Page\w+|Home|End|Enter|Escape|[ +=?a-z-])$/.test(event.key)) send({ key: event.key });
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  // JupyterLab's theme; while it changes, nothing has a size, so wait for the next frame.
  const themes = new MutationObserver(() => requestAnimationFrame(repaint));
  themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", repaint);
  const measure = new ResizeObserver(() => {
    const narrow = root.clientWidth > 0 && root.clientWidth < 792; // 880 px drawn at 0.9
    if (narrow !== model.get("narrow")) {
      model.set("narrow", narrow);
      model.save_changes();
    }
    if (inked) place();
    else repaint(); // before this, the element was not in the page and had no colours
    inked = true;
  });
  model.on("change:maps change:only", ink); // before the picture that goes with them
  model.on("change:shown", show); // the last of the traits to change
  ink();
  show();
  measure.observe(root);
  return () => {
    measure.disconnect();
    themes.disconnect();
    dark.removeEventListener("change", repaint);
    model.off("change:maps change:only", ink);
    model.off("change:shown", show);
  };
}

export default { render };
