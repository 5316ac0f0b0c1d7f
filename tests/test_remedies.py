"""Each known cause has its own fix, and only where it is there."""

from pathlib import Path

import pytest

from backend_crew.tools.remedies import remedies

BWRAP = Path("/usr/bin/bwrap")


def on(
    system: Path, files: dict[str, str], reasons: str = "no permission", programs: tuple[Path, ...] = (BWRAP,)
) -> str:
    for path, text in files.items():
        (system / path).parent.mkdir(parents=True, exist_ok=True)
        (system / path).write_text(text)
    return remedies([reasons], programs, system)


def test_apparmor_gets_a_profile_for_this_program_alone(tmp_path: Path) -> None:
    said = on(tmp_path, {"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"})
    assert f"profile backend-crew-bwrap {BWRAP} flags=(unconfined)" in said
    assert "userns," in said and "apparmor_parser -r" in said
    assert "sysctl" not in said, "switching it off for everything is not advised"
    assert "AppArmor" not in on(tmp_path, {"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "0\n"})


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("proc/sys/kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone=1"),
        ("proc/sys/user/max_user_namespaces", "user.max_user_namespaces="),
        (".dockerenv", "seccomp=unconfined"),
        ("run/.containerenv", "systempaths=unconfined"),
    ],
)
def test_each_cause_has_its_fix(tmp_path: Path, file: str, words: str) -> None:
    assert words not in on(tmp_path, {})
    assert words in on(tmp_path, {file: "0\n"})


def test_what_is_missing_or_old_is_named(tmp_path: Path) -> None:
    assert "apt install bubblewrap" in on(tmp_path, {}, programs=())
    assert "0.8 or newer" in on(tmp_path, {}, "bwrap: is version 0.6.1; 0.8 or newer is needed")
    assert "apt install util-linux" in on(tmp_path, {}, "setpriv is missing; install the package util-linux")
    assert "unshare --user" in on(tmp_path, {}), "for an unknown cause, something to try"
