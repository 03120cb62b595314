// Bodies that move by a learned Hamiltonian, in plain JavaScript:
//   const motion = new Motion(model, start);    // the contents of model.json and start.json
//   motion.step(start.dt);                      // Stoermer-Verlet: kick, drift, kick
//   motion.position, motion.momentum            // [x0, y0, x1, y1, ...]
//   motion.energy()
"use strict";

/** The sum of c[k] T_k(x), by Clenshaw's recurrence. */
function clenshaw(c, x) {
  let ahead = 0, beyond = 0;
  for (let k = c.length - 1; k > 0; k--) {
    const next = c[k] + 2 * x * ahead - beyond;
    beyond = ahead;
    ahead = next;
  }
  return c[0] + x * ahead - beyond;
}

const VARIABLES = { // t(s), and dt/ds
  "square": [(s) => s, () => 1],
  "inverse square": [(s) => 1 / s, (s) => -1 / (s * s)],
  "root": [Math.sqrt, (s) => 0.5 / Math.sqrt(s)],
  "logarithm": [Math.log, (s) => 1 / s],
};

/** A polynomial or a spline in a variable of s, a square. It continues linearly in s outside of its span. */
class Curve {
  constructor(json) {
    Object.assign(this, json);
    [this.of, this.by] = VARIABLES[this.variable];
    this.first = this.of(this.span[0]);
    this.stretch = 2 / (this.of(this.span[1]) - this.first);
  }
  value(s) {
    if (this.end !== null && s >= this.end) return 0;
    const within = Math.min(Math.max(s, this.span[0]), this.span[1]);
    const x = (this.of(within) - this.first) * this.stretch - 1;
    return this.factor * this.inside(x) + this.slope(within) * (s - within);
  }
  /** The derivative with respect to s. */
  slope(s) {
    if (this.end !== null && s >= this.end) return 0;
    const within = Math.min(Math.max(s, this.span[0]), this.span[1]);
    const x = (this.of(within) - this.first) * this.stretch - 1;
    return this.factor * this.slopeInside(x) * this.stretch * this.by(within);
  }
  inside(x) {
    if (!this.pieces) return clenshaw(this.coefficients, x);
    const [t, [a, b, c, d]] = this.piece(x);
    return a + t * (b + t * (c + t * d));
  }
  slopeInside(x) {
    if (!this.pieces) return clenshaw(this.derivative, x);
    const [t, [, b, c, d]] = this.piece(x);
    return (b + t * (2 * c + t * 3 * d)) * this.pieces.length / 2;
  }
  piece(x) {
    const place = (x + 1) * this.pieces.length / 2;
    const k = Math.min(Math.max(Math.trunc(place), 0), this.pieces.length - 1);
    return [place - k, this.pieces[k]];
  }
}

/** A curve between two distances, and power laws of the force outside of them. */
class Tailed {
  constructor(json) {
    this.inner = new Curve(json);
    this.from = json.tails.starts.map((r) => (r === null ? Infinity : r * r));
    this.powers = json.tails.exponents.map((m) => (m + 1) / 2);
  }
  split(s) {
    const within = Math.min(Math.max(s, this.from[0]), this.from[1]);
    return [within, Math.log(s / within), this.powers[s < this.from[0] ? 0 : 1]];
  }
  value(s) {
    const [within, log, power] = this.split(s);
    const integral = Math.abs(power * log) < 1e-8 ? log : Math.expm1(power * log) / power;
    return this.inner.value(within) + this.inner.slope(within) * within * integral;
  }
  slope(s) {
    const [within, log, power] = this.split(s);
    return this.inner.slope(within) * Math.exp((power - 1) * log);
  }
}

const curveOf = (json) => (json.tails ? new Tailed(json) : new Curve(json));

class Motion {
  constructor(model, start) {
    this.count = start.position.length;
    this.dimension = start.position[0].length;
    this.position = Float64Array.from(start.position.flat());
    this.momentum = Float64Array.from(start.momentum.flat());
    this.mass = start.mass;
    this.held = start.fixed.slice(); // true for bodies that the motion leaves where they are
    this.time = start.time;
    this.cell = start.cell;
    this.inverse = start.inverse;
    this.kind = start.kind;
    this.offset = start.offset;
    this.model = model;
    this.curves = model.pairs.map((types) => types.map(curveOf));
    this.kinetic = model.kinetic.map(curveOf);
    this.apart = new Float64Array(this.dimension);
    this.pairs = start.pairs;
    this.listed = null; // positions at which pairs within the cutoff were listed
    this.forces = null; // -dV/dq at the present positions
  }

  step(dt) {
    this.kick(dt / 2);
    this.drift(dt);
    this.kick(dt / 2);
    this.time += dt;
  }
  kick(dt) {
    this.forces ??= this.force();
    for (let i = 0, k = 0; i < this.count; i++)
      for (let a = 0; a < this.dimension; a++, k++) if (!this.held[i]) this.momentum[k] += dt * this.forces[k];
  }
  drift(dt) {
    const d = this.dimension, v = this.velocity();
    for (let k = 0; k < v.length; k++) if (!this.held[Math.floor(k / d)]) this.position[k] += dt * v[k];
    this.forces = null;
  }
  /** Puts body i at x, at rest. */
  place(i, x) {
    this.position.set(x, i * this.dimension);
    this.momentum.fill(0, i * this.dimension, (i + 1) * this.dimension);
    this.forces = null;
  }

