// Viewer of a rollout: data in, spheres out. See view.py for the fields of `data`.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const [frames, bodies] = [data.times.length, data.radius.length];
const bytes = Uint8Array.from(atob(data.position), (c) => c.charCodeAt(0));
const position = new Float32Array(bytes.buffer); // [frames bodies 3]
const control = (name) => document.getElementById(name);
const SECONDS = 12; // of one run at normal speed
const TRAIL = Math.max(2, Math.min(Math.floor(frames / 3), Math.floor(200000 / bodies)));

// Lattice vectors as rows, and their inverse: fractional coordinates of x are x inverse.
const cell = data.cell, inverse = data.inverse;
const times3 = (x, m) => [0, 1, 2].map((j) => x[0] * m[0][j] + x[1] * m[1][j] + x[2] * m[2][j]);
const shifted = (x, round) => {
  const whole = times3(times3(x, inverse).map((s, k) => (data.periodic[k] ? round(s) : 0)), cell);
  return [x[0] - whole[0], x[1] - whole[1], x[2] - whole[2]];
};
const inCell = () => cell && control("wrap").checked;

/** Positions at a frame that need not be whole, linear in between. */
function at(frame, into) {
  const k = Math.min(Math.floor(frame), frames - 1), next = Math.min(k + 1, frames - 1);
  const part = frame - k, n = 3 * bodies;
  for (let i = 0; i < n; i++)
    into[i] = (1 - part) * position[k * n + i] + part * position[next * n + i];
  if (inCell())
    for (let i = 0; i < n; i += 3)
      into.set(shifted([into[i], into[i + 1], into[i + 2]], Math.floor), i);
  return into;
}

const renderer = new THREE.WebGLRenderer({ canvas: control("view"), antialias: true, alpha: true });
renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
const scene = new THREE.Scene();
scene.add(new THREE.HemisphereLight(0xffffff, 0x556070, 1.6));
const camera = new THREE.PerspectiveCamera(40, 1, data.extent / 1000, data.extent * 100);
const lamp = new THREE.DirectionalLight(0xffffff, 2.2);
lamp.position.set(-1, 2, 1);
camera.add(lamp);
scene.add(camera);
const orbit = new THREE.OrbitControls(camera, renderer.domElement);
const middle = new THREE.Vector3(...data.middle);
orbit.target.copy(middle);
const from = data.flat ? [0, 0, 1] : [0.55, 0.4, 0.75];
camera.position.copy(middle).addScaledVector(new THREE.Vector3(...from), 2.6 * data.reach + 0.2 * data.extent);

const detail = bodies > 5000 ? 1 : bodies > 500 ? 2 : 4;
const spheres = new THREE.InstancedMesh(
  new THREE.IcosahedronGeometry(1, detail), new THREE.MeshLambertMaterial(), bodies);
spheres.frustumCulled = false;
const colour = data.colour.map((c) => new THREE.Color(c));
colour.forEach((c, i) => spheres.setColorAt(i, c));
scene.add(spheres);

function lines(count, material) {
  const geometry = new THREE.BufferGeometry();
  for (const [name, size] of [["position", 3], ["color", 4]]) // the fourth is the opacity
    geometry.setAttribute(name, new THREE.BufferAttribute(new Float32Array(2 * size * count), size));
  const segments = new THREE.LineSegments(geometry, material);
  segments.frustumCulled = false;
  scene.add(segments);
  return segments;
}
const trails = lines(TRAIL * bodies, new THREE.LineBasicMaterial(
  { vertexColors: true, transparent: true, depthWrite: false }));
const bonds = lines(data.edges.length, new THREE.LineBasicMaterial({ color: 0x8a939c }));
if (cell) {
  const corner = (k) => times3([k & 1, (k >> 1) & 1, (k >> 2) & 1], cell);
  const box = [];
  for (let k = 0; k < 8; k++)
    for (const bit of [1, 2, 4]) if (!(k & bit)) box.push(...corner(k), ...corner(k | bit));
  const frame = lines(box.length / 6, new THREE.LineBasicMaterial({ color: 0x8a939c }));
  frame.geometry.attributes.position.array.set(box);
}

const now = new Float32Array(3 * bodies), place = new THREE.Matrix4();
function drawBodies(frame) {
  at(frame, now);
  const scale = 10 ** Number(control("size").value);
  for (let i = 0; i < bodies; i++) {
    const r = data.radius[i] * scale;
    place.makeScale(r, r, r).setPosition(now[3 * i], now[3 * i + 1], now[3 * i + 2]);
    spheres.setMatrixAt(i, place);
  }
  spheres.instanceMatrix.needsUpdate = true;
}

