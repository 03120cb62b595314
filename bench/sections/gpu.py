"""Section on fits and rollouts on a GPU."""

from ..markdown import rows
from ..record import Record


def figures(records: list[Record]) -> dict[str, str]:
    where = records[0]["environment"]
    parts = {r["part"]: [] for r in records}
    for record in records:
        if "ended" not in record:
            parts[record["part"]].append(record)
    rates = {r["dtype"]: f"{r['teraflops']:.0f}" for r in parts["rates"]}
    fit, evaluation = parts["many_body"]
    return {
        "gpu": where["device"],
        "jax": where["versions"]["jax"],
        "date": where["date"],
        **rates,
        "liquid": _liquid(parts["liquid"]),
        "solves": rows(
            [r["dtype"], f"{r['seconds']:.2f}", f"{r['over_gram']:.1f}"] for r in parts["solves"]
        ),
        # The peak of the process, which begins with float64.
        "memory": f"{parts['solves'][0]['peak_gib']:.0f}",
        "atoms": f"{fit['atoms']:,}",
        "columns": f"{fit['columns']:,}",
        "first": f"{fit['first_seconds']:.0f}",
        "again": f"{fit['seconds']:.1f}",
        "evaluation": f"{evaluation['microseconds_per_atom']:.1f}",
    }


def times(records: list[Record]) -> dict[tuple[int, str], float]:
    """Nanoseconds per atom and step of the liquid, by the number of atoms and the Hamiltonian."""
    return {
        (r["bodies"], r["hamiltonian"]): r["nanoseconds_per_body_step"]
        for r in records
        if r["part"] == "liquid" and "nanoseconds_per_body_step" in r
    }


def _liquid(records: list[Record]) -> str:
    time = times(records)
    names = ("true", "compressed", "compressed, float32", "jax-md")
    sizes = dict.fromkeys(atoms for atoms, _ in time)
    return rows(
        [f"{n:,}", *(f"{time[n, name]:.3g}" if (n, name) in time else "" for name in names)]
        for n in sizes
    )
