"""Time, memory and precision of rollouts."""

from ..record import Record


def section(records: list[Record], on_h200: list[Record]) -> str:
    kinds = {k: [r for r in records if r["measured"] == k] for k in ("time", "precision", "curve")}
    time = {(r["system"], r["bodies"], r["hamiltonian"]): r for r in kinds["time"]}
    rows = [
        "### Rollouts",
        "",
        "![Time of a body's step against the number of bodies](bench/results/rollout.png)",
        "",
        "Stoermer-Verlet steps, two cores, side by side in one process, without compilation; the "
        "liquid's include finding neighbours anew (cutoff 2.5, skin 0.4). Learned with 256 units, "
        "and compressed to a relative error of 1e-6; jax-md with its own potential, list and "
        "integrator, from the same state. Times of a step over one another:",
        "",
        "| | bodies | compressed / true | compressed / jax-md | learned / compressed |",
        "|---|---|---|---|---|",
    ]
    for system, bodies in dict.fromkeys((r["system"], r["bodies"]) for r in kinds["time"]):

        def over(a: str, b: str, of: tuple[str, int] = (system, bodies)) -> str:
            pair = [time.get((*of, name)) for name in (a, b)]
            if None in pair:
                return ""
            first, second = (r["nanoseconds_per_body_step"] for r in pair if r)
            return f"{first / second:.2f}" if first < 10 * second else f"{first / second:.0f}"

        cells = (
            over("compressed", "true"),
            over("compressed", "jax-md"),
            over("learned", "compressed"),
        )
        rows.append(f"| {system} | {bodies:,} | " + " | ".join(cells) + " |")
    million = [r for r in kinds["time"] if "times_10648_bodies" in r]
    memory = ", ".join(f"{r['hamiltonian']} {r['peak_gib']:.1f}" for r in million)
    growth = ", ".join(f"{r['hamiltonian']} {r['times_10648_bodies']:.2f}" for r in million)
    scans = [r for r in records if r.get("times_lax.scan by hand")]
    scan = ", ".join(f"{r['times_lax.scan by hand']:.2f} ({r['bodies']:,})" for r in scans)
    curves = "; ".join(
        f"{r['system']}, {r['energy']}: {r['form']}, {r['stated_error']:.0e}"
        for r in kinds["curve"]
    )
    rows += [
        "",
        f"- A lattice of {million[0]['bodies']:,} bodies takes GiB: {memory}. A body's step there "
        f"takes that of 10,648 bodies times: {growth}.",
        f"- `hgn.rollout` over a `lax.scan` of the same step by hand, by bodies: {scan}.",
        f"- The curves, with the greatest error of their force: {curves}.",
        f"- {_h200(on_h200)}",
        "",
        "Precision: the same in float32. Random units cancel, so that a learned model in float32 "
        "follows other forces; the curve made from it in float64 does not. Errors of all forces "
        "against float64, and deviation and change of the energy, relative to the kinetic one:",
        "",
        "| | steps | Hamiltonian | force error by float32 | energy deviates | changes | time "
        "over float64's |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in kinds["precision"]:
        name, *narrow = r["hamiltonian"].split(", ")
        wide = next(
            w for w in kinds["precision"] if (w["system"], w["hamiltonian"]) == (r["system"], name)
        )
        error = f"{r['force_error_of_the_shortening']:.0e}" if narrow else ""
        over_wide = r["nanoseconds_per_body_step"] / wide["nanoseconds_per_body_step"]
        rows.append(
            f"| {r['system']}, {r['bodies']} | {r['steps']:,} | {r['hamiltonian']} | {error} "
            f"| {r['energy_deviation']:.0e} | {r['energy_change']:.0e} "
            f"| {f'{over_wide:.2f}' if narrow else ''} |"
        )
    return "\n".join(rows)


def _h200(records: list[Record]) -> str:
    """Nanoseconds of a body's step."""
    sizes: dict[int, list[str]] = {}
    for r in records:
        shown = f"{r['hamiltonian']} {r['nanoseconds_per_body_step']:.3g}"
        sizes.setdefault(r["bodies"], []).append(shown)
    liquids = "; ".join(f"{n:,} atoms: {', '.join(shown)}" for n, shown in sizes.items())
    return (
        f"The liquid on one {records[0]['environment']['device']}, nanoseconds of an atom's step: "
        f"{liquids} (commit {records[0]['commit']}; what followed has not been timed there)."
    )
