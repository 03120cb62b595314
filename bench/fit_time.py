"""Time of `fit` on 48,000 rows, relative to matrix products Z^T Z: of the same dense shape, and of
the two smaller systems (kinetic, pair) that `fit` actually solves."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
from matplotlib.figure import Figure

import hgn_jax as hgn

from .record import Case, Record, dots, main, seconds


def cases(quick: bool) -> Iterator[Case]:
    for dtype in ("float64", "float32"):
        yield Case({"dtype": dtype}, partial(measure, dtype, 3 if quick else 15))


def measure(dtype: str, repeats: int) -> list[Record]:
    system = hgn.systems.mass_spring("spring")
    cube = hgn.graphs.lattice((2, 2, 2))
    train, test = (
        jax.tree.map(
            lambda a: a.astype(dtype) if a.dtype == jnp.float64 else a,
            hgn.systems.simulate(system, cube, key=jr.key(k)),
        )
        for k in (0, 1)
    )
    features = hgn.sample((hgn.Kinetic(), hgn.Pair()), train, key=jr.key(2))
    fitted = hgn.fit(train, key=jr.key(2))
    z = jr.normal(jr.key(3), (int(fitted.rows), fitted.columns), dtype)
    parts = [z[: len(z) // 2, : len(s.theta)] + 0 for s in fitted.solutions]
    gram = jax.jit(lambda z: z.T @ z)
    timed = {
        "fit": lambda: hgn.fit(train, key=jr.key(2)),
        "solve (features sampled)": lambda: hgn.solve(features, train),
        "Z^T Z": lambda: gram(z),
        "Z^T Z of both systems": lambda: [gram(p) for p in parts],
    }
    jax.clear_caches()
    results = {name: seconds(function, repeats) for name, function in timed.items()}
    return [
        {
            "what": name,
            "rows": int(fitted.rows),
            "columns": fitted.columns,
            "seconds_with_compilation": first,
            "seconds": median,
            "over_gram": median / results["Z^T Z"][1],
            "relative_mse": float(hgn.metrics.mean_square_error(fitted.model, test))
            if name == "fit"
            else None,
        }
        for name, (first, median) in results.items()
    ]


def draw(records: list[Record]) -> Figure:
    return dots(
        records, lambda r: f"{r['what']}, {r['dtype']}", "over_gram", "time over that of Z^T Z"
    )


if __name__ == "__main__":
    main("fit_time", "Fit on 1000 snapshots of 8 bodies", cases, draw)
