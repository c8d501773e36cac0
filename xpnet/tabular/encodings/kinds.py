"""All kinds of encodings of columns, by the names that model files hold.

A new kind is one file with a subclass of ``Encoding``, and one line here.
"""

from collections.abc import Sequence

from xpnet.tabular.encodings.category import CategoryEncoding
from xpnet.tabular.encodings.encoding import Encoding
from xpnet.tabular.encodings.level import LevelEncoding
from xpnet.tabular.encodings.number import NumberEncoding
from xpnet.tabular.encodings.text import TextEncoding

ENCODINGS: dict[str, type[Encoding]] = {
    "number": NumberEncoding,
    "level": LevelEncoding,
    "category": CategoryEncoding,
    "text": TextEncoding,
}
"""The class of each kind of encoding."""


def indices_by_class(encodings: Sequence[Encoding]) -> dict[type[Encoding], list[int]]:
    """Return the indices of the encodings of each class, in the order of ENCODINGS."""
    indices = {
        encoding_class: [k for k, encoding in enumerate(encodings) if encoding.kind == kind]
        for kind, encoding_class in ENCODINGS.items()
    }
    return {encoding_class: places for encoding_class, places in indices.items() if places}
