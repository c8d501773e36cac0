"""Model files that went wrong, by accident or by intent, made without the code that reads them."""

import copy
import json
import random
from collections.abc import Callable
from hashlib import sha256
from typing import Any


def unpack(content: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """The tensors' entries, the envelope, and the data of a model file."""
    length = int.from_bytes(content[:8], "little")
    entries = json.loads(content[8 : 8 + length])
    envelope = json.loads(entries.pop("__metadata__")["xpnet"])
    return entries, envelope, content[8 + length :]


def pack(
    entries: dict[str, Any], envelope: Any, data: bytes, *, header: str | None = None
) -> bytes:
    """A model file of these parts, or with this header, whatever it may say."""
    text = header or json.dumps({"__metadata__": {"xpnet": compact(envelope)}, **entries})
    encoded = text.encode("utf-8", "surrogatepass")
    return len(encoded).to_bytes(8, "little") + encoded + data


def compact(value: Any) -> str:
    """JSON in the form that checksums are taken over."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def seal(entries: dict[str, Any], envelope: dict[str, Any], data: bytes) -> dict[str, Any]:
    """The envelope with checksums that hold, as one who means ill would compute them; by the
    container's docstring.
    """
    bare = {name: value for name, value in envelope.items() if name != "sha256"}
    summed = sha256()
    for name in sorted(entries):
        begin, end = entries[name]["data_offsets"][:2]
        summed.update(data[begin:end])
    shapes = {name: [entry["dtype"], *entry["shape"]] for name, entry in entries.items()}
    text = compact({**bare, "data": summed.hexdigest(), "tensors": shapes})
    sums = {
        "data": summed.hexdigest(),
        "description": sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
    }
    return {**bare, "sha256": sums}


def sealed(content: bytes, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> bytes:
    """The file with entries and envelope changed in place, under checksums that hold."""
    entries, envelope, data = unpack(content)
    change(entries, envelope)
    return pack(entries, seal(entries, envelope, data), data)


# By accident: what disks, networks and cut copies do. Each must be an error.


def flip(content: bytes, chance: random.Random) -> bytes:
    """A few bits turned over, mostly in one place."""
    damaged = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 9])):
        damaged[_somewhere(content, chance)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def cut(content: bytes, chance: random.Random) -> bytes:
    """Cut short, anywhere."""
    return content[: _somewhere(content, chance)]


def grow(content: bytes, chance: random.Random) -> bytes:
    """More at its end."""
    return content + chance.randbytes(chance.choice([1, 8, 4096]))


def blot(content: bytes, chance: random.Random) -> bytes:
    """A run of bytes replaced by zeros, noise, or another part of the file."""
    begin, size = _somewhere(content, chance), chance.choice([1, 8, 64, 512])
    patch = chance.choice(
        [bytes(size), chance.randbytes(size), content[_somewhere(content, chance) :][:size]]
    )
    return content[:begin] + patch + content[begin + size :]


def shift(content: bytes, chance: random.Random) -> bytes:
    """A few bytes lost or put in between."""
    at, size = _somewhere(content, chance), chance.choice([1, 2, 8])
    return content[:at] + (
        content[at + size :] if chance.random() < 0.5 else chance.randbytes(size) + content[at:]
    )


def noise(content: bytes, chance: random.Random) -> bytes:
    """Another file altogether."""
    return chance.randbytes(chance.choice([0, 1, 7, 8, 9, 100, len(content)]))


def _somewhere(content: bytes, chance: random.Random) -> int:
    """A place in the length of the header, in the header, or anywhere."""
    header = min(8 + int.from_bytes(content[:8], "little"), len(content))
    return chance.randrange(chance.choice([8, header, header, len(content)]))


ACCIDENTS = [flip, flip, flip, cut, grow, blot, shift, noise]

# By intent: changed where it hurts, under checksums that hold. Each must be an error or the model
# that it describes.

NASTY: list[Any] = [
    -1, 0, 1, 2, 255, 2**31, 2**53, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, 1e-320, True, False,
    None, "", "W1", "relu", "a" * 999, "\ud800", "\0", [], [[]], [0], [-1], [2**40, 2**40], {},
    {"a": {}}, [1] * 99,
]  # fmt: skip


def mutate(content: bytes, chance: random.Random) -> bytes:
    """One value of the entries or of the description replaced, removed or doubled."""
    entries, envelope, data = unpack(content)
    tree = chance.choice(
        [entries, envelope, envelope["description"], envelope["description"]["network"]]
    )
    place, key = chance.choice(places(tree))
    if chance.random() < 0.1:
        del place[key]
    else:
        value = chance.choice(
            [
                *NASTY,
                place[chance.choice(list(place) if isinstance(place, dict) else range(len(place)))],
            ]
        )
        place[key] = copy.deepcopy(value)
    try:
        return pack(entries, seal(entries, envelope, data), data)
    except (
        AttributeError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
    ):  # too broken for a checksum
        return pack(entries, envelope, data)


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below a JSON value."""
    items: Any = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    return [place for key, value in items for place in [(tree, key), *places(value)]]
