// Draws a Motion, and lets its bodies be dragged. See web.py for the files and the scene.
"use strict";
const control = (name) => document.getElementById(name);
const [model, start, scene] = ["model", "start", "scene"].map((name) => JSON.parse(control(name).textContent));
const canvas = control("view"), pen = canvas.getContext("2d");
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d46"]; // as in hgn.plots
const TRAIL = 300; // points of a trail
const BUDGET = 12; // milliseconds of computing in a frame at most
const FEW = 60; // bodies up to which trails and edges are shown at first

let motion = new Motion(model, start), energy0 = motion.energy();
const n = motion.count, d = motion.dimension, cell = start.cell;

// The view: space is turned by `turn`, moved by `middle`, and scaled to pixels by `scale`.
const inSpace = (x) => [x[0], x[1] ?? 0, x[2] ?? 0];
const spread = extent();
let middle = spread.middle, zoom = 1, turn = [[1, 0, 0], [0, 1, 0], [0, 0, 1]], scale = 1;
if (d === 3 && cell) { rotate(0.5, 0.3); }

/** Middle and half width of what is shown first. */
function extent() {
  const points = cell ? corners() : start.position.map(inSpace);
  if (scene.reference) points.push(...scene.reference.position.flat().map(inSpace));
  const low = [0, 1, 2].map((k) => points.reduce((m, x) => Math.min(m, x[k]), Infinity));
  const high = [0, 1, 2].map((k) => points.reduce((m, x) => Math.max(m, x[k]), -Infinity));
  const half = Math.max(...low.map((x, k) => high[k] - x)) / 2 || 1;
  return { middle: low.map((x, k) => (x + high[k]) / 2), half: half * (cell ? (d === 3 ? 1.45 : 1.08) : 1.25) };
}
function corners() {
  const found = [];
  for (let c = 0; c < 2 ** d; c++)
    found.push(inSpace(cell[0].map((_, k) => cell.reduce((x, row, a) => x + ((c >> a) & 1) * row[k], 0))));
  return found;
}
function rotate(right, up) {
  const [cr, sr, cu, su] = [Math.cos(right), Math.sin(right), Math.cos(up), Math.sin(up)];
  const by = [[cr, 0, sr], [su * sr, cu, -su * cr], [-cu * sr, su, cu * cr]];
  turn = by.map((row) => [0, 1, 2].map((k) => row.reduce((x, r, a) => x + r * turn[a][k], 0)));
}
/** Pixels across and down, and the height above the screen. */
function seen(x) {
  const r = inSpace(x).map((c, k) => c - middle[k]);
  const [across, up, out] = turn.map((row) => row[0] * r[0] + row[1] * r[1] + row[2] * r[2]);
  return [canvas.width / 2 + scale * across, canvas.height / 2 - scale * up, out];
}
const at = (i) => Array.from(motion.position.subarray(i * d, (i + 1) * d));
const shown = (i) => (cell ? motion.nearest(at(i), Math.floor) : at(i));

const typical = [...start.mass].sort((a, b) => a - b)[Math.floor(n / 2)];
const colour = start.mass.map((m, i) => COLOURS[(model.kinds > 1 ? start.kind[i] : n <= COLOURS.length * 2 ? i : 0) % COLOURS.length]);
const gap = nearestGap();
/** Median distance of a body to its nearest neighbour. */
function nearestGap() {
  const points = start.position.slice(0, 300);
  const least = points.map((x) => Math.min(...points.map((y) => Math.hypot(...x.map((c, k) => c - y[k])) || Infinity)));
  return Math.min(least.sort((a, b) => a - b)[Math.floor(least.length / 2)], 2 * spread.half);
}
/** Radius in pixels: neither hides neighbours nor vanishes. */
function radius(i) {
  const size = Math.min(Math.max(Math.cbrt(start.mass[i] / typical), 0.6), 1.7);
  return size * Math.min(Math.max(0.17 * scale * gap, 3 * devicePixelRatio), 12 * devicePixelRatio);
}

