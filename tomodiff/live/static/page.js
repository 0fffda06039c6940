"use strict";
// The live page: what the server's events say, drawn. Keys on the slice: arrows move it, +/- widen and narrow the window.
const $ = id => document.getElementById(id);
const shape = n => Number.isFinite(n) ? (n !== 0 && (Math.abs(n) >= 1e5 || Math.abs(n) < 1e-3) ? n.toExponential(3) : String(+n.toPrecision(5))) : "–";

// ---- convergence
const entries = new Map(); // by iteration: of one that ran again the last counts
let names = [], plot = null, drawn = "", stale = false;

function take(lines) {
  for (const line of lines) {
    entries.set(line.iteration ?? `line ${entries.size}`, line);
    for (const [name, value] of Object.entries(line))
      if (typeof value === "number" && !["iteration", "seconds", "grid"].includes(name) && !names.includes(name)) names.push(name);
  }
  const chosen = $("curve").value;
  if ($("curve").options.length !== names.length)
    $("curve").replaceChildren(...names.map(name => new Option(name, name, false, name === chosen)));
  stale = true;
}

function curve() {
  const name = $("curve").value, lines = [...entries.values()].filter(line => typeof line[name] === "number");
  $("count").textContent = entries.size ? `${entries.size} iterations` : "";
  $("noplot").hidden = lines.length > 0;
  $("plot").hidden = !lines.length;
  if (!lines.length) return;
  const x = lines.map((line, i) => typeof line.iteration === "number" ? line.iteration : i + 1), y = lines.map(line => line[name]);
  const log = $("log").checked && y.every(v => v > 0), key = `${name} ${log} ${scheme.matches}`;
  if (plot && key === drawn) return plot.setData([x, y]);
  if (plot) plot.destroy();
  const style = getComputedStyle(document.documentElement), ink = style.getPropertyValue("--soft").trim(), line = style.getPropertyValue("--line").trim();
  const axis = {stroke: ink, grid: {stroke: line, width: 1}, ticks: {stroke: line, width: 1}};
  plot = new uPlot({width: width(), height: 300, scales: {x: {time: false}, y: {distr: log ? 3 : 1}},
    axes: [{...axis, label: "iteration"}, {...axis, size: 74, values: (u, all) => all.map(v => v === null ? "" : shape(v))}],
    series: [{label: "iteration"}, {label: name, stroke: style.getPropertyValue("--blue").trim(), width: 2, value: (u, v) => shape(v)}]}, [x, y], $("plot"));
  drawn = key;
}

const width = () => Math.max(240, $("plot").parentElement.clientWidth - 38);
const scheme = matchMedia("(prefers-color-scheme: dark)");
scheme.addEventListener("change", curve);
addEventListener("resize", () => plot && plot.setSize({width: width(), height: 300}));
for (const id of ["curve", "log"]) $(id).addEventListener("change", curve);

// ---- slices
let slices = null, values = null, size = [0, 0], asked = 0;

function range() { // of the sliders: three times the window about its middle
  const [low, high] = slices.window, span = (high - low) || 1;
  const level = low - span + 3 * span * $("level").value / 1000, wide = 2 * span * $("window").value / 1000;
  return [level - wide / 2, level + wide / 2];
}

async function fetchSlice() {
  if (!slices || slices.error) return;
  const axis = +$("axis").value, index = +$("index").value, mine = ++asked;
  const answer = await fetch(`api/slice/${axis}/${index}`);
  if (!answer.ok || mine !== asked) return;
  size = answer.headers.get("X-Shape").split(",").map(Number);
  values = new Float32Array(await answer.arrayBuffer());
  paint();
}

function paint() {
  if (!values) return;
  const canvas = $("slice"), [rows, columns] = size, [low, high] = range(), scale = 255 / ((high - low) || 1);
  canvas.width = columns, canvas.height = rows;
  const axes = [[1, 2], [0, 2], [0, 1]][+$("axis").value], spacing = slices.spacing || [1, 1, 1];
  canvas.style.aspectRatio = `${columns * spacing[axes[1]]} / ${rows * spacing[axes[0]]}`;
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows), data = image.data;
  for (let row = 0, at = 0; row < rows; row++) // the first row is the lowest, as in the report
    for (let i = (rows - 1 - row) * columns, end = i + columns; i < end; i++, at += 4) {
      data[at] = data[at + 1] = data[at + 2] = (values[i] - low) * scale;
      data[at + 3] = 255;
    }
  context.putImageData(image, 0, 0);
  canvas.dataset.index = $("index").value;
  $("value").textContent = `grey from ${shape(low)} to ${shape(high)} ${slices.unit || ""}`;
}

