"""The solve."""

from ..record import Record


def section(records: list[Record]) -> str:
    rows = [
        "### Least squares",
        "",
        "![Time, solvers side by side, accuracy, the choice of the ridge]"
        "(bench/results/least_squares.png)",
        "",
        "One core (the stream and the second process: a core each). Z^T Z is a jitted product of "
        "the same shape. Errors over standard deviations are root mean squares on unseen data, "
        "springs with noise on velocities and forces, uniform weights:",
        "",
        "| | reached | goal |",
        "|---|---|---|",
    ]
    for goal in (r for r in records if r["case"] == "goal"):
        value = goal["value"]
        shown = "failed" if value is None else f"{value:.1e}" if value < 1e-3 else f"{value:.2f}"
        missed = "" if goal["met"] else " (missed)"
        rows.append(f"| {goal['what']} | {shown}{missed} | {goal['goal']} |")
    other = [
        f"{r['what'].replace(',', ' with', 1)} {r['details']['rms']['force']:.1f}"
        for r in records
        if r["case"] == "calibration" and not r["what"].startswith("springs, uniform")
    ]
    rows += [
        "",
        "Standard deviations of forces are overconfident where the model is wrong, or the weights "
        f"do not suit the noise; error over standard deviation: {'; '.join(other)}.",
    ]
    return "\n".join(rows)
