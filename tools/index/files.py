"""The listed files as a mapping from path to bytes, for readers that go over them more than once."""

from collections.abc import Iterator, Mapping

from backend_crew.tools.index.sources import FILE_LIMIT, Inventory, read_one

_KEPT_BYTES = 32_000_000
_NO_TEXT = frozenset({"image", "binary"})


class Files(Mapping[str, bytes]):
    """Reads a file when it is asked for, and keeps what it read up to a bound; a file that is gone is empty."""

    def __init__(self, listed: Inventory) -> None:
        self._listed = listed
        self._paths = {
            file.path: None for file in listed.files if file.language not in _NO_TEXT and 0 < file.size <= FILE_LIMIT
        }
        self._kept: dict[str, bytes] = {}
        self._size = 0

    def __getitem__(self, path: str) -> bytes:
        """The bytes of a listed file; KeyError for another path."""
        if path not in self._paths:
            raise KeyError(path)
        if path in self._kept:
            return self._kept[path]
        data = read_one(self._listed, path) or b""
        if self._size + len(data) <= _KEPT_BYTES:
            self._kept[path] = data
            self._size += len(data)
        return data

    def __iter__(self) -> Iterator[str]:
        """The paths, sorted."""
        return iter(self._paths)

    def __len__(self) -> int:
        """Number of files."""
        return len(self._paths)
