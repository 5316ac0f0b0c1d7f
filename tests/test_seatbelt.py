"""The text of the macOS profile; nothing here was run by a Mac."""

from pathlib import Path

import pytest

from backend_crew.tools.engine import Layout
from backend_crew.tools.errors import ToolFault
from backend_crew.tools.runtime import Runtime
from backend_crew.tools.seatbelt import find, profile


def lines(folder: Path, original: str = "/Users/me/shop") -> list[str]:
    runtime = Runtime(kind="python", mounts=(Path("/opt/python"),))
    layout = Layout(folder, folder / "files", folder / "files", Path(original), runtime, overlays=(".venv",))
    return profile(layout).splitlines()


def decided(text: list[str], path: str, right: str) -> bool:
    """What the last matching rule says, as the language has it."""
    answer = False
    for line in text:
        verb, _, rest = line.strip("()").partition(" ")
        names, _, filtered = rest.partition(" (")
        concerns = verb in ("allow", "deny") and (right in names or names == "default")
        matches = not filtered or (
            filtered.startswith("subpath ") and Path(path).is_relative_to(filtered.split('"')[1])
        )
        if concerns and matches:
            answer = verb == "allow"
    return answer


def test_the_copy_is_open_and_the_original_is_closed(tmp_path: Path) -> None:
    text = lines(tmp_path)
    assert text[:3] == ["(version 1)", "(deny default)", "(deny network*)"]
    assert decided(text, str(tmp_path / "files/app.py"), "file-write*")
    assert not decided(text, "/Users/me/shop/app.py", "file-read*")
    assert decided(text, "/Users/me/shop/.venv/bin/python", "file-read*")
    assert not decided(text, "/Users/me/shop/.venv/bin/python", "file-write*")
    assert not decided(text, "/Users/me/.ssh/id_rsa", "file-read*")
    assert decided(text, "/opt/python/bin/python", "file-read*") and not decided(text, "/opt/python/x", "file-write*")


def test_the_original_stays_closed_where_an_installation_holds_it(tmp_path: Path) -> None:
    text = lines(tmp_path, "/opt/python/src/shop")
    assert not decided(text, "/opt/python/src/shop/app.py", "file-read*")
    # The control: without its rule the installation's rule would open it.
    assert decided(
        [line for line in text if "(deny file-read*" not in line], "/opt/python/src/shop/app.py", "file-read*"
    )


def test_no_network_rule_opens_anything(tmp_path: Path) -> None:
    assert [line for line in lines(tmp_path) if line.startswith(("(allow network", "(deny network"))] == [
        "(deny network*)"
    ]


def test_a_path_cannot_end_its_string(tmp_path: Path) -> None:
    assert '\\"' in "\n".join(lines(tmp_path, '/Users/me/a")(allow default)'))
    with pytest.raises(ToolFault, match="cannot stand"):
        lines(tmp_path, "/Users/me/a\n(allow default)")


def test_elsewhere_it_is_refused() -> None:
    with pytest.raises(ToolFault, match="only on macOS"):
        find()
