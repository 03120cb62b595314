"""Figures of the benchmark of charge-density waves."""

import numpy as np

from bench import holstein as bench


def test_domain_sizes_of_stripes_and_of_one_domain():
    """Stripes of width 6: the correlation across is 1 - r/3, along them 1, their mean 1 - r/6."""
    stripes = np.repeat([1.0, -1.0, 1.0, -1.0], 6)[:, None] * np.ones((1, 24))
    waves = np.stack([stripes, np.ones((24, 24)), stripes.T])[None]
    np.testing.assert_allclose(bench.domain_size(waves), [[3, 12, 3]], rtol=1e-12)


def test_densities_of_the_data_are_those_of_the_system():
    data, true = bench.solved(4, 2, 0)
    np.testing.assert_allclose(true, bench.SYSTEM.density(data), atol=1e-12)
    assert true.std() > 0.1


def test_distances_are_in_units_of_the_spread_of_exact_runs():
    exact = {"measured": "quench", "model": "exact"}
    exact |= {"domain_size": [[1.0, 1.0], [1.0, 3.0]], "order": [[0.0, 0.0], [0.2, 0.4]]}
    learned = {"measured": "quench", "model": "patch"}
    learned |= {"domain_size": [[1.0, 1.0], [4.0, 4.0]], "order": [[0.0, 0.0], [0.3, 0.3]]}
    _, found = bench.compared([exact, learned])
    np.testing.assert_allclose(found["domain_size_distance"], 2 / 2**0.5)
    assert found["domain_size_within"] == 0 and found["order_within"] == 1


def test_the_wave_has_the_amplitude_of_equilibrium():
    """|Q| = g |n - 1/2| / K for one domain without noise."""
    q = bench.AMPLITUDE * bench.staggered(12)
    graph = bench.hgn.graphs.periodic_lattice((12, 12), displacement=q)
    balance = bench.SYSTEM.coupling * abs(bench.SYSTEM.density(graph) - 0.5)
    np.testing.assert_allclose(balance / bench.SYSTEM.stiffness, bench.AMPLITUDE, rtol=0.05)
