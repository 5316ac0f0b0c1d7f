"""The shape of the sandbox as bubblewrap arguments: what is mounted where, and the environment inside."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.errors import ToolRefused, ToolRetry
from backend_crew.tools.runtime import Runtime

# Of /etc only what programs need to start and to talk on the loopback; no accounts, no hosts, no credentials.
_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "mime.types", "protocols", "services")
_ETC_SSL = ("ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "ca-certificates")
_SYSTEM_LINKS = ("bin", "sbin", "lib", "lib64", "lib32", "libx32")
_COVERED = ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64", "/usr/lib32", "/usr/libexec", "/usr/share")
_RESERVED = (*_COVERED, "/usr/local/bin", "/usr/local/lib", "/etc", "/proc", "/sys", "/dev", "/boot", "/bin", "/sbin")
# setpriv starts with the right to change its user: nothing of the repository may be linked into it.
_LINKER = ("LD_", "GLIBC_", "GCONV_", "LOCPATH", "NLSPATH")


@dataclass(frozen=True)
class Layout:
    """Where the parts of one box lie on the host, and where the copy appears inside."""

    files: Path
    at: Path
    mounts: tuple[Path, ...]
    overlays: tuple[str, ...]
    etc: Path


def check_place(at: Path) -> None:
    """Raises ToolRefused when a copy mounted at `at` would cover the system or is no absolute, plain path."""
    places = (at, at.resolve())
    plain = at.is_absolute() and ".." not in at.parts
    covers = any(Path(reserved).is_relative_to(place) for place in places for reserved in (*_RESERVED, "/tmp/home"))
    inside = any(place.is_relative_to(reserved) for place in places for reserved in (*_RESERVED, "/lib", "/lib64"))
    if not plain or covers or inside:
        raise ToolRefused(
            f"A repository at {at} would cover parts of the system inside the sandbox. Move it elsewhere."
        )


def environment(runtime: Runtime, extra: Mapping[str, str]) -> dict[str, str]:
    """The whole environment inside. Raises ToolRefused for linker variables, ToolRetry for values nobody can pass."""
    path = [str(folder) for folder in runtime.path]
    variables = {
        "HOME": "/tmp/home",
        "LANG": "C.UTF-8",
        "LOGNAME": "sandbox",
        "PATH": ":".join([*path, "/usr/local/bin", "/usr/bin", "/bin"]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": "/tmp",
        "USER": "sandbox",
        **runtime.env,
        **extra,
    }
    for name, value in variables.items():
        if name.startswith(_LINKER):
            raise ToolRefused(f"The variable {name} is not allowed in the sandbox: it changes what programs load.")
        if not name or "=" in name or "\0" in name + value:
            raise ToolRetry(f"The variable {name!r} cannot be passed to a program. Remove '=' and NUL characters.")
    return variables


def bwrap_argv(
    layout: Layout, variables: Mapping[str, str], *, as_root: bool, tmp_bytes: int, cwd: str
) -> tuple[str, ...]:
    """Everything between `bwrap` and the command. Later mounts lie over earlier ones, so the order is the meaning."""
    return tuple(
        [
            *_isolation(as_root),
            *_system(layout.etc),
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
    for name in _SYSTEM_LINKS:
        path = Path("/") / name
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    yield from ("--perms", "0755", "--dir", "/etc")
    for path in sorted(etc.iterdir()):
        yield from ("--ro-bind", str(path), f"/etc/{path.name}")
    for folder in ("/etc/ssl", "/etc/pki", "/etc/pki/tls"):
        yield from ("--perms", "0755", "--dir", folder)
    jvm = sorted(path.name for path in Path("/etc").glob("java*"))
    for name in (*_ETC, *_ETC_SSL, *jvm):
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")


def _private(tmp_bytes: int) -> Iterator[str]:
    size = ("--size", str(tmp_bytes), "--perms", "1777", "--tmpfs")
    yield from ("--proc", "/proc", "--dev", "/dev", *size, "/dev/shm", "--remount-ro", "/dev", *size, "/tmp")
    # Its owner would be root where we are: open to all, in a place that only the command sees.
    yield from ("--perms", "0777", "--dir", "/tmp/home")


def _repository(layout: Layout) -> Iterator[str]:
    for mount in layout.mounts:
        yield from (*_parents(mount), "--ro-bind", str(mount), str(mount))
    yield from (*_parents(layout.at), "--bind", str(layout.files), str(layout.at))
    for overlay in layout.overlays:
        yield from ("--ro-bind", str(layout.at / overlay), str(layout.at / overlay))


def _parents(path: Path) -> Iterator[str]:
    # bwrap makes missing folders with mode 0700, which a dropped user could not pass.
    for parent in reversed(path.parents[:-1]):
        yield from ("--perms", "0755", "--dir", str(parent))