function showSlices(told) {
  if (!told || told.error) { if (told) $("value").textContent = told.error; return; }
  const fresh = !slices || slices.version !== told.version, first = !slices || slices.whole !== told.whole;
  slices = told;
  $("slicebar").hidden = $("slice").hidden = false;
  $("space").hidden = !told.whole;
  $("of").textContent = `${told.shape.join(" x ")} voxels${told.whole ? "" : ", the middle ones"}`;
  if (first) limits();
  if (fresh) fetchSlice();
}

function limits() {
  const axis = +$("axis").value, n = slices.shape[axis], only = slices.whole ? null : slices.index[axis];
  $("index").min = only ?? 0, $("index").max = only ?? n - 1, $("index").value = only ?? Math.floor(n / 2);
  $("index").disabled = only !== null;
  told();
}

const told = () => { $("at").textContent = `${$("index").value} of ${slices.shape[+$("axis").value]}`; };
$("index").addEventListener("input", () => { told(); fetchSlice(); });
$("axis").addEventListener("change", () => { limits(); fetchSlice(); });
for (const id of ["level", "window"]) $(id).addEventListener("input", paint);
$("reset").addEventListener("click", () => { $("level").value = $("window").value = 500; paint(); });
$("slice").addEventListener("keydown", event => {
  const moves = {ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1}, widths = {"+": 25, "=": 25, "-": -25};
  if (event.key in moves) $("index").value = +$("index").value + moves[event.key], $("index").dispatchEvent(new Event("input"));
  else if (event.key in widths) $("window").value = +$("window").value + widths[event.key], paint();
  else return;
  event.preventDefault();
});
$("slice").addEventListener("wheel", event => {
  $("index").value = +$("index").value + Math.sign(event.deltaY);
  $("index").dispatchEvent(new Event("input"));
  event.preventDefault();
}, {passive: false});
$("slice").addEventListener("mousemove", event => {
  const box = $("slice").getBoundingClientRect(), [rows, columns] = size;
  const column = Math.floor((event.clientX - box.left) / box.width * columns), row = rows - 1 - Math.floor((event.clientY - box.top) / box.height * rows);
  const v = values && values[row * columns + column];
  if (v !== undefined) $("value").textContent = `row ${row}, column ${column}: ${shape(v)} ${slices.unit || ""}`;
});

// ---- the volume in 3D, by NiiVue, which is loaded when it is wanted
let viewer = null;

async function render() {
  $("render").disabled = true;
  if (!window.niivue) await new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = "static/niivue.umd.js", script.onload = done, script.onerror = failed;
    document.head.append(script);
  });
  $("room").hidden = $("fromlabel").hidden = $("help").hidden = false;
  if (!viewer) {
    viewer = new niivue.Niivue({backColor: [0, 0, 0, 1], show3Dcrosshair: false, logLevel: "error"});
    await viewer.attachToCanvas($("gl"));
    viewer.setSliceType(viewer.sliceTypeRender);
  }
  const [low, high] = slices.window;
  await viewer.loadVolumes([{url: "api/volume.nii", name: "volume.nii", colormap: "gray", cal_min: low, cal_max: high}]);
  threshold();
  $("gl").dataset.shown = slices.version;
  $("render").textContent = "again", $("render").disabled = false;
}

function threshold() {
  if (!viewer || !viewer.volumes.length) return;
  const [low, high] = slices.window;
  viewer.volumes[0].cal_min = low + (high - low) * $("from").value / 1000, viewer.volumes[0].cal_max = high;
  viewer.updateGLVolume();
}

$("render").addEventListener("click", () => render().catch(async error => {
  const answer = await fetch("api/volume.nii"); // which says what is wrong, if it is there that something is
  $("thinned").textContent = answer.ok ? String(error.message || error) : (await answer.json()).error;
  $("render").disabled = false;
}));
$("from").addEventListener("input", threshold);

// ---- the figures of what the run kept, drawn anew when it keeps it anew
let plots = [];

