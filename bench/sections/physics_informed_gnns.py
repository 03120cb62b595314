"""Section on the NeurIPS 2022 benchmark."""

from ..markdown import rows
from ..record import Record


def figures(records: list[Record]) -> dict[str, str]:
    cases = list(dict.fromkeys((r["system"], r["nodes"]) for r in records))
    names = {"springs": "springs", "gravity": "bodies under gravity"}
    suite = {r["nodes"]: r["suite"]["position_error_gm"] for r in records if r["suite"]}
    return {
        "cases": " | ".join(f"{n} {names[s]}" for s, n in cases),
        "rule": "---|" * len(cases),
        "models": rows(
            _model(records, model, cases) for model in dict.fromkeys(r["model"] for r in records)
        ),
        "suite": " | ".join(f"{suite[n]:.0e}" if s == "springs" else "" for s, n in cases),
    }


def _model(records: list[Record], model: str, cases: list[tuple[str, int]]) -> list[str]:
    ours = {r["system"]: r["training_seconds"] for r in records if r["model"] == "random features"}
    mine = {(r["system"], r["nodes"]): r for r in records if r["model"] == model}
    first = mine[cases[0]]
    epochs = first["details"].get("epochs")
    whole = first.get("seconds_extrapolated_to_10000_epochs")
    return [
        model if epochs is None else f"{model}, {epochs} epochs",
        f"{first['parameters']:,}",
        *(f"{mine[c]['position_error_gm']:.0e}" for c in cases),
        f"{first['training_seconds'] / ours['springs']:.0f} x",
        "" if whole is None else f"{whole / ours['springs']:,.0f} x",
    ]
