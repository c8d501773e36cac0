"""Files of arrays, and scikit-learn's data sets."""

import json
import warnings
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.data_files import contents, look
from helpers.mutants import mutants

from xpnet.data import DATASETS, open_data, sources
from xpnet.data.sources import ArraySource
from xpnet.errors import DataFileError

X = np.arange(6.0).reshape(3, 2)
Y = np.array(["p", "q", "p"])


def saved(folder: Path, **content: Any) -> Path:
    """An archive with those arrays."""
    path = folder / "d.npz"
    np.savez(path, **content)
    return path


@pytest.mark.parametrize(
    "dtype", ["uint8", "bool", "float32", "int64", "float64", "float16", ">f4", ">i2"]
)
def test_archive_keeps_values_exact(tmp_path: Path, dtype: str) -> None:
    found = look(saved(tmp_path, X=X.astype(dtype), y=Y))
    np.testing.assert_array_equal(found.X, X.astype(dtype).astype(float))
    assert (list(found.cells), found.labels.tolist()) == (["x0", "x1"], ["p", "q", "p"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"y": Y}, "no array 'X' among ['y']"),
        ({"X": X, "y": Y[:2]}, "one label for each row of X, (3,); got shape (2,)"),
        ({"X": X, "y": np.eye(3)}, "got shape (3, 3)"),
        ({"X": X[0], "y": Y}, "A source must be a matrix of numbers"),
        ({"X": X.astype(str), "y": Y}, "A source must be a matrix of numbers"),
        ({"X": X[:0], "y": Y[:0]}, "rows need labels; none of 0 has one"),
        ({"X": X, "y": np.array([None, 1, "a"], dtype=object)}, "this file cannot be read"),
    ],
)
def test_bad_archives_are_told(tmp_path: Path, content: dict[str, Any], said: str) -> None:
    with pytest.raises(DataFileError, match="d.npz") as caught:
        look(saved(tmp_path, **content))
    assert said in str(caught.value)


def test_damaged_archives_are_told(tmp_path: Path) -> None:
    path = saved(tmp_path, X=X, y=Y)
    whole = path.read_bytes()
    np.save(tmp_path / "one.npy", X)
    for damaged in (
        b"",
        b"no archive",
        (tmp_path / "one.npy").read_bytes(),
        whole[: len(whole) // 2],
        whole[:40] + b"\xff" * 60 + whole[100:],
    ):
        path.write_bytes(damaged)
        said = "this file cannot be read" if damaged else "is empty"
        with pytest.raises(DataFileError, match=said):
            look(path)


@pytest.mark.parametrize("name", DATASETS)
def test_bundled_data_sets(name: str) -> None:
    found = look(name, target="target")
    assert len(found.labels) == found.frame.rows
    assert (
        len(set(found.labels.tolist()))
        == {"digits": 10, "iris": 3, "wine": 3, "breast_cancer": 2, "diabetes": 214}[name]
    )


def test_an_array_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.array([[1, 2, 0], [3, 4, 1]], dtype=np.uint8))
    np.save(tmp_path / "y.npy", Y[:2])
    found = look(tmp_path / "X.npy", target="x2")
    assert (found.cells, found.labels.tolist()) == ({"x0": [1, 3], "x1": [2, 4]}, [0, 1])
    opened = open_data(tmp_path / "X.npy", target=str(tmp_path / "y.npy"))
    assert opened.default_target == str(tmp_path / "y.npy")
    (tmp_path / "X.npy").write_bytes((tmp_path / "X.npy").read_bytes()[:100])
    with pytest.raises(DataFileError, match="this file cannot be read"):
        look(tmp_path / "X.npy")


def test_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="HDF5 files are read by h5py, the extra 'data'")
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["X"], file["kind"] = X, ["p", "q", "p"]
    opened = open_data(tmp_path / "d.h5", target="kind")
    frame = opened.read(opened.names, ["x1"], "kind")
    assert contents(frame, opened.names) == {
        "x0": X[:, 0].tolist(),
        "x1": [str(number).removesuffix(".0") for number in X[:, 1]],
        "kind": ["p", "q", "p"],
    }
    with pytest.raises(DataFileError, match="no array 'y'"):
        open_data(tmp_path / "d.h5", target="y")
    del opened, frame  # which hold the file open
    (tmp_path / "d.h5").write_bytes((tmp_path / "d.h5").read_bytes()[:300])
    with pytest.raises(DataFileError, match="cannot be read"):
        open_data(tmp_path / "d.h5")


