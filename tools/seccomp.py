"""Seccomp filters for commands of a repository, assembled here: which calls the kernel no longer answers.

A filter refuses foreign machines (kill), the x32 calls, calls newer than this table, and whatever ordinary programs
do without. It is the second wall: mounts and namespaces are the first.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from backend_crew.tools.errors import ToolFault

ALLOW, ASK, KILL = 0x7FFF0000, 0x7FC00000, 0x80000000
_ERRNO = 0x00050000
_EPERM, _ENOSYS = 1, 38
_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
# The newest call that was looked at; what later kernels add does not exist in here, and programs fall back.
_NEWEST = 469
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _SEQPACKET, _TYPE_MASK = 1, 5, 0xF
# Every CLONE_NEW* flag that fits into clone(): mount, cgroup, UTS, IPC, user, process and network namespaces.
_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000

# Call numbers on x86_64 and aarch64; None where a machine lacks the call.
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chmod": (90, None),
    "chown": (92, None),
    "chroot": (161, 51),
    "clone": (56, 220),
    "clone3": (435, 435),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fchownat": (260, 54),
    "file_setattr": (469, 469),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "futimesat": (261, None),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "ioprio_set": (251, 30),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lchown": (94, None),
    "lookup_dcookie": (212, 18),
    "lremovexattr": (198, 15),
    "lsetxattr": (189, 6),
    "migrate_pages": (256, 238),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "prlimit64": (302, 261),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "removexattr": (197, 14),
    "removexattrat": (466, 466),
    "request_key": (249, 218),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "semget": (64, 190),
    "setns": (308, 268),
    "setpriority": (141, 140),
    "setxattr": (188, 5),
    "setxattrat": (463, 463),
    "shmget": (29, 194),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "utime": (132, None),
    "utimensat": (280, 88),
    "utimes": (235, None),
}
_NEVER = (
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "pidfd_getfd", "kcmp"),
    *("unshare", "setns", "chroot", "pivot_root", "mount", "umount2", "mount_setattr", "move_mount", "open_tree"),
    *("open_tree_attr", "fsopen", "fsconfig", "fsmount", "fspick", "open_by_handle_at", "fanotify_init"),
    *("bpf", "perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl", "lookup_dcookie"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "iopl", "ioperm"),
    *("acct", "quotactl", "quotactl_fd", "reboot", "swapon", "swapoff", "syslog"),
)
# Without namespaces: what other processes of the same user share, which no path leads to.
_SHARED = ("shmget", "semget", "msgget", "mq_open", "setpriority", "ioprio_set")
# The first argument is a process; 0 is the caller itself, and nobody else is its business.
_OF_A_PROCESS = (
    *("prlimit64", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler"),
    *("migrate_pages", "move_pages"),
)
# Landlock lets these through on any path that the user owns.
_OWNERSHIP = (
    *("chown", "lchown", "fchownat", "setxattr", "lsetxattr", "setxattrat", "removexattr", "lremovexattr"),
    *("removexattrat", "file_setattr"),
)
# As above, but too many programs end when they fail: they succeed and do nothing.
_MODES = ("chmod", "fchmodat", "fchmodat2", "utime", "utimes", "futimesat", "utimensat")

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP_EQUAL, _JUMP_ABOVE, _JUMP_FROM, _JUMP_ANY = 0x15, 0x25, 0x35, 0x45
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16


@dataclass(frozen=True)
class _Step:
    code: int
    value: int
    yes: int = 0
    no: int = 0


def program(machine: str | None = None, *, unix_sockets: bool = False) -> bytes:
    """The filter for a command that has namespaces of its own; `unix_sockets` lets it make AF_UNIX sockets.

    Raises ToolFault for a machine that is neither x86_64 nor aarch64, as its call numbers are not known here.
    """
    table = _Table(machine)
    families = (_INET, _INET6, _NETLINK, *((_UNIX,) if unix_sockets else ()))
    steps = [*table.head(), *table.refused(_NEVER), *table.namespaces(), *table.families(families)]
    return _assembled([*steps, *(() if unix_sockets else table.pairs()), _returned(ALLOW)])


def confined_program(machine: str | None = None, *, same_user: bool) -> bytes:
    """The filter for a command without namespaces: no socket at all (the kernel asks), nothing of other processes.

    `same_user` says that the command runs as the person, whose files everywhere it could change the mode of.
    """
    table = _Table(machine)
    steps = [*table.head(), *table.refused((*_NEVER, *_SHARED)), *table.namespaces(), *table.own_only(_OF_A_PROCESS)]
    if same_user:
        steps += [*table.refused(_OWNERSHIP), *table.refused(_MODES, _ERRNO)]
    steps += [*table.refused(("socket",), ASK), *table.pairs()]
    return _assembled([*steps, _returned(ALLOW)])


class _Table:
    """Pieces of a filter for one machine; each ends with the call's number loaded, or returns."""

    def __init__(self, machine: str | None) -> None:
        self._name = machine or os.uname().machine
        if self._name not in _MACHINES:
            known = " and ".join(_MACHINES)
            raise ToolFault(f"no seccomp filter is known for {self._name}, only for {known}: commands cannot be run")
        self._column = tuple(_MACHINES).index(self._name)

    def _number(self, name: str) -> int | None:
        return _NUMBERS[name][self._column]

    def head(self) -> Iterator[_Step]:
        """Another machine's calls would have other numbers: nothing below could judge them."""
        yield from (_Step(_LOAD, _MACHINE), _Step(_JUMP_EQUAL, _MACHINES[self._name], 1, 0), _returned(KILL))
        yield _Step(_LOAD, _NUMBER)
        if self._name == "x86_64":
            yield from (_Step(_JUMP_FROM, _X32, 0, 1), _returned(_ERRNO | _EPERM))
        yield from (_Step(_JUMP_ABOVE, _NEWEST, 0, 1), _returned(_ERRNO | _ENOSYS))

    def refused(self, names: tuple[str, ...], how: int = _ERRNO | _EPERM) -> Iterator[_Step]:
        for name in names:
            if (number := self._number(name)) is not None:
                yield from (_Step(_JUMP_EQUAL, number, 0, 1), _returned(how))

    def namespaces(self) -> Iterator[_Step]:
        """The flags of clone3 lie in memory, where no filter can look: without it the C library uses clone."""
        yield from self.refused(("clone3",), _ERRNO | _ENOSYS)
        yield from self._judged("clone", 0, [_Step(_JUMP_ANY, _NAMESPACES, 0, 1), _returned(_ERRNO | _EPERM)])

    def families(self, allowed: tuple[int, ...]) -> Iterator[_Step]:
        """Of sockets only these address families; AF_VSOCK, say, would pass by every network namespace."""
        yield from self._judged("socket", 0, self._one_of(allowed))

    def pairs(self) -> Iterator[_Step]:
        """Pairs stay, asyncio needs them, but no datagram ones: those can be sent, and connected, to any address."""
        yield from self._judged("socketpair", 0, self._one_of((_UNIX,)))
        yield from self._judged("socketpair", 1, [_Step(_AND, _TYPE_MASK), *self._one_of((_STREAM, _SEQPACKET))])

    def own_only(self, names: tuple[str, ...]) -> Iterator[_Step]:
        for name in names:
            yield from self._judged(name, 0, self._one_of((0,)))

    @staticmethod
    def _one_of(values: tuple[int, ...]) -> list[_Step]:
        last = len(values) - 1
        jumps = [_Step(_JUMP_EQUAL, value, last - place + 1, 0) for place, value in enumerate(values)]
        return [*jumps, _returned(_ERRNO | _EPERM)]

    def _judged(self, name: str, argument: int, judge: list[_Step]) -> Iterator[_Step]:
        # The low half of an argument (both machines are little-endian); the kernel reads these as 32 bits too.
        number = self._number(name)
        if number is None:
            return
        body = [_Step(_LOAD, _ARGUMENTS + 8 * argument), *judge, _Step(_LOAD, _NUMBER)]
        yield from (_Step(_JUMP_EQUAL, number, 0, len(body)), *body)


def _returned(value: int) -> _Step:
    return _Step(_RETURN, value)


def _assembled(steps: list[_Step]) -> bytes:
    return b"".join(struct.pack("=HBBI", step.code, step.yes, step.no, step.value) for step in steps)
