"""The shape of the sandbox as bubblewrap arguments: what is shared, what is mounted where."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from backend_crew.tools.engine import SYSTEM_LINKS, Layout, shared_etc


def bwrap_argv(
    layout: Layout, variables: Mapping[str, str], *, as_root: bool, tmp_bytes: int, cwd: str
) -> tuple[str, ...]:
    """Everything between `bwrap` and the command. Later mounts lie over earlier ones, so the order is the meaning."""
    return tuple(
        [
            *_isolation(as_root),
            *_system(layout.folder / "etc"),
            *_private(tmp_bytes),
            *_repository(layout),
            *("--remount-ro", "/", "--clearenv"),
            *(word for name, value in variables.items() for word in ("--setenv", name, value)),
            *("--chdir", str(layout.at / cwd)),
        ]
    )


def _isolation(as_root: bool) -> Iterator[str]:
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
    yield from ("--die-with-parent", "--new-session", "--hostname", "sandbox", "--cap-drop", "ALL")
    if as_root:
        # Just enough to enter the copy, which another user owns, and for setpriv to become that user.
        # setpriv drops these and the bounding set before anything else starts.
        for capability in ("CAP_DAC_READ_SEARCH", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            yield from ("--cap-add", capability)
    else:
        yield from ("--unshare-user", "--disable-userns")


def _system(etc: Path) -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in SYSTEM_LINKS:
        path = Path("/") / name
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    yield from ("--ro-bind", str(etc), "/etc")
    for path in shared_etc():
        # The files are in `etc` already, with the mount points of the folders.
        if path.is_dir():
            yield from ("--ro-bind-try", str(path), str(path))


def _private(tmp_bytes: int) -> Iterator[str]:
    size = ("--size", str(tmp_bytes), "--perms", "1777", "--tmpfs")
    yield from ("--proc", "/proc", "--dev", "/dev", *size, "/dev/shm", "--remount-ro", "/dev", *size, "/tmp")
    # Its owner would be root where we are: open to all, in a place that only the command sees.
    yield from ("--perms", "0777", "--dir", "/tmp/home")


def _repository(layout: Layout) -> Iterator[str]:
    for mount in layout.runtime.mounts:
        yield from (*_parents(mount), "--ro-bind", str(mount), str(mount))
    yield from _parents(layout.at)
    if layout.lower is None:
        yield from ("--bind", str(layout.files), str(layout.at))
    else:
        work = layout.folder / "work"
        yield from ("--overlay-src", str(layout.lower), "--overlay", str(layout.files), str(work), str(layout.at))
    for overlay in layout.overlays:
        yield from ("--ro-bind", str(layout.original / overlay), str(layout.at / overlay))


def _parents(path: Path) -> Iterator[str]:
    # bwrap makes missing folders with mode 0700, which a dropped user could not pass.
    for parent in reversed(path.parents[:-1]):
        yield from ("--perms", "0755", "--dir", str(parent))
