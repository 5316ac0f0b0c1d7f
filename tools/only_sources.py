"""Programs of ours that import a repository's Python in the box, and read none of its compiled files."""

import inspect

from backend_crew.tools.sandbox import Box


def only_sources(box: Box, program: str) -> str:
    """The text for `python -c` that runs `program`, with nothing of the folder it runs in on sys.path.

    A compiled file can say something else than the source that was shown. Those of installed libraries are read: to
    compile every library anew takes seconds in each call.
    """
    root = str(box.layout.at)
    installed = tuple(f"{root}/{overlay}" for overlay in box.layout.overlays)
    return (
        "import sys; sys.path[:] = [item for item in sys.path if item]\n"
        f"{inspect.getsource(_refuse_compiled)}\n"
        f"_refuse_compiled({root!r}, {installed!r})\n"
        f"exec(compile({program!r}, '<migrating>', 'exec'))\n"
    )


def _refuse_compiled(root: str, installed: "tuple[str, ...]") -> None:
    """Runs in the box, as text, in any Python that a repository may have."""
    import os
    import sys

    # Of the import system itself: what it looks up there by name can be replaced.
    files = sys.modules["_frozen_importlib_external"]
    place, sourceless = vars(files)["cache_from_source"], vars(files)["SourcelessFileLoader"]
    code = sourceless.get_code

    def below(folders: "tuple[str, ...]", path: str) -> bool:
        return any(path.startswith(one.rstrip(os.sep) + os.sep) for one in folders)

    def is_theirs(path: str) -> bool:
        # sys.path may have relative folders, and links that lead into the repository.
        found = (os.path.abspath(path), os.path.realpath(path))  # noqa: PTH100  # Path is one more import, and slow
        roots = (root, os.path.realpath(root))
        return any(below(roots, one) and not below(installed, one) for one in found)

    def cached(path: str, *given: object, **named: object) -> object:
        if is_theirs(path):
            raise NotImplementedError  # which the import system takes for "there is none"
        return place(path, *given, **named)

    def loaded(self: object, name: str) -> object:
        path = vars(self)["path"]
        if is_theirs(path):
            raise ImportError(f"{path} is compiled, and only sources can be reviewed")
        return code(self, name)

    vars(files)["cache_from_source"] = cached
    sourceless.get_code = loaded
