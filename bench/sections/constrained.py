"""Systems with a known structure: rods, a Poisson matrix, angles and momenta."""

from ..markdown import rows
from ..record import Record
from ..steep_forces import VALIDATIONS

STEPS = (("path", "between"), ("weights", "weighted"))


def figures(records: list[Record]) -> dict[str, str]:
    kinds: dict[str, list[Record]] = {}
    for record in records:
        kinds.setdefault(record["measured"], []).append(record)
    rods, first = kinds["rods"], kinds["rods"][0]
    magnet = next(r for r in rods if r["system"] == "magnet")
    return {
        "steep": rows(_steep(r) for r in kinds["steep"]),
        "steep_verdict": _verdict(kinds["steep"][-1]["error"], magnet["CLNN"]),
        "validations": str(VALIDATIONS),
        "chnn": _number(magnet["CHNN"]),
        "clnn": _number(magnet["CLNN"]),
        "rods": rows(_on_rods(r) for r in rods),
        "rollouts": str(first["rollouts"]),
        "published_chunks": str(first["published_chunks"]),
        "suite": " ".join(map(_suite, kinds.get("suite", []))) or "not measured without its file.",
        "poisson": rows(_poisson(r) for r in kinds["Poisson"]),
        "dense": rows(_dense(r) for r in kinds["dense"]),
        "published_width": f"{kinds['dense'][0]['published_width']:,}",
    }


def _on_rods(record: Record) -> list[str]:
    names = ("HNN", "CHNN", "CLNN", "one_solve", "refined", "true_law", "goal")
    shown = ("" if record[name] is None else _number(record[name]) for name in names)
    return [record["system"], str(record["chunks"]), *shown]


def _steep(record: Record) -> list[str]:
    steps = ["steep units", *(name for name, key in STEPS if record[key])]
    chosen = [str(record["units"]), f"{record['power']:g}" if record["weighted"] else ""]
    return [", ".join(steps), *chosen, _number(record["validation"]), _number(record["error"])]


def _verdict(error: float, published: float) -> str:
    if error < published:
        return f"With all three the error is {published / error:,.0f} times below CLNN's."
    return "Even with all three the error stays above CLNN's: a miss."


def _suite(record: Record) -> str:
    error, floor, goal = (_number(record[name]) for name in ("position_error", "true_law", "goal"))
    kept_out = f"on {record['rollouts']} trajectories that were kept out"
    return f"position error {error} {kept_out}; the true law has {floor}, the goal is {goal}."


def _poisson(record: Record) -> list[str]:
    names = ("field_error", "goal", "rollout_error", "length_drift")
    return [f"{record['noise']:.1%}", *(_number(record[name]) for name in names)]


def _dense(record: Record) -> list[str]:
    figures = (_number(record[name]) for name in ("published", "error", "goal"))
    return [record["system"], *figures, str(record["units"]), f"{record['seconds']:.0f}"]


def _number(x: float) -> str:
    return f"{x:.1e}"
