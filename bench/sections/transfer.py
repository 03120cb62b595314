"""Section on few shots of a new system."""

from ..markdown import rows
from ..record import Record
from ..transfer import GOALS, MODELS, SHOTS, mean


def figures(records: list[Record]) -> dict[str, str]:
    seen, unseen = (
        f"{(found := mean(records, name, shots)):.3f} (goal {goal:.3f}"
        + (")" if found <= goal else ", missed)")
        for (name, shots), goal in GOALS.items()
    )
    families = list(dict.fromkeys(r["family"] for r in records))
    hardest = max(families, key=lambda family: _at(records, family, 8)["seen"])
    worse = [r for r in records if r["unseen"] > r["scratch"]]
    ratio = max((r["unseen"] / r["scratch"] for r in worse), default=1.0)
    return {
        "shots": " | ".join(str(k) for k in SHOTS),
        "rule": "|---" * (len(SHOTS) + 1) + "|",
        "table": rows(
            [words, *(f"{mean(records, name, k):.3f}" for k in SHOTS)]
            for name, words in zip(
                MODELS, ("from scratch", "prior, family seen", "prior, family never seen")
            )
        ),
        "families": rows(
            [family]
            + [f"{_at(records, family, 8)[name]:.3f}" for name in MODELS]
            + [f"{_at(records, family, 32)[name]:.3f}" for name in MODELS]
            for family in families
        ),
        "seen": seen,
        "unseen": unseen,
        "hardest": hardest,
        "worse": f"{len(worse)} of {len(records)}",
        "ratio": f"{ratio:.2f}",
    }


def _at(records: list[Record], family: str, shots: int) -> Record:
    return next(r for r in records if (r["family"], r["shots"]) == (family, shots))
