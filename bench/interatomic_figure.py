"""Figure of predicted against reference forces, errors, and the learning curve."""

import statistics

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from .interatomic_published import ELEMENTS
from .record import Record

COLOURS = {"hgn_jax": "#0072B2", "MTP": "#D55E00", "SNAP": "#009E73", "qSNAP": "#CC79A7"}
MARKERS = {"hgn_jax": "o", "MTP": "s", "SNAP": "^", "qSNAP": "v"}


def draw(records: list[Record]) -> Figure:
    """One panel per element with test frames, errors of all elements, and the learning curve."""
    with_parity = {
        r["system"]: r for r in records if r["measured"] == "errors" and "parity" in r
    }  # fmt: skip
    shown = list(with_parity.values())[:3]
    curve = any(r["measured"] == "learning curve" for r in records)
    figure = Figure(figsize=(4.0 * max(len(shown), 2), 7.4), layout="constrained")
    above, below = figure.subfigures(2, 1)
    for ax, record in zip(above.subplots(1, max(len(shown), 1), squeeze=False)[0], shown):
        _parity(ax, record)
    panels = below.subplots(1, 1 + curve, squeeze=False)[0]
    _errors(panels[0], records)
    if curve:
        _curve(panels[1], records)
    return figure


def _parity(ax: Axes, record: Record) -> None:
    reference, predicted = record["parity"]["reference"], record["parity"]["predicted"]
    ends = [min(reference), max(reference)]
    ax.plot(ends, ends, color="0.6", lw=1)
    ax.plot(reference, predicted, ".", color=COLOURS["hgn_jax"], ms=3, alpha=0.5)
    ax.set(
        xlabel="force component, DFT (eV/A)",
        ylabel="force component, predicted (eV/A)",
        title=f"{record['system']}, unseen frames: MAE {record['force_mae']:.4f} eV/A",
        box_aspect=1,
    )
    ax.grid(alpha=0.25)


def _errors(ax: Axes, records: list[Record]) -> None:
    most: dict[str, int] = {}
    for r in records:
        if r["measured"] == "errors" and r["system"] in ELEMENTS:
            most[r["system"]] = max(r["units"], most.get(r["system"], 0))
    for model in ("hgn_jax", "MTP", "qSNAP", "SNAP"):
        values = [
            _ours(records, system, units)
            if model == "hgn_jax"
            else ELEMENTS[system][model]["force_mae"]
            for system, units in most.items()
        ]
        face = COLOURS[model] if model == "hgn_jax" else "none"
        style = {"color": COLOURS[model], "label": model, "ms": 8, "mfc": face}
        ax.plot(list(most), values, MARKERS[model], **style)
    ax.set(ylabel="force MAE (eV/A)", title="Errors beside published potentials")
    ax.grid(alpha=0.25, axis="y")
    if most:
        ax.set_yscale("log")
        ax.legend(fontsize=8)


def _ours(records: list[Record], system: str, units: int) -> float:
    """Median over the seeds."""
    return statistics.median(
        r["force_mae"]
        for r in records
        if (r["measured"], r["system"], r.get("units")) == ("errors", system, units)
        and r["seed"] != "mean"
    )


def _curve(ax: Axes, records: list[Record]) -> None:
    curve = sorted(
        (r for r in records if r["measured"] == "learning curve"), key=lambda r: r["frames"]
    )
    frames = [r["frames"] for r in curve]
    ax.plot(frames, [r["force_mae"] for r in curve], "o-", color="#0072B2", label="MAE")
    ax.plot(frames, [r["force_rmse"] for r in curve], "s--", color="#D55E00", label="RMSE")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="training frames",
        ylabel="force error, test (eV/A)",
        title=f"{curve[0]['system']}: error by number of training frames",
    )
    ax.set_xticks(frames, [str(f) for f in frames], minor=False)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.grid(alpha=0.25)
    ax.legend(fontsize=8)
