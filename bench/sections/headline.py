"""The five rows of the README's table."""

from ..markdown import factor
from ..record import Record
from .gpu import times
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
    on_cpu = {r["hamiltonian"]: r["nanoseconds_per_body_step"] for r in _rollouts(results)}
    on_gpu = times(results["h100/accelerator"])
    small, large = (on_gpu[n, "compressed"] / on_gpu[n, "jax-md"] for n in (6912, 131072))
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
        "step_cpu": f"{on_cpu['compressed'] / on_cpu['jax-md']:.2f}",
        "step_gpu": f"{small:.1f}",
        "large": f"{large:.2f}",
    }


def _rollouts(results: dict[str, list[Record]]) -> list[Record]:
    """Times of the liquid of 6912 atoms."""
    case = ("time", "liquid", 6912)
    return [r for r in results["rollout"] if (r["measured"], r["system"], r.get("bodies")) == case]
