"""Time of `fit` on 48,000 rows, beside matrix products Z^T Z: of the same dense shape, and of the
two smaller systems (kinetic, pair) that `fit` in fact solves."""

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr

import hgn_jax as hgn

from .record import Record, main, seconds


def run(quick: bool, out: Path) -> Iterator[Record]:
    system = hgn.systems.mass_spring("spring")
    cube = hgn.graphs.lattice((2, 2, 2))
    repeats = 3 if quick else 15
    for dtype in ("float64", "float32"):
        train, test = (
            jax.tree.map(
                lambda a, dtype=dtype: a.astype(dtype) if a.dtype == jnp.float64 else a,
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
            "fit": lambda train=train: hgn.fit(train, key=jr.key(2)),
            "solve (features sampled)": lambda f=features, train=train: hgn.solve(f, train),
            "Z^T Z": lambda gram=gram, z=z: gram(z),
            "Z^T Z of both systems": lambda gram=gram, parts=parts: [gram(p) for p in parts],
        }
        jax.clear_caches()
        results = {name: seconds(function, repeats) for name, function in timed.items()}
        for name, (first, median) in results.items():
            yield {
                "what": name,
                "dtype": dtype,
                "rows": int(fitted.rows),
                "columns": fitted.columns,
                "seconds_with_compilation": first,
                "seconds": median,
                "over_gram": median / results["Z^T Z"][1],
                "relative_mse": float(hgn.metrics.mean_square_error(fitted.model, test))
                if name == "fit"
                else None,
            }


if __name__ == "__main__":
    main("fit_time", "Fit on 1000 snapshots of 8 bodies", run)
