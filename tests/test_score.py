"""`python -m jam.score`: known answers, JSON, and one line for whatever cannot be scored."""

import json

import numpy as np
import pytest

from jam import score


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 8))
    arrays = {"x": x, "turned": x @ np.linalg.qr(rng.standard_normal((8, 8)))[0], "noise": rng.standard_normal((60, 5))}
    arrays |= {"row": x[0], "short": x[:59], "few": x[:7], "complex": x + 1j, "ids": np.repeat(np.arange(12), 5)}
    arrays["hole"] = np.where(np.arange(60)[:, None] == 4, np.nan, x)
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    return tmp_path


def run(files, capsys, *args):
    score.main([str(files / arg) if arg.endswith(".npy") else arg for arg in args])
    return capsys.readouterr().out


def test_a_rotated_copy_is_the_same_and_noise_is_not(files, capsys):
    same = {row["metric"]: row for row in json.loads(run(files, capsys, "x.npy", "turned.npy", "--json"))}
    assert len(same) == 9
    for name in ("mutual_knn", "cka", "unbiased_cka", "cknna", "svcca", "cca"):
        assert same[name]["value"] == pytest.approx(1, abs=1e-6)
        assert same[name]["p_value"] == pytest.approx(1 / 201)
    other = json.loads(run(files, capsys, "x.npy", "noise.npy", "--json"))
    assert min(row["p_value"] for row in other) > 0.01
    assert all(row["calibrated"] < 0.2 for row in other)


def test_the_table_fits_a_terminal(files, capsys):
    told = run(files, capsys, "x.npy", "turned.npy", "--metrics", "mutual_knn", "rsa", "--groups", "ids.npy")
    assert max(map(len, told.splitlines()[2:])) <= 100
    assert "mutual_knn" in told
    assert "n = 60" in told


def test_k_falls_to_what_fits(files, capsys):
    np.save(files / "nine.npy", np.load(files / "x.npy")[:9])
    np.save(files / "other.npy", np.load(files / "noise.npy")[:9])
    found = json.loads(run(files, capsys, "nine.npy", "other.npy", "--json", "--metrics", "mutual_knn", "rsa"))
    assert [row["k"] for row in found] == [1, 0]
    assert found[0]["low"] < found[0]["value"] < found[0]["high"]  # with all others for neighbours nothing would vary


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("x.npy", "nothing.npy"), "nothing.npy: no such file"),
        (("pickled.npy", "x.npy"), "without pickled objects"),
        (("x.npy", "row.npy"), r"row.npy: got shape \(8,\), expected \(rows, dimensions\)"),
        (("x.npy", "short.npy"), "got 60 and 59 rows"),
        (("few.npy", "few.npy"), "got 7 rows, expected at least 8"),
        (("x.npy", "complex.npy"), "b: got complex numbers"),
        (("x.npy", "hole.npy"), "b: row 4 holds NaN"),
        (("x.npy", "x.npy", "-k", "60"), "k: got 60"),
        (("x.npy", "x.npy", "--metrics", "ckna"), r"metrics: got \['ckna'\]"),
        (("x.npy", "x.npy", "--permutations", "0"), "permutations: got 0"),
        (("x.npy", "short.npy", "--groups", "ids.npy"), "got 60 and 59 rows"),
    ],
)
def test_what_cannot_be_scored_is_said_in_one_line(files, capsys, args, message):
    with pytest.raises(SystemExit, match=message) as stopped:
        run(files, capsys, *args)
    assert "\n" not in str(stopped.value)