function showPlots() {
  const place = $("plots"), theme = scheme.matches ? "dark" : "light";
  for (const {number, heading, caption, version} of plots) {
    const id = `plot${number}`, key = `${version} ${theme}`;
    if (!$(id)) {
      const card = element("section", ""), figure = element("figure", "");
      card.id = id, card.className = "wide"; // but for a small figure
      figure.append(element("img", ""), element("figcaption", ""));
      card.append(element("h2", heading), figure);
      place.insertBefore(card, [...place.children].find(other => +other.id.slice(4) > number) || null);
    }
    if ($(id).dataset.key === key) continue;
    $(id).dataset.key = key;
    const image = $(id).querySelector("img");
    image.onload = () => $(id).classList.toggle("wide", image.naturalWidth > 1200);
    image.src = `api/plot/${number}?theme=${theme}&version=${version}`, image.alt = caption;
    $(id).querySelector("figcaption").textContent = caption;
  }
  const there = plots.map(one => `plot${one.number}`);
  for (const card of [...place.children]) if (!there.includes(card.id)) card.remove();
}

scheme.addEventListener("change", showPlots);

// ---- the report of what there is so far
function sofar() {
  const frame = $("sofar").querySelector("iframe");
  frame.hidden = false;
  frame.src = `report?at=${Date.now()}`;
}

$("sofar").addEventListener("toggle", () => { if ($("sofar").open) sofar(); });
$("again").addEventListener("click", sofar);

// ---- the rest
function state(now) {
  const {status} = now;
  document.title = `${status.state} · ${status.name}`;
  $("name").textContent = status.name;
  $("state").textContent = status.state, $("state").className = `state ${status.state}`;
  $("message").textContent = status.lost ? "its process is not there any more: tomodiff resume goes on from the last checkpoint, if there is one" : status.message || "";
  $("warnings").hidden = !(status.warnings || []).length;
  $("warnings").querySelector("ul").replaceChildren(...(status.warnings || []).map(text => element("li", text)));
  const all = Object.entries(status.facts || {}), nested = all.filter(([, value]) => isGroup(value));
  const facts = {...Object.fromEntries(all.filter(([, value]) => !isGroup(value))),
    ...Object.fromEntries(Object.entries(status.timings || {}).map(([name, value]) => [`seconds of ${name}`, value]))};
  for (const name of ["host", "updated"]) if (status[name]) facts[name] = status[name];
  list($("facts"), facts);
  $("steps").hidden = !nested.length;
  list($("steps").querySelector("table"), flat(Object.fromEntries(nested)));
  $("figures").hidden = !now.pictures.length;
  const own = $("figures").querySelector("div");
  if (own.childElementCount !== now.pictures.length)
    own.replaceChildren(...now.pictures.map((name, i) => {
      const figure = element("figure", ""), image = element("img", "");
      image.src = `api/picture/${i}`, image.alt = name;
      figure.append(image, element("figcaption", name));
      return figure;
    }));
  ground = now.ground;
  if (ground && !now.slices) $("value").textContent = "Of this run the ground is shown, below.";
  showSlices(now.slices);
  plots = now.plots;
  showPlots();
  dispatchEvent(new CustomEvent("ground", {detail: ground}));
}

let ground = null; // for ground.js, which may be there later than the first state
addEventListener("ground-ready", () => dispatchEvent(new CustomEvent("ground", {detail: ground})));

const isGroup = value => value !== null && typeof value === "object" && !Array.isArray(value);

function list(table, values) { // names and values
  table.replaceChildren(...Object.entries(values).map(([name, value]) => {
    const row = element("tr", ""), text = typeof value === "number" ? shape(value) : typeof value === "object" ? JSON.stringify(value) : String(value);
    row.append(element("td", name.replaceAll("_", " ")), element("td", text));
    return row;
  }));
}

function flat(values, before = "") { // objects within objects as one list of names
  return Object.fromEntries(Object.entries(values).flatMap(([name, value]) =>
    isGroup(value) ? Object.entries(flat(value, `${before}${name}: `)) : [[before + name, value]]));
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function say(lines) {
  const log = $("said"), below = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  log.append(lines.join("\n") + "\n");
  if (below) log.scrollTop = log.scrollHeight;
}

history.replaceState(null, "", location.pathname); // the token is in a cookie now
fetch("api/state").then(answer => answer.json()).then(now => {
  $("settings").textContent = now.settings;
  $("command").textContent = now.command;
  state(now);
});
const events = new EventSource("api/events");
events.onopen = () => { entries.clear(); $("said").textContent = ""; };
events.addEventListener("metrics", event => take(JSON.parse(event.data)));
events.addEventListener("again", () => { entries.clear(); stale = true; });
events.addEventListener("log", event => say(JSON.parse(event.data)));
events.addEventListener("state", event => state(JSON.parse(event.data)));
events.onerror = () => { $("message").textContent = "tomodiff watch has ended; what is shown is what it last saw"; };
setInterval(() => { if (stale) { stale = false; curve(); } }, 250);
