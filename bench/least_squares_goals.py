"""Goals of the least squares, and whether they are met."""

import math

import numpy as np

from .problems import OURS
from .record import Record

DENSE, SPRINGS = "dense fit", "springs"


def compare(records: list[Record]) -> list[Record]:
    """Records with the ratios of ours to other solvers, followed by the goals."""
    records = ours_over_theirs(records)
    return records + [g | {"environment": records[0]["environment"]} for g in goals(records)]


def ours_over_theirs(records: list[Record]) -> list[Record]:
    """Records of the solvers with `ratio`, and the ratio of errors in the details."""
    ours = {shape(r): r for r in records if r["case"] == "solvers" and r["what"] == OURS}

    def ratio(record: Record) -> Record:
        if record["case"] != "solvers" or record["seconds"] is None:
            return record
        mine = ours[shape(record)]
        errors = {"error_ratio": mine["error"] / record["error"]}
        return record | {
            "ratio": mine["seconds"] / record["seconds"],
            "details": record["details"] | errors,
        }

    return [ratio(r) for r in records]


def shape(record: Record) -> tuple[int, int]:
    return record["rows"], record["units"]


def goals(records: list[Record]) -> list[Record]:
    """Value reached for every goal."""
    of: dict[str, list[Record]] = {}
    for record in records:
        of.setdefault(record["case"], []).append(record)
    dense = [r for r in of[DENSE] if r["details"]["nodes"] == 8 and r["units"] <= 1024]
    largest = max(dense, key=lambda r: r["rows"] * r["units"])
    (flow,), (single,), (two,) = of["stream"], of["float32 fits"], of["two processes"]
    theirs = [r for r in of["solvers"] if r["seconds"] and r["what"].startswith(("numpy", "scipy"))]
    double = [r for r in of["accuracy"] if r["dtype"] == "float64" and r["what"].startswith("QR")]
    calibrated = [r for r in of["calibration"] if r["what"].startswith(f"{SPRINGS}, uniform")]
    return [
        _goal(f"fit over Z^T Z, {words(largest)}", largest["ratio"], most=2.5),
        *(_goal(f"exponent in {name}", value, 0.9, 1.1)
          for name, value in exponents(of[DENSE]).items()),
        _goal(f"GiB for a stream, {words(flow)}", flow["details"]["peak_gib"], most=4),
        _goal("time over NumPy's or SciPy's, worst", max(r["ratio"] for r in theirs), most=1),
        _goal("error over NumPy's or SciPy's, worst",
              max(r["details"]["error_ratio"] for r in theirs), most=1),
        *(_goal(f"radial force, {r['what']}, worst error", r["error"], most=1e-12)
          for r in double),
        _goal("float32, worst mean square error", single["error"], most=1e-9),
        *(_goal(f"{rate} error / deviation, noise {r['details']['noise']:g}",
                r["details"]["rms"][rate], 0.8, 1.25)
          for r in calibrated for rate in ("force", "velocity", "energy")),
        _goal("speed-up by a second process", two.get("ratio"), least=1.6),
    ]  # fmt: skip


def _goal(
    what: str, value: float | None, least: float = -math.inf, most: float = math.inf
) -> Record:
    words = f"<= {most:g}" if least == -math.inf else f">= {least:g}"
    if -math.inf < least < most < math.inf:
        words = f"{least:g} .. {most:g}"
    return {
        "case": "goal",
        "what": what,
        "value": value,
        "goal": words,
        "met": value is not None and least <= value <= most,
    }


def exponents(records: list[Record]) -> dict[str, float]:
    """Exponents of a fit's time in snapshots (from a tenth of the most rows on), and of its time
    per graph in nodes, with as many bodies or as many graphs as the fit with most nodes."""
    small = [r for r in records if r["details"]["nodes"] == 8]
    most = max(r["rows"] for r in small)
    result = {}
    for units in sorted({r["units"] for r in small}):
        group = [r for r in small if r["units"] == units and r["rows"] >= most / 10]
        if len(group) > 1:
            rows = [r["details"]["rows"] for r in group]
            result[f"snapshots, {units} units"] = exponent(rows, [r["seconds"] for r in group])
    last = max(records, key=lambda r: r["details"]["nodes"])
    for name, size in (("bodies", lambda r: r["rows"]),
                       ("graphs", lambda r: r["rows"] / r["details"]["nodes"])):  # fmt: skip
        group = [r for r in records if r["units"] == last["units"] and size(r) == size(last)]
        each = [r["seconds"] / r["details"]["graphs"] for r in group]
        result[f"nodes, {name} equal"] = exponent([r["details"]["nodes"] for r in group], each)
    return result


def exponent(x: list[float], y: list[float]) -> float:
    """Slope of log y over log x, by least squares."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def words(record: Record) -> str:
    return f"{record['rows']:.0e} x {record['units']}".replace("e+0", "e")
