"""Section on time, memory, precision and output files of rollouts."""

from ..markdown import rows
from ..record import Record

Times = dict[tuple[str, int, str], Record]


def figures(records: list[Record], files: list[Record]) -> dict[str, str]:
    kinds = {k: [r for r in records if r["measured"] == k] for k in ("time", "precision", "curve")}
    million = [r for r in kinds["time"] if "times_10648_bodies" in r]
    scans = [r for r in records if r.get("times_lax.scan by hand")]
    return {
        "times": _times(kinds["time"]),
        "million": f"{million[0]['bodies']:,}",
        "memory": ", ".join(f"{r['peak_gib']:.1f} GiB ({r['hamiltonian']})" for r in million),
        "growth": ", ".join(f"{r['times_10648_bodies']:.2f} ({r['hamiltonian']})" for r in million),
        "scans": ", ".join(
            f"{r['times_lax.scan by hand']:.2f} ({r['bodies']:,} bodies)" for r in scans
        ),
        "curves": rows(
            [r["system"], r["energy"], r["form"], f"{r['stated_error']:.0e}"]
            for r in kinds["curve"]
        ),
        "precision": rows(_precision(r, kinds["precision"]) for r in kinds["precision"]),
        **_files(*files),
    }


def _files(speed: Record, share: Record) -> dict[str, str]:
    return {
        "atoms": f"{speed['atoms']:,}",
        "frames": str(speed["frames"]),
        "plain": f"{speed['plain_mb_s']:.0f}",
        "at_once": f"{speed['at_once_mb_s']:.0f}",
        "frame_by_frame": f"{speed['frame_by_frame_mb_s']:.0f}",
        "between": str(share["steps_between_outputs"]),
        "share": f"{100 * share['share']:.2g}%",
    }


def _times(records: list[Record]) -> str:
    time = {(r["system"], r["bodies"], r["hamiltonian"]): r for r in records}

    def row(system: str, bodies: int) -> list[str]:
        ratios = (("compressed", "true"), ("compressed", "jax-md"), ("learned", "compressed"))
        return [system, f"{bodies:,}", *(_over(time, (system, bodies), a, b) for a, b in ratios)]

    return rows(row(*case) for case in dict.fromkeys((r["system"], r["bodies"]) for r in records))


def _over(time: Times, case: tuple[str, int], a: str, b: str) -> str:
    pair = [time.get((*case, name)) for name in (a, b)]
    if None in pair:
        return ""
    first, second = (r["nanoseconds_per_body_step"] for r in pair if r)
    return f"{first / second:.2f}" if first < 10 * second else f"{first / second:.0f}"


def _precision(r: Record, every: list[Record]) -> list[str]:
    name, *narrow = r["hamiltonian"].split(", ")
    wide = next(w for w in every if (w["system"], w["hamiltonian"]) == (r["system"], name))
    ratio = r["nanoseconds_per_body_step"] / wide["nanoseconds_per_body_step"]
    return [
        f"{r['system']}, {r['bodies']}",
        f"{r['steps']:,}",
        r["hamiltonian"],
        f"{r['force_error_of_the_shortening']:.0e}" if narrow else "",
        f"{r['energy_deviation']:.0e}",
        f"{r['energy_change']:.0e}",
        f"{ratio:.2f}" if narrow else "",
    ]
