"""The five rows of the README's table."""

from ..markdown import factor
from ..record import Record
from .gradient_descent import of
from .planets import worst
from .zero_shot import worst_case


def figures(results: dict[str, list[Record]]) -> dict[str, str]:
    (adam,) = of(results["optimizers"], "invariants", "Adam")
    far = {
        starts: worst_case(results["zero_shot"], "2x2x2", "16x16x16", "invariants", starts)
        for starts in ("uniform", "normal")
    }
    planets = worst(results["solar_system"], "acceleration_against_newton")
    mercury = {
        key: worst(results["solar_system"], key)["Mercury"]
        for key in ("position_error_au", "newton_position_error_au")
    }
    liquid = max(
        r["relative_force_error"]
        for r in results["molecular_dynamics"]
        if (r["truth"], r["training"], r["sampling"]) == ("smoothed", "liquid and melt", "SWIM")
        and r["units"] == 512
        and r["used_on"] != "rollout"
    )
    on_cpu, on_gpu = (
        _over(results[name], 6912, "compressed", "jax-md") for name in ("rollout", "h200/rollout")
    )
    return {
        "adam_error": f"{adam['error']:.0e}",
        "adam": factor(adam["faster_by"]),
        "adam_compiled": factor(adam["with_compilation"]),
        "zero_shot": f"{far['uniform']['relative_force_error']:.0e}",
        "zero_shot_normal": f"{far['normal']['relative_force_error']:.0e}",
        "planets": f"{max(v for body, v in planets.items() if body != 'Sun'):.0e}",
        "mercury": f"{mercury['position_error_au']:.0e}",
        "newton": f"{mercury['newton_position_error_au']:.0e}",
        "liquid": f"{liquid:.0e}",
        "step_cpu": f"{on_cpu:.2f}",
        "step_gpu": f"{on_gpu:.1f}",
        "gpu": results["h200/rollout"][0]["environment"]["device"],
    }


def _over(records: list[Record], atoms: int, first: str, second: str) -> float:
    time = {
        r["hamiltonian"]: r["nanoseconds_per_body_step"]
        for r in records
        if (r["measured"], r["system"], r.get("bodies")) == ("time", "liquid", atoms)
    }
    return time[first] / time[second]
