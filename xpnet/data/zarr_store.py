"""A folder of Zarr arrays, whose chunks are looked at before they are decoded."""

from typing import Any

from zarr.storage import LocalStore

_METADATA = frozenset({".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json"})
_HEADER = 16
"""The bytes before the content of a chunk that Blosc has packed; the last four say how long the chunk is."""


class CheckedStore(LocalStore):
    """Refuses chunks that say to be longer than they are, where Blosc has packed them: its decoder would read on.

    blosc_arrays : paths of the arrays that Blosc has packed
    """

    blosc_arrays: frozenset[str] = frozenset()

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """Return what lies under the key, None where nothing does; raise ValueError for a damaged chunk."""
        return self._checked(key, await super().get(key, *args, **kwargs))

    def get_sync(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """Return what lies under the key, as ``get`` does; some versions of zarr read by this."""
        return self._checked(key, super().get_sync(key, *args, **kwargs))

    def _checked(self, key: str, chunk: Any) -> Any:
        array, _, name = key.partition("/")
        if chunk is None or array not in self.blosc_arrays or name in _METADATA:
            return chunk
        header = chunk[:_HEADER].to_bytes()
        if len(header) < _HEADER or int.from_bytes(header[-4:], "little") > len(chunk):
            raise ValueError(f"the chunk {key} is damaged or cut off")
        return chunk
