"""Whatever a file holds, opening it ends in a clear error or in the model that it describes."""

import errno
import json
import os
import re
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import damage
from helpers.fuzz import fuzz, originals

import xpnet
from xpnet.modelfile import container, disk


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole model file."""
    return originals(tmp_path_factory.mktemp("whole"))[0][0]


def assert_refused(content: bytes, folder: Path, match: str) -> None:
    """Opening and describing such a file raise an error that names the file and says what is
    wrong.
    """
    path = folder / "damaged"
    path.write_bytes(content)
    for reader in (xpnet.load, xpnet.modelfile.describe):
        with pytest.raises(xpnet.ModelFileError, match=match) as caught:
            reader(path)
        assert str(path) in str(caught.value)


@pytest.mark.attack
def test_damaged_files_by_the_thousand(tmp_path: Path) -> None:
    tally = fuzz(600, tmp_path)
    assert set(tally) == {"error", "opened"}


def test_every_byte_of_a_small_file_counts(tmp_path: Path) -> None:
    xpnet.LogisticRegression(1, 1, backend="numpy").save(tmp_path / "small")
    content = bytearray((tmp_path / "small").read_bytes())
    for k in range(len(content)):
        content[k] ^= 1 << k % 8
        (tmp_path / "damaged").write_bytes(content)
        with pytest.raises(xpnet.ModelFileError):
            xpnet.load(tmp_path / "damaged")
        content[k] ^= 1 << k % 8


def test_a_flipped_bit_in_the_tensors_is_named(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert xpnet.modelfile.describe(path)["kind"] == "FeedforwardNeuralNet"
    with pytest.raises(xpnet.ModelFileError, match="checksum of its tensors does not hold"):
        xpnet.load(path)


def test_tensors_are_checked_without_being_kept(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "CHECKED_BLOCK", 100)  # the file has several blocks
    path = tmp_path / "whole"
    path.write_bytes(whole)
    container.check_tensors(path)
    data_size = sum(t.nbytes for t in container.read(path)[1].values())
    assert data_size > 200
    for place in (len(whole) - data_size, len(whole) - data_size // 2, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(xpnet.ModelFileError, match="checksum of its tensors does not hold"):
            container.check_tensors(path)


def test_a_file_of_the_future_says_so(tmp_path: Path, whole: bytes) -> None:
    content = damage.sealed(whole, lambda entries, envelope: envelope.update(format=2, novelty=[1]))
    assert_refused(
        content, tmp_path, "format 2, and this xpnet reads up to 1; install a newer xpnet"
    )


HEADERS = {
    "nothing": (b"", "no header"),
    "a length that ends early": (b"\1\0\0", "no header"),
    "a header without end": ((2**63).to_bytes(8, "little") + b"{}", "past its end"),
    "a header longer than the file": ((3).to_bytes(8, "little") + b"{}", "past its end"),
    "no JSON": (damage.pack({}, {}, b"", header="model"), "Expecting value"),
    "a list": (damage.pack({}, {}, b"", header="[]"), "not a JSON object"),
    "nested without end": (
        damage.pack({}, {}, b"", header='{"a":' + "[" * 99999 + "]" * 99999 + "}"),
        "too deeply",
    ),
    "a key twice": (damage.pack({}, {}, b"", header='{"a":1,"a":1}'), "a key comes twice"),
    "NaN": (damage.pack({}, {}, b"", header='{"a":NaN}'), "no description by xpnet"),
    "infinity": (damage.pack({}, {}, b"", header='{"a":1e999}'), "no description by xpnet"),
    "a number without end": (
        damage.pack({}, {}, b"", header='{"a":' + "9" * 99999 + "}"),
        "digits",
    ),
    "no text": ((2).to_bytes(8, "little") + b"\xff\xff", "can't decode"),
    "another library's": (
        damage.pack({}, {}, b"", header='{"__metadata__":{"format":"pt"}}'),
        "no description by xpnet",
    ),
    "no metadata": (damage.pack({}, {}, b"", header="{}"), "no description by xpnet"),
}


def test_a_hostile_header(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for case, (content, match) in HEADERS.items():
        with subtests.test(case):
            assert_refused(content, tmp_path, match)


def entry(**changes: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """Change the entry of W1."""
    return lambda entries, envelope: entries["W1"].update(changes)


def network(**changes: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """Change the description of the network."""
    return lambda entries, envelope: envelope["description"]["network"].update(changes)


def description(**changes: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """Change the description."""
    return lambda entries, envelope: envelope["description"].update(changes)


def double(entries: dict[str, Any], envelope: dict[str, Any]) -> None:
    """Two tensors in the same place."""
    entries["W1"]["data_offsets"] = entries["W2"]["data_offsets"]
    entries["W1"]["shape"] = entries["W2"]["shape"]


def missing(entries: dict[str, Any], envelope: dict[str, Any]) -> None:
    """A tensor under another name."""
    entries["other"] = entries.pop("W1")


def more(entries: dict[str, Any], envelope: dict[str, Any]) -> None:
    """An empty tensor that belongs to nothing."""
    entries["more"] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


SEALED = {
    "a shape larger than the file": (entry(shape=[2**40, 2**40]), "another size than its shape"),
    "a negative shape": (entry(shape=[-5, -7]), "up to three counts"),
    "a fraction": (entry(shape=[5.0, 7]), "Tensor.shape has a value of another type than int"),
    "true for one": (entry(shape=[True, 35]), "Tensor.shape has a value of another type than int"),
    "offsets that overlap": (double, "overlaps another or leaves a gap"),
    "offsets backwards": (entry(data_offsets=[8, 0]), "another size than its shape"),
    "three offsets": (entry(data_offsets=[0, 140, 140]), "another size than its shape"),
    "an unknown dtype": (entry(dtype="F8"), "Tensor.dtype"),
    "another dtype": (entry(dtype="U32"), "not those of the network"),
    "a transposed shape": (entry(shape=[7, 5]), "not those of the network"),
    "one more field": (entry(more=1), "Tensor takes an object with dtype, shape, data_offsets"),
    "a missing tensor": (missing, "not those of the network"),
    "one more tensor": (more, "not those of the network"),
    "other widths": (network(widths=[5, 4, 7, 3]), "not those of the network"),
    "widths of zero": (network(widths=[5, 0, 4, 3]), "positive integers"),
    "absurd widths": (network(widths=[5, 2**62, 4, 3]), "not those of the network"),
    "no widths": (network(widths=[]), "do not belong together"),
    "a text for a number": (network(l2="0"), "NetworkSpec.l2"),
    "true for a number": (network(l2=True), "NetworkSpec.l2"),
    "an unknown activation": (
        network(activations=["relu", "os.system"]),
        "NetworkSpec.activations",
    ),
    "an unknown field": (network(hook="os.system"), "NetworkSpec takes"),
    "rates for other layers": (network(dropout=[0.1]), "do not belong together"),
    "names twice": (network(names=["W"] * 6), "do not belong together"),
    "a rule out of range": (network(rule={"beta1": 2.0}), r"beta1.*\[0, 1\)"),
    "an unknown kind": (description(kind="posix.system"), "posix.system"),
    "settings that are none": (
        description(settings=[]),
        "Description.settings has a value of another type than dict",
    ),
    "a schedule that is none": (
        description(settings={"compiled": True, "learning_rate": {"schedule": "eval"}}),
        "there are no such marks",
    ),
    "a learning rate below zero": (
        description(settings={"compiled": True, "learning_rate": -1}),
        "positive and finite",
    ),
    "a model that is none": (
        description(kind="LogisticRegression"),
        "that a LogisticRegression cannot have",
    ),
}


def test_a_hostile_description_under_checksums_that_hold(
    tmp_path: Path, whole: bytes, subtests: pytest.Subtests
) -> None:
    path = tmp_path / "damaged"
    for case, (change, match) in SEALED.items():
        path.write_bytes(damage.sealed(whole, change))
        with subtests.test(case), pytest.raises(xpnet.ModelFileError, match=match):
            xpnet.load(path)


def test_the_damage_is_what_is_refused(tmp_path: Path, whole: bytes) -> None:
    """The tests above would show nothing if a file sealed by their own code were refused anyway."""
    (tmp_path / "sealed").write_bytes(damage.sealed(whole, description(extra={"b": 1})))
    assert xpnet.load(tmp_path / "sealed").extra == {"b": 1}


def test_nothing_foolish_is_allocated(tmp_path: Path, whole: bytes) -> None:
    """A header may promise what it likes: the file's size decides."""
    entries, envelope, data = damage.unpack(whole)
    entries["W1"] |= {"shape": [2**20, 2**20], "data_offsets": [0, 2**42]}
    (tmp_path / "damaged").write_bytes(damage.pack(entries, envelope, data))
    tracemalloc.start()
    with pytest.raises(xpnet.ModelFileError):
        xpnet.load(tmp_path / "damaged")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_file_that_has_grown_is_refused_before_its_tensors_are_read(
    tmp_path: Path, whole: bytes
) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.write(whole)
        file.truncate(2**40)
    with pytest.raises(xpnet.ModelFileError, match="cut short or has grown"):
        xpnet.load(tmp_path / "sparse")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(xpnet.ModelFileError, match="is a folder"):
        xpnet.load(tmp_path)
    with pytest.raises(xpnet.ModelFileError, match=r"no model file .*missing\. Check the path"):
        xpnet.load(tmp_path / "missing")
    with pytest.raises(xpnet.ModelFileError, match="null"):
        xpnet.load("a\0b")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(xpnet.ModelFileError, match="is a folder or a device"):
        xpnet.load(tmp_path / "pipe")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").touch()

    def refuse(*args: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(
        Path, "open", refuse
    )  # the user of the tests may be allowed to read everything
    with pytest.raises(xpnet.ModelFileError, match="Permission denied"):
        xpnet.load(tmp_path / "secret")


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    model, path = xpnet.LogisticRegression(2, 2, backend="numpy"), tmp_path / "model"
    model.save(path)
    before = path.read_bytes()

    def fail(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(xpnet.ModelFileError, match="No space left on device"):
        model.save(path, {"new": 1})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    try:
        (tmp_path / "link").symlink_to(tmp_path / "folder" / "model")
    except OSError as error:
        pytest.skip(f"this user may make no links: {error}")
    xpnet.LogisticRegression(2, 2, backend="numpy").save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert xpnet.load(tmp_path / "folder" / "model").spec == xpnet.load(tmp_path / "link").spec


def test_the_folder_must_be_there(tmp_path: Path) -> None:
    model = xpnet.LogisticRegression(2, 2, backend="numpy")
    with pytest.raises(xpnet.ModelFileError, match=re.escape(str(tmp_path / "missing" / "model"))):
        model.save(tmp_path / "missing" / "model")
    with pytest.raises(xpnet.ModelFileError, match="it is a folder"):
        model.save(tmp_path)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("flower.safetensors", "Did you mean 'flowers.safetensors'?"),
        ("zzzz", "Check the path"),
        ("no/where", "Check the path"),
        ("flowers.safetensors/model", "Check the path"),
    ],
)
def test_a_missing_file_gets_the_fact_and_one_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, remedy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flowers.safetensors").touch()
    with pytest.raises(xpnet.ModelFileError) as caught:
        xpnet.load(name)
    message = str(caught.value)
    assert message.startswith(f"There is no model file {Path(name)}.")
    assert remedy in message
    assert len(message.split()) <= 25


def test_the_description_is_limited(tmp_path: Path) -> None:
    with pytest.raises(xpnet.InputError, match="at most"):
        xpnet.LogisticRegression(2, 2, backend="numpy").save(
            tmp_path / "model", {"text": "a" * 2**25}
        )


def test_nesting_that_can_be_written_can_be_read(tmp_path: Path) -> None:
    nested: Any = json.loads("[" * 200 + "]" * 200)
    xpnet.LogisticRegression(2, 2, backend="numpy").save(tmp_path / "model", {"nested": nested})
    assert xpnet.load(tmp_path / "model").extra == {"nested": nested}


def test_windows_is_asked_again_while_another_process_has_the_old_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, refusals = os.replace, iter([PermissionError(errno.EACCES, "Access is denied")] * 2)

    def refuse_twice(source: Path, target: Path) -> None:
        if error := next(refusals, None):
            raise error
        replace(source, target)

    monkeypatch.setattr(disk, "WINDOWS", True)
    monkeypatch.setattr(os, "replace", refuse_twice)
    disk.write_whole(tmp_path / "model", b"new")
    assert (tmp_path / "model").read_bytes() == b"new"
