"""Section on the energy over a million steps."""

from ..markdown import rows
from ..record import Record


def figures(drifts: list[Record], integrators: list[Record]) -> dict[str, str]:
    return {
        "steps": f"{drifts[0]['steps']:,}",
        "starts": str(drifts[0]["starts"]),
        "drifts": rows(_drift(r) for r in drifts),
        "dt": str(integrators[0]["dt"]),
        "integrator_steps": f"{integrators[0]['steps']:,}",
        "integrators": rows(_integrator(r, integrators[0]) for r in integrators),
    }


def _drift(r: Record) -> list[str]:
    ratio = r["amplitude_over_true"]
    drift, blocks, starts = (
        r[key] / r["amplitude_rms"]
        for key in ("drift_per_run", "its_standard_error", "standard_error_over_starts")
    )
    return [
        r["potential"],
        r["hamiltonian"],
        "1" if ratio is None else f"{ratio:.3f} +- {r['standard_error']:.3f}",
        f"{drift:.1e}",
        f"+- {blocks:.0e}",
        f"+- {starts:.0e}",
    ]


def _integrator(r: Record, first: Record) -> list[str]:
    stopped = r["stopped_at_step"]
    note = "" if stopped is None else f" (stopped at step {stopped:,})"
    return [
        f"{r['integrator']}{note}",
        f"{r['greatest_error']:.0e}",
        f"{r['drift_per_run']:.0e}",
        f"{r['its_standard_error']:.0e}",
        f"{r['microseconds_per_step'] / first['microseconds_per_step']:.1f}",
    ]
