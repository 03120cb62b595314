"""Rollouts over a mesh of devices, each with a slab of the cell: the same as on one device."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def started(devices, *arguments):
    """slab_runs.py with that many virtual devices."""
    here = Path(__file__).parent
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [sys.executable, here / "slab_runs.py", *map(str, arguments)],
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(here.parent)},
    )


def read(file):
    with np.load(file) as results:
        return dict(results)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Results on eight devices."""
    file = tmp_path_factory.mktemp("slabs") / "runs.npz"
    assert started(8, file).wait() == 0
    return read(file)


@pytest.fixture(scope="module")
def messages(runs):
    return json.loads(str(runs["messages"]))


def assert_same(runs, name, *quantities):
    for quantity in quantities:
        one, many = runs[f"{name} one {quantity}"], runs[f"{name} many {quantity}"]
        # Relative to the largest value, since sums are taken in another order.
        assert np.max(np.abs(one - many)) <= 1e-13 * np.max(np.abs(one)), quantity


def test_liquid_moves_as_on_one_device_while_bodies_change_devices(runs):
    assert runs["liquid moved"].sum() >= 30
    assert_same(runs, "liquid", "q", "p", "energy")


def test_observables_are_those_of_all_bodies(runs):
    assert_same(runs, "liquid", "temperature", "pressure", "mean_squared_displacement")
    assert (
        np.max(np.abs(runs["liquid many momentum"])) < 1e-11
    )  # of 1,200 bodies, whose sum is zero


def test_no_pair_is_missing_after_a_thousand_steps(runs):
    assert runs["late moved"].sum() >= 20
    assert_same(runs, "late", "energy", "pressure")


def test_many_body_forces_in_a_skewed_cell(runs):
    assert runs["embedded moved"].sum() >= 20
    assert_same(runs, "embedded", "q", "energy")


def test_capacities_grow_where_bodies_crowd(runs):
    before, after = runs["crowd fullest"]
    assert after > 1.3 * before  # and there was room for 1.2 times as many
    assert_same(runs, "crowd", "q", "energy")


def test_run_goes_on_with_half_of_the_devices(runs):
    assert runs["resumed outputs"] >= 2  # of both runs
    assert_same(runs, "resumed", "q", "msd")


def test_two_processes_agree_with_one_device(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    files = [tmp_path / f"{rank}.npz" for rank in range(2)]
    both = [started(2, file, rank, port) for rank, file in enumerate(files)]
    assert [process.wait() for process in both] == [0, 0]
    for file in files:
        assert_same(read(file), "apart", "q", "energy", "pressure")


@pytest.mark.parametrize(
    "case, words",
    [
        ("thin", "slabs would be 1.65 thick, but must be at least 5.6.*use at most 2 devices"),
        ("free", "a mesh divides a periodic cell, but the graph has none"),
        ("few", "the mesh has 8 devices, but there are only 6 bodies"),
        ("axes", r"along one axis, but the mesh has \{'x': 4, 'y': 2\}"),
        ("kind", "mesh must be a mesh.*got int"),
        ("integrator", "Langevin cannot be divided between devices.*StormerVerlet"),
        ("observable", "radial_distribution is no sum over bodies.*leave out mesh"),
        ("relax", "a mesh divides hgn.rollout alone"),
        ("jit", "a mesh needs concrete arrays: call rollout outside of jit"),
        ("crowded", "UserWarning: slab 0 of 8 holds 228 of 240 bodies"),
    ],
)
def test_what_cannot_be_divided_is_refused(messages, case, words):
    assert re.search(words, messages[case]), messages[case]


def test_failure_is_explained_as_on_one_device(messages):
    assert "a body moves by" in messages["step"]
    assert messages["step"] == messages["step on one"]