def test_zarr(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="Zarr groups are read by zarr, the extra 'data'")
    group = zarr.open_group(str(tmp_path / "d.zarr"), mode="w")
    group.create_array("X", shape=X.shape, dtype=X.dtype)[:] = X
    group.create_array("y", shape=3, dtype="int64")[:] = [1, 0, 1]
    found = look(tmp_path / "d.zarr")
    np.testing.assert_array_equal(found.X, X)
    assert found.labels.tolist() == [1, 0, 1]
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(DataFileError, match="empty.zarr"):
        look(tmp_path / "empty.zarr")


@pytest.mark.parametrize("name", ["d.h5", "d.zarr"])
def test_chunks_of_single_columns_are_read_within_a_bound(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = pytest.importorskip(
        "h5py" if name == "d.h5" else "zarr", reason="an extra of its own, 'data'"
    )
    monkeypatch.setattr(sources, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(sources, "MAX_BLOCK_BYTES", 4000)
    wide = np.random.default_rng(0).normal(size=(2000, 5))
    path = str(tmp_path / name)
    with (
        closing(package.File(path, "w"))
        if name == "d.h5"
        else nullcontext(package.open_group(path)) as made
    ):
        make = made.create_dataset if name == "d.h5" else made.create_array
        make("X", shape=wide.shape, dtype=wide.dtype, chunks=(2000, 1))[:] = wide
        source = ArraySource(made["X"])
        assert max(source.read(block).nbytes for block in range(source.blocks)) <= 4000
        np.testing.assert_array_equal(source.whole(), wide)


REFUSED = [
    (2, {"compressor": {"id": "pickle"}, "filters": [{"id": "vlen-utf8"}]}),
    (2, {"compressor": None, "filters": [{"id": "pickle"}]}),
    (2, {"compressor": None, "filters": [{"id": "vlen-utf8"}, {"id": "pickle"}]}),
    (2, {"compressor": None, "filters": [{"id": "json2"}]}),
    (3, {"codecs": [{"name": "vlen-bytes"}]}),
    (3, {"codecs": [{"name": "vlen-utf8"}, {"name": "numcodecs.pcodec", "configuration": {}}]}),
]


@pytest.mark.parametrize(("version", "codecs"), REFUSED)
@pytest.mark.parametrize("name", ["y", "X"])
def test_objects_in_zarr_are_never_decoded(
    tmp_path: Path, version: int, codecs: dict[str, Any], name: str
) -> None:
    zarr = pytest.importorskip("zarr", reason="Zarr groups are read by zarr, the extra 'data'")
    group = zarr.open_group(str(tmp_path / "d.zarr"), mode="w", zarr_format=version)
    group.create_array("X", data=X)
    group.create_array("y", shape=(3,), dtype="string")
    group["y"][:] = Y.astype(object)
    described = tmp_path / "d.zarr" / name / (".zarray" if version == 2 else "zarr.json")
    content = json.loads(described.read_text())
    described.write_text(json.dumps({**content, **codecs}))
    with pytest.raises(DataFileError, match=r"d\.zarr.*(codec|cannot be read)"):
        look(tmp_path / "d.zarr")


@pytest.mark.parametrize("version", [2, 3])
def test_a_chunk_that_is_a_pickle_runs_no_code(
    tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The codec is called where it is reached, as versions of numcodecs before 0.16.6 did."""
    zarr = pytest.importorskip("zarr", reason="Zarr groups are read by zarr, the extra 'data'")
    pickles = pytest.importorskip("numcodecs.pickles")
    ran: list[bytes] = []
    monkeypatch.setattr(
        pickles.Pickle, "decode", lambda self, content, out=None: ran.append(content)
    )
    group = zarr.open_group(str(tmp_path / "d.zarr"), mode="w", zarr_format=2)
    group.create_array("X", data=X)
    (tmp_path / "d.zarr" / "y").mkdir()
    described = {
        "zarr_format": 2,
        "shape": [3],
        "chunks": [3],
        "dtype": "|O",
        "fill_value": "",
        "order": "C",
    }
    codecs = {"compressor": {"id": "pickle"}, "filters": [{"id": "vlen-utf8"}]}
    (tmp_path / "d.zarr" / "y" / ".zarray").write_text(json.dumps({**described, **codecs}))
    (tmp_path / "d.zarr" / "y" / "0").write_bytes(b"\x80\x04N.")
    with pytest.raises(DataFileError, match="vlen-utf8, pickle"):
        look(tmp_path / "d.zarr")
    assert ran == []


def test_text_in_zarr_is_read_whatever_packs_it(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="Zarr groups are read by zarr, the extra 'data'")
    for version in (2, 3):
        path = tmp_path / f"{version}.zarr"
        group = zarr.open_group(str(path), mode="w", zarr_format=version)
        group.create_array(
            "X", data=X, **({} if version == 2 else {"chunks": (1, 2), "shards": (2, 2)})
        )
        group.create_array("y", shape=(3,), dtype="string")
        group["y"][:] = Y.astype(object)
        assert look(path).labels.tolist() == ["p", "q", "p"]


@pytest.mark.parametrize("version", [2, 3])
def test_a_chunk_of_blosc_that_says_to_be_longer_than_it_is_is_refused(
    tmp_path: Path, version: int
) -> None:
    """Blosc's decoder believes what a chunk says of itself, and would read memory that is not its
    own.
    """
    zarr = pytest.importorskip("zarr", reason="Zarr groups are read by zarr, the extra 'data'")
    blosc = pytest.importorskip("numcodecs").Blosc() if version == 2 else zarr.codecs.BloscCodec()
    path = tmp_path / "d.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    for name, values in {"X": np.arange(1200.0).reshape(400, 3), "y": np.arange(400) % 2}.items():
        group.create_array(name, data=values, compressors=[blosc])
    assert look(path).frame.rows == 400
    for chunk in (
        next((path / name).rglob("0*" if version == 2 else "c/0*")) for name in ("X", "y")
    ):
        chunk = next(file for file in [chunk, *chunk.rglob("*")] if file.is_file())
        whole = chunk.read_bytes()
        length, start = (2**28).to_bytes(4, "little"), (2**27).to_bytes(4, "little")
        for damaged in (whole[:12] + length + start + whole[20:], whole[:-1], whole[:9], b""):
            chunk.write_bytes(damaged)
            with pytest.raises(DataFileError, match="is damaged or cut off"):
                look(path)
        chunk.write_bytes(whole)


@pytest.mark.parametrize("codec", ["BloscCodec", "ZstdCodec"])
@pytest.mark.parametrize("linked", ["X", "X/c", "X/c/0"])
def test_a_link_in_a_zarr_array_is_refused(tmp_path: Path, codec: str, linked: str) -> None:
    """It could lead to any file of the machine."""
    zarr = pytest.importorskip("zarr", reason="Zarr groups are read by zarr, the extra 'data'")
    path = tmp_path / "d.zarr"
    zarr.open_group(str(path), mode="w").create_array(
        "X", data=X, compressors=[getattr(zarr.codecs, codec)()]
    )
    open_data(path)
    (path / linked).rename(tmp_path / "elsewhere")
    (path / linked).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataFileError, match=f"{linked} .*link"):
        open_data(path)


def test_chunks_of_blosc_that_cannot_be_checked_are_refused(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="Zarr groups are read by zarr, the extra 'data'")
    packed: list[dict[str, Any]] = [
        {"compressors": [zarr.codecs.BloscCodec()], "chunks": (1, 2), "shards": (2, 2)},
        {"compressors": [zarr.codecs.BloscCodec(), zarr.codecs.ZstdCodec()]},
    ]
    for place, options in enumerate(packed):
        path = tmp_path / f"{place}.zarr"
        group = zarr.open_group(str(path), mode="w", zarr_format=3)
        group.create_array("X", data=X, **options)
        with pytest.raises(DataFileError, match="Blosc must pack whole chunks"):
            look(path)


@pytest.mark.parametrize("version", [2, 3])
def test_damaged_zarr_groups_are_told(tmp_path: Path, version: int) -> None:
    zarr = pytest.importorskip("zarr", reason="Zarr groups are read by zarr, the extra 'data'")
    path, told = tmp_path / "d.zarr", 0
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    group.create_array("X", data=np.arange(120.0).reshape(40, 3))
    group.create_array("y", data=np.arange(40) % 2)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        whole = file.read_bytes()
        for damaged in [b"", b"[]", b"null", b"{}", b"\xff\xfe{", *mutants(whole, 8)]:
            file.write_bytes(damaged)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found = look(path)
                assert found.frame.rows == len(found.labelled)
            except DataFileError as error:
                told += 1
                assert "d.zarr" in str(error)
                assert len(str(error)) < 1000
        file.write_bytes(whole)
    assert told > 40