let trails = start.position.map(() => []);
function remember() {
  for (let i = 0; i < n; i++) {
    trails[i].push(at(i));
    if (trails[i].length > TRAIL) trails[i].shift();
  }
}

function segment(a, b) {
  pen.beginPath();
  pen.moveTo(a[0], a[1]);
  pen.lineTo(b[0], b[1]);
  pen.stroke();
}
function drawCell() {
  const found = corners().map(seen);
  for (let c = 0; c < found.length; c++)
    for (let a = 0; a < d; a++) if (!(c & (1 << a))) segment(found[c], found[c | (1 << a)]);
}
function drawEdges() {
  for (const pair of motion.near()) {
    if (pair.i === pair.j) continue;
    if (model.cutoff !== null && motion.square(pair) > model.cutoff ** 2) continue;
    motion.square(pair); // leaves the vector in `apart`
    const from = shown(pair.i);
    segment(seen(from), seen(from.map((x, k) => x + motion.apart[k])));
  }
}
function drawTrails() {
  for (let i = 0; i < n; i++) {
    pen.strokeStyle = colour[i];
    const past = trails[i];
    for (let k = 1; k < past.length; k++) {
      const [a, b] = [past[k - 1], past[k]].map((x) => (cell ? motion.nearest(x.slice(), Math.floor) : x));
      // A body that crosses the boundary of the cell leaves no line across it.
      if (cell && a.some((x, m) => Math.abs(b[m] - x - past[k][m] + past[k - 1][m]) > 1e-6 * spread.half)) continue;
      pen.globalAlpha = 0.7 * k / past.length;
      segment(seen(a), seen(b));
    }
  }
  pen.globalAlpha = 1;
}
/** Positions of the reference now, linear between its times. */
function reference() {
  const { times, position } = scene.reference, k = times.findIndex((t) => t > motion.time) - 1;
  if (k < 0) return [];
  const part = (motion.time - times[k]) / (times[k + 1] - times[k]);
  return position[k].map((x, i) => x.map((c, a) => c + part * (position[k + 1][i][a] - c)));
}
function circle([x, y], r) {
  pen.beginPath();
  pen.arc(x, y, r, 0, 2 * Math.PI);
}
function draw() {
  const style = getComputedStyle(document.documentElement), ratio = devicePixelRatio;
  const [line, text, page] = ["--line", "--text", "--page"].map((name) => style.getPropertyValue(name).trim());
  scale = zoom * Math.min(canvas.width, canvas.height) / (2 * spread.half);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.lineWidth = 1.2 * ratio;
  pen.strokeStyle = line;
  if (cell) drawCell();
  if (control("edges").checked) drawEdges();
  if (control("trails").checked) drawTrails();
  const places = start.position.map((_, i) => seen(shown(i)));
  const order = places.map((_, i) => i).sort((a, b) => places[a][2] - places[b][2]);
  for (const i of order) {
    circle(places[i], radius(i));
    pen.fillStyle = start.fixed[i] ? line : colour[i];
    pen.fill();
    pen.lineWidth = ratio;
    pen.strokeStyle = page;
    pen.stroke();
  }
  if (scene.reference) {
    pen.strokeStyle = text;
    pen.lineWidth = 1.5 * ratio;
    reference().forEach((x, i) => { circle(seen(x), radius(i) + 3 * ratio); pen.stroke(); });
  }
  if (scene.names) drawNames(places, text, ratio);
}
/** Names that do not cover one another. */
function drawNames(places, text, ratio) {
  pen.fillStyle = text;
  pen.font = `${13 * ratio}px system-ui, sans-serif`;
  const taken = [];
  places.forEach(([x, y], i) => {
    const box = [x + radius(i) + 5 * ratio, y + 4 * ratio, pen.measureText(scene.names[i]).width];
    if (taken.some((b) => Math.abs(b[1] - box[1]) < 14 * ratio && b[0] < box[0] + box[2] && box[0] < b[0] + b[2])) return;
    taken.push(box);
    pen.fillText(scene.names[i], box[0], box[1]);
  });
}

