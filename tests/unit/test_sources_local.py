"""Which local files a path means."""

from pathlib import Path

import pytest

from dataproc.sources.files.local import SCHEME, LocalStorage


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("k/*.csv",), ["k/*.csv"]), (("k/b?.csv",), ["k/b?.csv"]), ((r"k/d\*.csv",), [r"k/d\*.csv"]),
        ((r"k/\*.csv",), ["k/*.csv"]), ((r"k/b\?.csv",), ["k/b?.csv"]), (("k/?c.csv",), ["k/bc.csv"]),
        ((r"k/d\\\*.csv",), [r"k/d\*.csv"]), (("k/*.csv", "k/d?.csv"), ["k/*.csv", "k/d1.csv"]),
        (("k//bc.csv",), ["k/bc.csv"]), (("**/bc.csv",), ["bc.csv", "k/bc.csv"]),
        (("k/b*.csv",), ["k/b?.csv", "k/bc.csv"]), (("?" * 300 + ".csv", "?c.csv"), ["bc.csv"]),
    ],
)  # fmt: skip
def test_a_path_that_is_the_name_of_a_file_means_that_file(
    tmp_path: Path, paths: tuple[str, ...], names: list[str]
) -> None:
    for name in ("k/*.csv", "k/b?.csv", "k/bc.csv", r"k/d\*.csv", "k/d1.csv", "bc.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("id\n1\n")

    for written in (paths, tuple(f"{tmp_path}/{path}" for path in paths)):
        found = LocalStorage(tmp_path, written).find()
        assert [file.uri.removeprefix(SCHEME) for file in found] == names
