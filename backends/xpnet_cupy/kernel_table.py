"""The table of kernels: names and parameters, read from the CUDA source that declares them."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_MACRO = re.compile(r"^#define (\w+)(?:\(([^)]*)\))? *(.*)$", re.MULTILINE)
_KERNEL = re.compile(r"\bKERNEL (?:__launch_bounds__\([^()]*\) *)?(\w+)\(([^()]*)\)")
_TYPE = re.compile(r"\b(real|int|long long|double)\b")


class Macro(NamedTuple):
    """A macro of the source: names of its arguments, and its text."""

    arguments: list[str]
    text: str

    def written_out(self, values: list[str]) -> str:
        """Return the text with values in the place of the arguments."""
        by_name = dict(zip(self.arguments, values, strict=True))
        return re.sub(r"\b\w+\b", lambda word: by_name.get(word[0], word[0]), self.text)


class Parameter(NamedTuple):
    """A parameter of a kernel.

    kind : ``real``, the type that the kernels are compiled for, ``int``, ``long long`` or
        ``double``
    is_array : whether it is the address of an array of them
    may_be_missing : whether that may be null, ``OR_NULL`` in the source
    overlaps_none : whether no other array of the call may share its memory: it is written and
        ``__restrict__``
    """

    kind: str
    is_array: bool
    may_be_missing: bool
    overlaps_none: bool


def read_kernels(source: str) -> dict[str, tuple[Parameter, ...]]:
    """Return the parameters of each kernel that a source declares."""
    text = re.sub(r"//.*", "", source).replace("\\\n", " ")
    macros = {
        name: Macro([one.strip() for one in arguments.split(",")], body)
        for name, arguments, body in _MACRO.findall(text)
    }
    declarations = [*_written_out(_MACRO.sub("", text), macros)]
    return {
        name: tuple(_parameters(parameters, macros))
        for declaration in declarations
        for name, parameters in _KERNEL.findall(declaration)
    }


def _written_out(text: str, macros: Mapping[str, Macro]) -> Iterator[str]:
    """Yield the text without macros, and what each call of a macro that makes a kernel stands
    for.
    """
    yield text
    for name, macro in macros.items():
        if "KERNEL" in macro.text:
            for values in re.findall(rf"^{name}\(([^()]*)\)", text, re.MULTILINE):
                yield macro.written_out([value.strip() for value in values.split(",")])


def _parameters(text: str, macros: Mapping[str, Macro]) -> Iterator[Parameter]:
    """Yield the parameters of a list in which a macro may stand for several."""
    for declared in text.split(","):
        if declared.strip() in macros:
            yield from _parameters(macros[declared.strip()].text, macros)
            continue
        kind = _TYPE.search(declared)
        assert kind is not None, f"a kernel must take real, int, long long or double: {declared}"
        yield Parameter(
            kind[0],
            "*" in declared,
            "OR_NULL" in declared,
            "__restrict__" in declared and "const" not in declared,
        )