  /** dH/dp. */
  velocity() {
    const d = this.dimension, v = new Float64Array(d * this.count);
    for (let i = 0; i < this.count; i++) {
      const scale = this.perMass(this.speedSquared(i), (f, s) => 2 * f.slope(s), 1);
      for (let k = i * d; k < (i + 1) * d; k++) v[k] = scale * this.momentum[k] / this.mass[i];
    }
    return v;
  }
  perMass(square, of, newtonian) {
    let sum = this.model.newtonian ? newtonian : 0;
    for (const f of this.kinetic) sum += of(f, square);
    return sum;
  }
  speedSquared(i) {
    let sum = 0;
    for (let k = i * this.dimension; k < (i + 1) * this.dimension; k++) sum += (this.momentum[k] / this.mass[i]) ** 2;
    return sum;
  }

  /** -dV/dq. */
  force() {
    const d = this.dimension, q = this.position, force = new Float64Array(q.length);
    for (const pair of this.near()) {
      const pull = -2 * (pair.coupling ?? 1) * this.slope(this.square(pair), pair.type);
      for (let k = 0; k < d; k++) {
        force[pair.j * d + k] += pull * this.apart[k];
        force[pair.i * d + k] -= pull * this.apart[k];
      }
    }
    const { uniform, stiffness, pull } = this.model.field;
    for (let i = 0, k = 0; i < this.count; i++)
      for (let a = 0; a < d; a++, k++)
        force[k] -= this.mass[i] * (uniform[a] ?? 0) + stiffness * q[k] + (pull[a] ?? 0);
    return force;
  }
  energy() {
    let sum = this.offset;
    for (const pair of this.near())
      sum += (pair.coupling ?? 1) * this.potential(this.square(pair), pair.type);
    const d = this.dimension, { uniform, stiffness, pull } = this.model.field;
    for (let i = 0; i < this.count; i++) {
      const square = this.speedSquared(i);
      sum += this.mass[i] * this.perMass(square, (f, s) => f.value(s), square / 2);
      for (let a = 0; a < d; a++) {
        const q = this.position[i * d + a];
        sum += this.mass[i] * (uniform[a] ?? 0) * q + stiffness * q * q / 2 + (pull[a] ?? 0) * q;
      }
    }
    return sum;
  }
  slope(s, type) {
    let sum = 0;
    for (const types of this.curves) if (type < types.length) sum += types[type].slope(s);
    for (const [n, c] of this.model.powers) sum += c * n / 2 * s ** (n / 2 - 1);
    return sum;
  }
  potential(s, type) {
    let sum = 0;
    for (const types of this.curves) if (type < types.length) sum += types[type].value(s);
    for (const [n, c] of this.model.powers) sum += c * s ** (n / 2);
    return sum;
  }

  /** The squared length of q_j - q_i, which it leaves in `apart`. */
  square({ i, j, image }) {
    const d = this.dimension, r = this.apart, q = this.position;
    for (let k = 0; k < d; k++) r[k] = q[j * d + k] - q[i * d + k] + (image ? image[k] : 0);
    if (this.cell && !image) this.nearest(r);
    let sum = 0;
    for (let k = 0; k < d; k++) sum += r[k] * r[k];
    return sum;
  }
  /** Changes r to its nearest image, or with Math.floor to that inside the cell. */
  nearest(r, round = Math.round) {
    const d = this.dimension, steps = new Array(d);
    for (let k = 0; k < d; k++) {
      let part = 0;
      for (let a = 0; a < d; a++) part += r[a] * this.inverse[a][k];
      steps[k] = round(part);
    }
    for (let a = 0; a < d; a++) for (let k = 0; k < d; k++) r[k] -= steps[a] * this.cell[a][k];
    return r;
  }
  /** Joined pairs: those of the start, or with a cutoff all that are near enough. */
  near() {
    if (this.model.cutoff === null) return this.pairs;
    const { cutoff, skin } = this.model, d = this.dimension, q = this.position;
    let farthest = this.listed ? 0 : Infinity;
    for (let i = 0; i < q.length && this.listed; i += d) {
      let moved = 0;
      for (let k = i; k < i + d; k++) moved += (q[k] - this.listed[k]) ** 2;
      farthest = Math.max(farthest, moved);
    }
    if (!(farthest > (skin / 2) ** 2)) return this.pairs;
    this.pairs = [];
    for (let i = 0; i < this.count; i++)
      for (let j = i + 1; j < this.count; j++)
        if (this.square({ i, j }) < (cutoff + skin) ** 2) this.pairs.push({ i, j, type: this.type(i, j) });
    this.listed = q.slice();
    return this.pairs;
  }
  /** Number of the pair of kinds (0, 0), (0, 1), ..., (1, 1), ... */
  type(i, j) {
    const low = Math.min(this.kind[i], this.kind[j]), high = Math.max(this.kind[i], this.kind[j]);
    return low * this.model.kinds - low * (low - 1) / 2 + high - low;
  }
}

if (typeof module !== "undefined") module.exports = { Motion };
