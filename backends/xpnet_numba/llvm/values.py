"""Compiled values that several threads read: a value kept on one thread's stack is read by the others through a
pointer.
"""

from collections.abc import Sequence
from typing import Any

from numba import types
from numba.core import cgutils

from xpnet_numba.llvm.emit import INT64, Emit, Signature, intrinsic


@intrinsic
def kept(context: Any, value: Any) -> tuple[Signature, Emit]:
    """The address of a copy of a value, on the stack of the calling function: as long as that runs, the copy is
    there.
    """

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        slot = cgutils.alloca_once(builder, values[0].type)
        builder.store(values[0], slot)
        return builder.ptrtoint(slot, INT64)

    return types.int64(value), emit


@intrinsic
def taken(context: Any, pointer: Any) -> tuple[Signature, Emit]:
    """The value at a pointer, whose address came from :func:`kept`. The pointer's type says what is there."""

    def emit(target: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        kind = target.get_value_type(signature.return_type)
        value = builder.load(builder.bitcast(values[0], kind.as_pointer()))
        target.nrt.incref(builder, signature.return_type, value)  # released where the caller's variable ends
        return value

    return pointer.dtype(pointer), emit
