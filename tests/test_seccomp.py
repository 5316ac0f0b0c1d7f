"""The filters, run step by step for both machines: what each call would be answered."""

import struct

import pytest

from backend_crew.tools import seccomp
from backend_crew.tools.errors import ToolFault

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, ASK, KILL, EPERM, ENOSYS, IGNORED = seccomp.ALLOW, seccomp.ASK, seccomp.KILL, 0x50001, 0x50026, 0x50000
CLONE_NEWUSER, SIGCHLD = 0x10000000, 17


def answer(code: bytes, machine: int, number: int, *arguments: int) -> int:
    """What the kernel would do, by the rules of classic BPF."""
    words = [argument & (2**64 - 1) for argument in (*arguments, *(0,) * (6 - len(arguments)))]
    data = struct.pack("=IIQ6Q", number, machine, 0, *words)
    place = register = 0
    while True:
        operation, yes, no, value = struct.unpack_from("=HBBI", code, place * 8)
        place += 1
        if operation == 0x20:
            register = struct.unpack_from("=I", data, value)[0]
        elif operation == 0x54:
            register &= value
        elif operation == 0x06:
            return int(value)
        else:
            tests = {
                0x15: register == value,
                0x25: register > value,
                0x35: register >= value,
                0x45: bool(register & value),
            }
            place += yes if tests[operation] else no


def number(name: str, machine: str) -> int:
    found = seccomp._NUMBERS[name][tuple(MACHINES).index(machine)]
    assert found is not None
    return found


@pytest.mark.parametrize("machine", MACHINES)
def test_the_usual_filter(machine: str) -> None:
    code, arch = seccomp.program(machine), MACHINES[machine]

    def of(name: str, *arguments: int) -> int:
        return answer(code, arch, number(name, machine), *arguments)

    for name in (
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "ptrace",
        "unshare",
        "mount",
        "bpf",
        "keyctl",
    ):
        assert of(name) == EPERM, name
    assert [of("socket", family) for family in (1, 2, 10, 16, 17, 38, 40)] == [EPERM, ALLOW, ALLOW, ALLOW, *[EPERM] * 3]
    assert of("socket", 2 | 1 << 32) == ALLOW and of("socket", 1 | 1 << 32) == EPERM, "the kernel reads 32 bits"
    assert [of("socketpair", 1, kind) for kind in (1, 5, 1 | 0x80000, 2, 3, 2 | 0x800)] == [ALLOW] * 3 + [EPERM] * 3
    assert of("clone", SIGCHLD) == ALLOW and of("clone", CLONE_NEWUSER | SIGCHLD) == EPERM
    assert of("clone3") == ENOSYS
    assert answer(code, arch, 0) == ALLOW and answer(code, arch, 470) == ENOSYS
    assert of("chmod" if machine == "x86_64" else "fchmodat") == ALLOW
    for other in (0x40000003, 0x40000028, *(value for value in MACHINES.values() if value != arch)):
        assert answer(code, other, 0) == KILL
    assert answer(code, arch, 0x40000000 | 41) == (EPERM if machine == "x86_64" else ENOSYS)


@pytest.mark.parametrize("machine", MACHINES)
def test_lifting_unix_sockets_lifts_nothing_else(machine: str) -> None:
    code, arch = seccomp.program(machine, unix_sockets=True), MACHINES[machine]
    assert answer(code, arch, number("socket", machine), 1) == ALLOW
    assert answer(code, arch, number("socket", machine), 40) == EPERM
    assert answer(code, arch, number("io_uring_setup", machine)) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("same_user", [True, False])
def test_the_filter_without_namespaces(machine: str, same_user: bool) -> None:
    code, arch = seccomp.confined_program(machine, same_user=same_user), MACHINES[machine]

    def of(name: str, *arguments: int) -> int:
        return answer(code, arch, number(name, machine), *arguments)

    assert [of("socket", family) for family in (1, 2, 10, 16, 40)] == [ASK] * 5
    assert of("socketpair", 1, 1) == ALLOW and of("socketpair", 1, 2) == EPERM
    assert of("prlimit64", 0) == ALLOW and of("prlimit64", 1234) == EPERM
    assert of("shmget") == EPERM
    assert of("fchmodat") == (IGNORED if same_user else ALLOW)
    assert of("fchownat") == (EPERM if same_user else ALLOW)
    assert of("clone", SIGCHLD) == ALLOW and of("clone", CLONE_NEWUSER) == EPERM


def test_other_machines_are_refused() -> None:
    with pytest.raises(ToolFault, match="riscv64"):
        seccomp.program("riscv64")