const digits = (x) => x.toPrecision(5);
function readOut() {
  const energy = motion.energy(), change = energy - energy0;
  control("time").textContent = `time ${digits(motion.time)}`;
  control("energy").textContent = `energy ${digits(energy)}, change ${change.toExponential(1)}`;
}

let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches, due = 0, grasp = null;
function tick() {
  if (playing) advance();
  draw();
  readOut();
  requestAnimationFrame(tick);
}
function advance() {
  const until = performance.now() + BUDGET;
  for (due += 2 ** Number(control("speed").value); due >= 1; due--) {
    if (grasp?.body !== undefined) pull(spread.half / 200);
    motion.step(start.dt);
    if (performance.now() > until) due = Math.min(due, 1);
  }
  if (grasp?.body !== undefined) energy0 = motion.energy();
  remember();
}
/** Moves the dragged body towards the pointer, by so much at most, so that it pushes others gently. */
function pull(most) {
  const here = seen(shown(grasp.body)), move = [(grasp.x - here[0]) / scale, (here[1] - grasp.y) / scale];
  const part = Math.min(1, most / Math.hypot(...move)) || 0;
  const step = [0, 1, 2].map((k) => part * (turn[0][k] * move[0] + turn[1][k] * move[1]));
  motion.place(grasp.body, at(grasp.body).map((x, k) => x + step[k]));
}

const pointer = (event) => {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * devicePixelRatio, (event.clientY - box.top) * devicePixelRatio];
};
canvas.onpointerdown = (event) => {
  const [x, y] = pointer(event);
  const far = start.position.map((_, i) => Math.hypot(seen(shown(i))[0] - x, seen(shown(i))[1] - y) - radius(i));
  const nearest = far.indexOf(Math.min(...far));
  grasp = { x, y, body: far[nearest] < 8 * devicePixelRatio ? nearest : undefined };
  if (grasp.body !== undefined) motion.held[grasp.body] = true;
  canvas.setPointerCapture(event.pointerId);
};
canvas.onpointermove = (event) => {
  if (!grasp) return;
  const [x, y] = pointer(event), moved = [x - grasp.x, y - grasp.y];
  [grasp.x, grasp.y] = [x, y];
  if (grasp.body !== undefined) {
    if (!playing) { pull(Infinity); energy0 = motion.energy(); }
  } else if (d === 3 && !event.shiftKey) rotate(moved[0] / 200 / devicePixelRatio, moved[1] / 200 / devicePixelRatio);
  else middle = middle.map((c, k) => c - (turn[0][k] * moved[0] - turn[1][k] * moved[1]) / scale);
};
canvas.onpointerup = canvas.onpointercancel = () => {
  if (grasp?.body !== undefined) {
    motion.place(grasp.body, at(grasp.body));
    motion.held[grasp.body] = start.fixed[grasp.body];
    energy0 = motion.energy();
  }
  grasp = null;
};
canvas.addEventListener("wheel", (event) => {
  zoom *= Math.exp(-event.deltaY / 500);
  event.preventDefault();
}, { passive: false });

function play(on) {
  playing = on;
  control("play").textContent = on ? "Pause" : "Play";
}
control("play").onclick = () => play(!playing);
control("again").onclick = () => {
  motion = new Motion(model, start);
  energy0 = motion.energy();
  trails = start.position.map(() => []);
};
addEventListener("keydown", (event) => {
  if (event.key !== " " || ["INPUT", "BUTTON"].includes(event.target.tagName)) return;
  play(!playing);
  event.preventDefault();
});
const joined = motion.near().length, loose = joined > 3 * n;
control("edges").checked = joined > 0 && !loose;
control("edges").parentElement.hidden = !joined;
control("trails").checked = n <= FEW && (loose || !joined);
play(playing);
new ResizeObserver(() => {
  canvas.width = canvas.clientWidth * devicePixelRatio;
  canvas.height = canvas.clientHeight * devicePixelRatio;
}).observe(canvas);
requestAnimationFrame(tick);
