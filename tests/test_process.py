"""The command door: whole environment, bounded output, nothing left running, every failure named."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backend_crew.tools.errors import ToolFault, ToolRetry
from backend_crew.tools.process import Extras, run

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def wait_for(condition: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_output_exit_code_and_time_are_reported(tmp_path: Path) -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; exit 3"], cwd=tmp_path, env=ENV)
    assert (done.stdout, done.stderr, done.exit_code) == ("out\n", "err\n", 3)
    assert not done.ok
    assert not done.timed_out
    assert not done.stopped
    assert 0 < done.seconds < 5
    assert run(["true"], cwd=tmp_path, env=ENV).ok


def test_a_quick_command_is_not_slowed_down_by_polling(tmp_path: Path) -> None:
    assert min(run(["true"], cwd=tmp_path, env=ENV).seconds for _ in range(5)) < 0.04


def test_arguments_reach_the_program_unchanged_and_no_shell_reads_them(tmp_path: Path) -> None:
    hostile = ["$(touch pwned)", "; touch pwned", "`touch pwned`", "a b", "", "*", "é"]
    code = "import sys; sys.stdout.write(repr(sys.argv[1:]))"
    done = run([sys.executable, "-c", code, *hostile], cwd=tmp_path, env=ENV | {"PYTHONUTF8": "1"})
    assert done.stdout == repr(hostile)
    assert not (tmp_path / "pwned").exists()
    # The naive way, a shell around a joined string, falls for the same words.
    subprocess.run(["sh", "-c", f"echo {hostile[0]}"], cwd=tmp_path, env=ENV, check=True, capture_output=True)
    assert (tmp_path / "pwned").exists()


def test_nothing_of_our_environment_is_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_API_KEY", "sk-canary")
    done = run(["/usr/bin/env"], cwd=tmp_path, env={"ONLY": "this"})
    assert done.stdout == "ONLY=this\n"
    naive = subprocess.run(["/usr/bin/env"], capture_output=True, text=True, check=True)
    assert "sk-canary" in naive.stdout


def test_no_descriptor_is_inherited_unless_passed(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        os.set_inheritable(writer, True)
        command = [sys.executable, "-c", f"import os; os.write({writer}, b'x')"]
        assert not run(command, cwd=tmp_path, env=ENV).ok
        assert run(command, cwd=tmp_path, env=ENV, extras=Extras(pass_fds=(writer,))).ok
        assert os.read(reader, 10) == b"x"
    finally:
        os.close(reader)
        os.close(writer)


def test_stdin_is_fed_whole_and_is_empty_otherwise(tmp_path: Path) -> None:
    data = os.urandom(300_000).hex().encode()
    done = run(["cat"], cwd=tmp_path, env=ENV, stdin=data, output_limit=1_000_000)
    assert done.raw == data
    assert run(["cat"], cwd=tmp_path, env=ENV, timeout_s=5).stdout == ""
    # A program that does not read its input must not block or break us.
    assert run(["true"], cwd=tmp_path, env=ENV, stdin=data).ok


def test_a_flood_is_cut_in_the_middle_and_memory_stays_bounded(tmp_path: Path) -> None:
    code = "import sys\nprint('FIRST')\nfor _ in range(300): sys.stdout.write('x' * 100_000)\nprint('\\nLAST')"
    done = run([sys.executable, "-c", code], cwd=tmp_path, env=ENV, output_limit=2_000)
    assert done.ok
    assert done.truncated
    assert done.stdout.startswith("FIRST")
    assert done.stdout.endswith("LAST\n")
    assert "bytes left out" in done.stdout
    assert "x" not in done.stdout, "half a line could be half a secret"
    assert len(done.raw) < 2_100
    exact = run(["printf", "12345678"], cwd=tmp_path, env=ENV, output_limit=8)
    assert (exact.stdout, exact.truncated) == ("12345678", False)


def test_bytes_that_are_no_text_are_replaced_and_kept_raw(tmp_path: Path) -> None:
    done = run(["printf", r"a\377b"], cwd=tmp_path, env=ENV)
    assert done.stdout == "a�b"
    assert done.raw == b"a\xffb"


def test_timeout_kills_children_too_even_those_that_ignore_signals_or_leave_the_session(tmp_path: Path) -> None:
    script = "trap '' TERM INT HUP; setsid sleep 300 & echo $! >> pids; sleep 300 & echo $! >> pids; wait"
    done = run(["sh", "-c", script], cwd=tmp_path, env=ENV, timeout_s=0.4)
    assert done.timed_out
    assert done.exit_code is None
    assert 0.3 < done.seconds < 3
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    assert wait_for(lambda: not any(alive(pid) for pid in pids))


def test_the_naive_timeout_leaves_children_running(tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["sh", "-c", "sleep 300 >&- 2>&- & echo $! > pid; wait"], cwd=tmp_path, timeout=0.4, check=False)
    pid = int((tmp_path / "pid").read_text())
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_stop_is_noticed_soon(tmp_path: Path) -> None:
    flag = threading.Event()
    timer = threading.Timer(0.2, flag.set)
    timer.start()
    done = run(["sleep", "300"], cwd=tmp_path, env=ENV, stop=flag.is_set)
    timer.join()
    assert done.stopped
    assert not done.timed_out
    assert done.exit_code is None
    assert done.seconds < 1


def test_a_stop_that_raises_still_kills(tmp_path: Path) -> None:
    def broken() -> bool:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise RuntimeError("stop is broken")
        return False

    with pytest.raises(RuntimeError, match="stop is broken"):
        run(["sh", "-c", "echo $$ > pid; exec sleep 300"], cwd=tmp_path, env=ENV, stop=broken)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_background_child_does_not_hold_us_up_and_does_not_survive(tmp_path: Path) -> None:
    done = run(["sh", "-c", "sleep 300 & echo $!"], cwd=tmp_path, env=ENV, timeout_s=10)
    assert done.ok
    assert done.seconds < 3
    assert wait_for(lambda: not alive(int(done.stdout)))


def test_death_by_a_signal_from_elsewhere_is_negative(tmp_path: Path) -> None:
    assert run(["sh", "-c", "kill -9 $$"], cwd=tmp_path, env=ENV).exit_code == -signal.SIGKILL


def test_faults_name_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ToolFault, match="no-such-program in PATH=/usr/local/bin"):
        run(["no-such-program"], cwd=tmp_path, env=ENV)
    with pytest.raises(ToolFault, match="/no/such/program"):
        run(["/no/such/program"], cwd=tmp_path, env=ENV)
    with pytest.raises(ToolFault, match="gone does not exist"):
        run(["true"], cwd=tmp_path / "gone", env=ENV)
    (tmp_path / "data").write_text("no program")
    with pytest.raises(ToolFault, match="could not be started"):
        run([str(tmp_path / "data")], cwd=tmp_path, env=ENV)


def test_what_no_program_can_receive_goes_back_to_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ToolRetry, match="empty"):
        run([], cwd=tmp_path, env=ENV)
    with pytest.raises(ToolRetry, match="NUL"):
        run(["echo", "a\0b"], cwd=tmp_path, env=ENV)


def test_the_program_is_looked_up_in_the_given_path_only(tmp_path: Path) -> None:
    with pytest.raises(ToolFault, match="sh in PATH=/nowhere"):
        run(["sh", "-c", "true"], cwd=tmp_path, env={"PATH": "/nowhere"})


def test_parallel_runs_do_not_disturb_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        done = pool.map(lambda n: run(["sh", "-c", f"sleep 0.1; echo {n}"], cwd=tmp_path, env=ENV).stdout, range(6))
    assert list(done) == [f"{n}\n" for n in range(6)]
