"""Trajectories from tables: one row per time, or one row per time and body."""

import gzip
import lzma

import numpy as np
import pytest
from test_read_trajectories import MASS, PAIRS, TIMES, V, X, assert_same, expected, motion

import hgn_jax as hgn


def lines_of(header, columns, separator=","):
    rows = [separator.join(f"{value:.17g}" for value in row) for row in zip(*columns)]
    return "\n".join([header, *rows]) + "\n"


def beside(titles=("x", "y", "vx", "vy"), bodies=("1", "2", "3"), separator=","):
    """One row per time."""
    header = separator.join(["time", *(f"{t}{b}" for b in bodies for t in titles)])
    arrays = np.concatenate([X, V], axis=2)[:, :, : len(titles)]
    return lines_of(header, [TIMES, *arrays.reshape(40, -1).T], separator)


def below(shuffle=False, mass=True):
    """One row per time and body."""
    rows = [
        f"{TIMES[k]:.17g},{name},{','.join(f'{v:.17g}' for v in (*X[k, i], *V[k, i], MASS[i]))}"
        for k in range(40)
        for i, name in enumerate(("sun", "earth", "moon"))
    ]
    if shuffle:
        rows[1:] = np.random.default_rng(0).permutation(rows[1:]).tolist()
        rows = sorted(rows, key=lambda row: 0 if ",sun," in row else 1 if ",earth," in row else 2)
    return "time,body,x,y,vx,vy,mass\n" + "\n".join(rows)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".csv.xz"])
def test_columns_of_bodies_side_by_side(tmp_path, suffix):
    separator = "\t" if "tsv" in suffix else ","
    path = tmp_path / f"run{suffix}"
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(suffix[4:], open)
    with opener(path, "wt") as file:
        file.write(beside(separator=separator))
    assert_same(hgn.read(path, mass=MASS, edges=PAIRS), expected(velocity=V))


@pytest.mark.parametrize("separator", [";", " "])
@pytest.mark.parametrize("titles", [("x_", "y_"), ("X", "Y")])
def test_other_ways_to_write_the_same(tmp_path, separator, titles):
    path = tmp_path / "run.csv"
    text = beside(titles, separator=separator).replace("time", "# t", 1)
    path.write_text("\ufeff" + text.replace("\n", "\n\n# a remark\n", 3))
    assert_same(hgn.read(path, mass=MASS, edges=PAIRS), expected())


def test_columns_of_any_name(tmp_path):
    names = ["clock", "ax", "ay", "bx", "by", "cx", "cy"]
    (tmp_path / "run.csv").write_text(lines_of(",".join(names), [TIMES, *X.reshape(40, -1).T]))
    columns = {"time": "clock", "sun": ("ax", "ay"), "earth": ("bx", "by"), "moon": ("cx", "cy")}
    pairs = [("sun", "earth"), ("earth", "moon")]
    mass = dict(zip(("moon", "sun", "earth"), MASS[[2, 0, 1]]))
    data = hgn.read(tmp_path / "run.csv", columns=columns, edges=pairs, mass=mass)
    assert_same(data, expected())
    swapped = dict(zip(("time", "moon", "sun"), (columns[k] for k in ("time", "moon", "sun"))))
    data = hgn.read(tmp_path / "run.csv", columns=swapped, edges="all", mass=mass)
    np.testing.assert_array_equal(data.nodes["position"][0], X[8, 2])
    np.testing.assert_array_equal(data.nodes["mass"][:2], MASS[[2, 0]])
    both = {"time": "clock", "b": {"position": "ax", "velocity": "ay"}}
    data = hgn.read(tmp_path / "run.csv", columns=both, edges=[], mass=1.0, rates=False)
    np.testing.assert_array_equal(data.nodes["momentum"][:, 0], X[:, 0, 1])


@pytest.mark.parametrize("shuffle", [False, True])
def test_one_row_per_time_and_body(tmp_path, shuffle):
    (tmp_path / "run.csv").write_text(below(shuffle))
    data = hgn.read(tmp_path / "run.csv", edges=[("sun", "earth"), ("earth", "moon")])
    assert_same(data, expected(velocity=V))
    other = below(shuffle).replace("time,body,x,y,vx,vy,mass", "s,who,east,north,u,v,kg")
    (tmp_path / "other.csv").write_text(other)
    columns = {
        "time": "s", "body": "who", "position": ("east", "north"), "velocity": ("u", "v"),
        "mass": "kg",
    }  # fmt: skip
    assert_same(
        hgn.read(tmp_path / "other.csv", columns=columns, edges=PAIRS), expected(velocity=V)
    )


def test_trajectories_in_one_table_may_have_other_times(tmp_path):
    later, _ = motion(0.7)
    rows = [
        f"{run},{t:.17g},{i},{x[k, i, 0]:.17g}"
        for run, x in (("a", X), ("b", later))
        for k, t in enumerate(TIMES[: 40 if run == "a" else 25])
        for i in range(3)
    ]
    (tmp_path / "runs.csv").write_text("\n".join(["run,t,id,x", *rows]))
    data = hgn.read(tmp_path / "runs.csv", mass=MASS, edges="all")
    parts = [
        hgn.graphs.from_trajectories(TIMES[:n], x[:n, :, :1], mass=MASS, edges="all")
        for n, x in ((40, X), (25, later))
    ]
    assert data.globals["trajectory"].tolist() == [0] * 24 + [1] * 9
    for name in data.nodes:
        wanted = np.concatenate([part.nodes[name] for part in parts])
        np.testing.assert_allclose(data.nodes[name], wanted, rtol=1e-13, err_msg=name)


