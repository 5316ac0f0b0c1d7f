"""The security pass on a corpus of changes, and what it does with hostile ones."""

from pathlib import Path

import pytest
from verification.audit_corpus import Outcome, figures, outcomes

from backend_crew.tools.audit.check import Audit, Routes, audit
from backend_crew.tools.audit.guards import GuardedRoute, guarded
from backend_crew.tools.endpoints.find import find_endpoints


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Outcome], Audit]:
    return outcomes(tmp_path_factory.mktemp("audit"))


def test_every_weakness_is_found_and_no_clean_change_is_blocked(corpus: tuple[list[Outcome], Audit]) -> None:
    found, whole = corpus
    wrong = [(one.case.name, one.case.rule, [(f.rule, f.severity, f.text) for f in one.findings]) for one in found]
    assert [told for told, one in zip(wrong, found, strict=True) if not one.right] == []
    assert figures(found) == (1.0, 1.0)
    assert whole.unseen == ()


def test_what_was_there_before_is_counted_and_not_told(corpus: tuple[list[Outcome], Audit]) -> None:
    assert corpus[1].already_there == 1


def test_a_secret_is_not_repeated(corpus: tuple[list[Outcome], Audit]) -> None:
    texts = [one.text for outcome in corpus[0] for one in outcome.findings if one.rule == "secret-in-code"]
    assert texts
    assert not any("4eC39HqLyjWDarjtT1zdp7dc" in text or "q8Zr!2mVx7Lw9Kd4Tn6Yb3Hc" in text for text in texts)


def test_a_weakness_that_says_it_is_none_is_still_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import subprocess, tempfile, pickle\n"
        "def load(data):\n    return pickle.loads(data)  # nosec\n"
        "def name():\n    return tempfile.mktemp()  # nosec\n"
    )
    rules = {one.rule for one in audit(tmp_path / "none", tmp_path, ["a.py"]).findings}
    assert rules == {"unsafe-deserialisation", "bandit-B306"}


def test_a_file_that_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def broken(:\n")
    (tmp_path / "deep.py").write_text("x = " + "(" * 5000 + ")" * 5000)
    (tmp_path / "main.go").write_text("package main\n")
    (tmp_path / "link.py").symlink_to("/etc/passwd")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0")
    paths = ["broken.py", "deep.py", "main.go", "link.py", "picture.png", "gone.py"]
    result = audit(tmp_path / "none", tmp_path, paths)
    assert result.findings == ()
    assert sorted(one.partition(":")[0] for one in result.unseen) == ["broken.py", "deep.py", "link.py", "main.go"]


def _route(path: str, guard: str, file: str = "shop/api.py", line: int = 1, method: str = "GET") -> GuardedRoute:
    return GuardedRoute(method, path, file, line, guard)


OLD = (_route("/v1/orders", "CurrentUser"), _route("/v1/orders/{}", "CurrentUser"))


def _told(*added: GuardedRoute, public: frozenset[tuple[str, str]] = frozenset()) -> list[tuple[str, str]]:
    routes = Routes(OLD, (*OLD, *added), public)
    found = audit(Path("none"), Path("none"), [], routes=routes).findings
    return [(one.rule, one.severity) for one in found]


def test_a_new_route_without_a_guard_among_guarded_ones_is_an_error() -> None:
    assert _told(_route("/v1/refunds", "")) == [("auth-missing", "error")]
    assert _told(_route("/v1/orders/export", "", "shop/export.py")) == [("auth-missing", "error")]


def test_a_new_route_that_is_guarded_or_meant_for_everyone_is_none() -> None:
    assert _told(_route("/v1/refunds", "CurrentUser")) == []
    assert _told(_route("/v1/refunds", ""), public=frozenset({("GET", "/v1/refunds")})) == []
    assert _told(_route("/v1/catalogue", "", "shop/public.py")) == []


def test_a_login_without_a_guard_is_only_a_warning() -> None:
    assert _told(_route("/v1/sessions", "", method="POST")) == [("auth-missing", "warning")]


def test_an_old_route_that_loses_its_guard_is_an_error() -> None:
    after = (_route("/v1/orders", ""), OLD[1])
    found = audit(Path("none"), Path("none"), [], routes=Routes(OLD, after)).findings
    assert [one.rule for one in found] == ["auth-removed"]


def test_guards_are_read_from_the_source() -> None:
    files = {
        "app.py": b"from fastapi import Depends, FastAPI\nfrom fastapi.security import HTTPBearer\napp = FastAPI()\n"
        b"user = HTTPBearer()\n"
        b"@app.get('/orders/{order_id}')\ndef one(order_id: int, who=Depends(user)): ...\n"
        b"@app.get('/orders')\ndef every(): ...\n"
    }
    routes = guarded(find_endpoints(files))
    assert [(one.path, bool(one.guard)) for one in routes] == [("/orders/{}", True), ("/orders", False)]
    assert [one.rule for one in audit(Path("none"), Path("none"), [], routes=Routes((), routes)).findings] == [
        "auth-missing"
    ]
