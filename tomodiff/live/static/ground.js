// Ground in 3D, before left of the divider and after right of it, under a sun that can be moved: three.js, which is loaded
// for runs that have a ground, draws; the server lights.
const $ = id => document.getElementById(id);
const view = {turn: 0.6, rise: 0.7, far: 2.2}; // radians, and the camera's distance in widths of the map
let THREE = null, shown = null, renderer = null, camera = null, surfaces = [], asked = 0;

async function array(address, Kind) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error((await answer.json()).error);
  return {shape: answer.headers.get("X-Shape").split(",").map(Number), data: new Kind(await answer.arrayBuffer())};
}

// x to the east, y up, z to the south; the map is one unit wide, heights are in the same unit, times the stretch.
async function surface(which) {
  const {shape: [rows, columns], data} = await array(`api/ground/${which}`, Float32Array), [dy, dx] = shown.spacing;
  const wide = dx * (columns - 1) || 1, middle = (shown.range[0] + shown.range[1]) / 2;
  const geometry = new THREE.PlaneGeometry(1, dy * (rows - 1) / wide, columns - 1, rows - 1);
  geometry.rotateX(-Math.PI / 2);
  const place = geometry.attributes.position;
  for (let i = 0; i < place.count; i++) place.setY(i, (data[i] - middle) / wide);
  const texture = new THREE.DataTexture(new Uint8Array(rows * columns * 4), columns, rows);
  texture.magFilter = texture.minFilter = THREE.LinearFilter, texture.colorSpace = THREE.SRGBColorSpace;
  const scene = new THREE.Scene();
  scene.add(new THREE.Mesh(geometry, new THREE.MeshBasicMaterial({map: texture, side: THREE.DoubleSide})));
  return {scene, texture, mesh: scene.children[0]};
}

async function light() {
  const mine = ++asked, azimuth = +$("azimuth").value, elevation = +$("elevation").value;
  $("sun").textContent = `${azimuth}° from the top, ${elevation}° high`;
  const lit = await Promise.all([0, 1].map(which => array(`api/light/${which}?azimuth=${azimuth}&elevation=${elevation}`, Uint8Array)));
  if (mine !== asked) return; // the sun has moved on
  lit.forEach(({shape: [rows, columns], data}, which) => {
    const pixels = surfaces[which].texture.image.data;
    for (let row = 0, at = 0; row < rows; row++) // a texture's first row is its lowest
      for (let i = (rows - 1 - row) * columns, end = i + columns; i < end; i++, at += 4)
        pixels[at] = pixels[at + 1] = pixels[at + 2] = data[i], pixels[at + 3] = 255;
    surfaces[which].texture.needsUpdate = true;
  });
  draw();
  $("ground").dataset.sun = `${azimuth} ${elevation}`;
}

function draw() {
  const canvas = $("ground"), width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width) return;
  renderer.setSize(width, height, false);
  camera.aspect = width / height;
  const {turn, rise, far} = view;
  camera.position.set(far * Math.cos(rise) * Math.sin(turn), far * Math.sin(rise), far * Math.cos(rise) * Math.cos(turn));
  camera.lookAt(0, 0, 0);
  camera.updateProjectionMatrix();
  const divider = Math.round(width * $("swipe").value / 1000);
  renderer.setScissorTest(true);
  [[0, divider], [divider, width - divider]].forEach(([from, wide], which) => {
    surfaces[which].mesh.scale.y = +$("stretch").value;
    renderer.setScissor(from, 0, wide, height);
    if (wide > 0) renderer.render(surfaces[which].scene, camera);
  });
  $("divider").style.left = `${100 * divider / width}%`;
}

async function show() {
  if (!renderer) {
    THREE = await import("./three.module.min.js");
    renderer = new THREE.WebGLRenderer({canvas: $("ground"), antialias: true, preserveDrawingBuffer: true});
    renderer.setPixelRatio(devicePixelRatio);
    camera = new THREE.PerspectiveCamera(30, 1, 0.01, 50);
  }
  const before = surfaces;
  surfaces = await Promise.all([0, 1].map(surface));
  for (const {mesh, texture} of before) mesh.geometry.dispose(), mesh.material.dispose(), texture.dispose();
  await light();
  $("ground").dataset.version = shown.version;
}

const failed = error => { $("sun").textContent = String(error.message || error); };

addEventListener("ground", event => { // from page.js, at each state of the run
  const now = event.detail;
  $("terrain").hidden = !now;
  if (!now || (shown && shown.version === now.version)) return;
  shown = now;
  $("extent").textContent = `${now.shape.join(" x ")} heights, ${now.range.map(h => h.toPrecision(5)).join(" to ")} m`;
  show().catch(failed);
});
for (const id of ["azimuth", "elevation"]) $(id).addEventListener("input", () => surfaces.length && light().catch(failed));
for (const id of ["swipe", "stretch"]) $(id).addEventListener("input", () => surfaces.length && draw());
addEventListener("resize", () => surfaces.length && draw());

function move(turn, rise, far) {
  view.turn += turn, view.rise = Math.min(1.5, Math.max(0.05, view.rise + rise)), view.far = Math.min(8, Math.max(0.3, view.far * far));
  if (surfaces.length) draw();
}

$("ground").addEventListener("pointerdown", event => $("ground").setPointerCapture(event.pointerId));
$("ground").addEventListener("pointermove", event => { if (event.buttons) move(-event.movementX / 150, event.movementY / 150, 1); });
$("ground").addEventListener("wheel", event => { move(0, 0, Math.exp(event.deltaY / 800)); event.preventDefault(); }, {passive: false});
$("ground").addEventListener("keydown", event => {
  const moves = {ArrowLeft: [-0.1, 0, 1], ArrowRight: [0.1, 0, 1], ArrowUp: [0, 0.1, 1], ArrowDown: [0, -0.1, 1], "+": [0, 0, 0.9], "-": [0, 0, 1.1]};
  if (!(event.key in moves)) return;
  move(...moves[event.key]);
  event.preventDefault();
});
dispatchEvent(new Event("ground-ready"));