def test_missing_values_are_those_that_were_not_measured(tmp_path):
    text = beside(("x", "y")).splitlines()
    cells = text[8].split(",")
    text[8] = ",".join([*cells[:3], "", "", *cells[5:]])
    (tmp_path / "run.csv").write_text("\n".join(text))
    data = hgn.read(tmp_path / "run.csv", mass=MASS, edges=PAIRS, rates=False)
    seen = np.asarray(data.nodes["position_measured"]).reshape(40, 3)
    assert np.argwhere(~seen).tolist() == [[7, 1]]
    rows = [row for row in below().splitlines() if not row.startswith(f"{TIMES[7]:.17g},earth")]
    (tmp_path / "long.csv").write_text("\n".join(rows))
    again = hgn.read(tmp_path / "long.csv", edges=PAIRS, rates=False)
    np.testing.assert_array_equal(again.nodes["position_measured"], data.nodes["position_measured"])


def test_units_in_the_header_are_converted(tmp_path):
    text = beside(("x", "y")).split("\n", 1)
    header = "time [ms],x1 [mm],y1 [mm],x2 (mm),y2 (mm),x3 [mm],y3 [mm]"
    (tmp_path / "run.csv").write_text(header + "\n" + text[1])
    data = hgn.read(tmp_path / "run.csv", mass=MASS, edges=PAIRS, units="si")
    wanted = hgn.graphs.from_trajectories(1e-3 * TIMES, 1e-3 * X, mass=MASS, edges=PAIRS)
    assert_same(data, wanted, rtol=1e-7)
    plain = hgn.read(tmp_path / "run.csv", mass=MASS, edges=PAIRS)
    assert_same(plain, expected())


GOOD = "time,x1,y1,x2,y2\n0,1,2,3,4\n1,1,2,3,4\n"
LONG = "time,body,x,y\n0,sun,1,2\n0,moon,3,4\n"


@pytest.mark.parametrize(
    ("text", "how", "words"),
    [
        (GOOD + "2,1,two,3,4\n", {}, r"csv, line 4: column 'y1' must hold numbers, found 'two'"),
        (GOOD + "2,1,2,3\n", {}, r"run\.csv, line 4: 4 columns, expected 5, as in line 1"),
        ("0,1,2\n1,1,2\n", {}, "line 1 holds numbers; it must name the columns"),
        ("time,x1,x1\n1,2,3\n", {}, "two columns have the same name"),
        ("time,x1\n", {}, "has no line of numbers"),
        ("when,x1\n1,2\n", {}, r"no column of times among when, x1; name them by columns="),
        ("time,a,b\n1,2,3\n", {}, "no columns such as x1, y1, vx1 among time, a, b; name them"),
        ("time,x1,y1,x2\n1,2,3,4\n", {}, r"bodies have \[1, 2\] coordinates"),
        ("time,x1,vx1,x2\n1,2,3,4\n", {}, "body '1' has .'position', 'velocity'., body '2'"),
        (GOOD, {"columns": {"sun": ("x1", "y11")}}, "has no column 'y11' .did you mean 'y1'"),
        (GOOD, {"columns": {"sun": {"velocty": "x1"}}}, "'velocty' .did you mean 'velocity'"),
        (GOOD, {"columns": {"sun": {"velocity": "x1"}}}, r"columns\['sun'\] names no position"),
        (GOOD, {"edges": [("1", "sun")]}, "edges: no body 'sun'; there are 1, 2"),
        (GOOD, {"mass": {"1": 2.0}}, "mass: no body '2'"),
        (LONG + "0,sun,1,2\n", {}, r"csv, line 4: body 'sun' has a second row at the same time"),
        (LONG + "1,sun,1,x\n", {}, "line 4: column 'y' must hold numbers, found 'x'"),
        ("time,body,a\n0,sun,1\n", {}, "no columns x, y, z of positions among"),
        ("time,body,x,mass\n0,a,1,1\n1,a,1,2\n", {}, "mass of body 'a' changes"),
        (LONG, {"columns": {"body": "body", "speed": "x"}}, "unknown array 'speed'"),
    ],
)  # fmt: skip
def test_bad_tables_are_named_with_line_and_column(tmp_path, text, how, words):
    (tmp_path / "run.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        hgn.read(tmp_path / "run.csv", **({"edges": "all", "mass": 1.0, "rates": False} | how))


def test_a_mass_may_stand_in_one_row_of_each_body(tmp_path):
    head, *rows = below().split("\n")
    rows = [row if k < 3 else row.rsplit(",", 1)[0] + "," for k, row in enumerate(rows)]
    (tmp_path / "run.csv").write_text("\n".join([head, *rows]))
    assert_same(hgn.read(tmp_path / "run.csv", edges=PAIRS), expected(velocity=V))
    rows[10] = rows[10] + "9"
    (tmp_path / "run.csv").write_text("\n".join([head, *rows]))
    with pytest.raises(ValueError, match="mass of body 'earth' changes"):
        hgn.read(tmp_path / "run.csv", edges=PAIRS)
