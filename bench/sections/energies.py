"""Energy over a million steps."""

from ..record import Record


def section(drifts: list[Record], integrators: list[Record]) -> str:
    steps, starts = drifts[0]["steps"], drifts[0]["starts"]
    rows = [
        "### Energy over a million steps",
        "",
        f"{steps:,} Stoermer-Verlet steps of eight bodies from {starts} starts: root mean square "
        "of the energy's error over the true Hamiltonian's, and linear drift over the run with "
        "standard errors from blocks and from the starts, in units of that root mean square; the "
        "first tenth, in which the drawn starts come to equilibrium, is left out of the drift:",
        "",
        "| | | amplitude | drift | by blocks | by starts |",
        "|---|---|---|---|---|---|",
    ]
    for r in drifts:
        ratio = r["amplitude_over_true"]
        shown = "1" if ratio is None else f"{ratio:.3f} +- {r['standard_error']:.3f}"
        drift, blocks, each = (
            r[key] / r["amplitude_rms"]
            for key in ("drift_per_run", "its_standard_error", "standard_error_over_starts")
        )
        rows.append(
            f"| {r['potential']} | {r['hamiltonian']} | {shown} | {drift:.1e} | +- {blocks:.0e} "
            f"| +- {each:.0e} |"
        )
    rows += [
        "",
        f"The same step, {integrators[0]['dt']}, for every integrator, {integrators[0]['steps']:,} "
        "of them, true anharmonic lattice: greatest error of the energy, and its linear drift over "
        "the run:",
        "",
        "| | greatest error | drift | its standard error | time over Stoermer-Verlet's |",
        "|---|---|---|---|---|",
    ]
    for r in integrators:
        over = r["microseconds_per_step"] / integrators[0]["microseconds_per_step"]
        stopped = r["stopped_at_step"]
        ends = "" if stopped is None else f" (until it stopped, step {stopped:,})"
        rows.append(
            f"| {r['integrator']}{ends} | {r['greatest_error']:.0e} | {r['drift_per_run']:.0e} "
            f"| {r['its_standard_error']:.0e} | {over:.1f} |"
        )
    return "\n".join(rows)