function drawBonds() {
  bonds.visible = control("edges").checked;
  if (!bonds.visible) return;
  const points = bonds.geometry.attributes.position;
  data.edges.forEach(([a, b], k) => {
    const start = [...now.subarray(3 * a, 3 * a + 3)];
    let apart = [0, 1, 2].map((j) => now[3 * b + j] - start[j]);
    if (cell) apart = shifted(apart, Math.round);
    points.array.set([...start, ...apart.map((x, j) => start[j] + x)], 6 * k);
  });
  points.needsUpdate = true;
}

const before = new Float32Array(3 * bodies), after = new Float32Array(3 * bodies);
function drawTrails(frame) {
  trails.visible = control("trails").checked;
  if (!trails.visible) return;
  const { position: points, color } = trails.geometry.attributes;
  const last = Math.floor(frame);
  after.set(now);
  for (let s = 0; s < TRAIL; s++) {
    at(Math.max(last - s, 0), before);
    for (let i = 0; i < bodies; i++) {
      const a = before.subarray(3 * i, 3 * i + 3), b = after.subarray(3 * i, 3 * i + 3);
      // A body that crosses the boundary of the cell leaves no line across it.
      const apart = [b[0] - a[0], b[1] - a[1], b[2] - a[2]];
      const jumps = inCell()
        && shifted(apart, Math.round).some((x, k) => Math.abs(x - apart[k]) > 1e-3 * data.extent);
      points.array.set(jumps ? [...b, ...b] : [...a, ...b], 6 * (s * bodies + i));
      for (const end of [0, 1]) {
        const c = colour[i], opacity = 1 - (s + 1 - end) / TRAIL;
        color.array.set([c.r, c.g, c.b, opacity], 8 * (s * bodies + i) + 4 * end);
      }
    }
    after.set(before);
  }
  points.needsUpdate = color.needsUpdate = true;
}

let frame = 0, playing = !window.matchMedia("(prefers-reduced-motion: reduce)").matches, stale = true, last = 0;
function resize() {
  const { clientWidth: w, clientHeight: h } = renderer.domElement;
  renderer.setSize(w, h, false);
  camera.aspect = w / h;
  // Fits the narrower side, such as on a telephone held upright.
  camera.fov = w > h ? 40 : 2 * Math.atan(Math.tan(Math.PI / 9) * h / w) * 180 / Math.PI;
  camera.updateProjectionMatrix();
  stale = true;
}
function tick(stamp) {
  const seconds = Math.min((stamp - last) / 1000, 0.1);
  last = stamp;
  if (playing && frames > 1) {
    frame += (seconds / SECONDS) * (frames - 1) * 10 ** Number(control("speed").value);
    if (frame > frames - 1) frame = 0;
    stale = true;
  }
  if (stale) {
    drawBodies(frame);
    drawBonds();
    drawTrails(frame);
    control("time").value = frame;
    const k = Math.min(Math.floor(frame), frames - 1), next = Math.min(k + 1, frames - 1);
    const time = data.times[k] + (frame - k) * (data.times[next] - data.times[k]);
    control("now").textContent = `${data.axis} ${time.toPrecision(5)}`;
    stale = false;
  }
  orbit.update();
  renderer.render(scene, camera);
  requestAnimationFrame(tick);
}
function play(on) {
  playing = on;
  control("play").textContent = on ? "Pause" : "Play";
}
control("play").onclick = () => play(!playing);
control("time").oninput = (event) => { play(false); frame = Number(event.target.value); stale = true; };
for (const name of ["size", "trails", "edges", "wrap"]) control(name).oninput = () => { stale = true; };
window.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT" || event.target.tagName === "BUTTON") return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === " ") { play(!playing); event.preventDefault(); }
  if (step) { play(false); frame = Math.max(0, Math.min(frames - 1, Math.round(frame) + step)); stale = true; }
});
control("time").max = frames - 1;
control("trails").checked = frames > 1 && bodies <= 60;
control("edges").checked = data.edges.length > 0;
control("edges").parentElement.hidden = !data.edges.length;
control("wrap").parentElement.hidden = !cell;
for (const name of ["play", "time", "now"]) control(name).hidden = frames < 2;
for (const [name, shade] of data.legend) {
  const entry = document.createElement("div"), dot = document.createElement("i");
  dot.style.background = shade;
  entry.append(dot, name);
  control("legend").append(entry);
}
play(playing);
new ResizeObserver(resize).observe(renderer.domElement);
resize();
requestAnimationFrame(tick);
