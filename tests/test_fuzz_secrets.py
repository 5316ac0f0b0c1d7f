"""Fuzzing: no secret is left in part by a cut, and nothing that an agent can ask tells one secret from another."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, example, find, given, settings
from hypothesis import strategies as st

from backend_crew.crew import toolbox, verdict
from backend_crew.crew.artifacts import Evidence
from backend_crew.crew.evidence import locate
from backend_crew.tools.deny import SECRET_MARK
from backend_crew.tools.errors import ToolError
from backend_crew.tools.excerpt import head, tail
from backend_crew.tools.search import search
from backend_crew.tools.secrets import Redactor, redactor
from backend_crew.tools.workspace import Redacts, Workspace

EXAMPLES = 60
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/!-_"
SECRETS = st.text(LETTERS, min_size=10, max_size=40).map(lambda word: f"{word}-7Qz")
HEX = st.binary(min_size=4, max_size=40).map(bytes.hex)
NAMES = st.sampled_from(("SECRET_KEY", "DB_PASS", "API_TOKEN", "MAIL_PW", "ADMIN_PASSWORD", "JWT_SECRET"))
CANARY = "c4nary/" + "Zk3v9+pQm2xN8sT4u.W"


@settings(max_examples=EXAMPLES, deadline=None)
@given(NAMES, HEX)
@example("SECRET_KEY", "1d2h3m4s5d6h7m8s")
@example("SECRET_KEY", "12345678901234567890")
def test_every_random_hex_value_under_the_name_of_a_secret_goes(name: str, value: str) -> None:
    assume(len(set(value)) >= 4 and value != "12345678")
    with TemporaryDirectory() as folder:
        (Path(folder) / ".env").write_text(f"{name}={value}\n")
        assert redactor(Path(folder), {})(f"<{value}>") == f"<{SECRET_MARK}>"
        (Path(folder) / ".env").unlink()
        (Path(folder) / "app.yaml").write_text(f"{name}: {value}\n")
        assume(not value.isalpha() and not re.fullmatch(r"\d+", value))
        assert redactor(Path(folder), {})(f"<{value}>") == f"<{SECRET_MARK}>"


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.one_of(SECRETS, st.sampled_from(("\n", "…", SECRET_MARK, "\0", "é")), st.text(max_size=9))), SECRETS)
def test_a_mask_keeps_length_and_lines_and_twice_is_as_once(parts: list[str], secret: str) -> None:
    clean, text = Redactor((), [secret, secret[2:9] + "x\ny"]), "".join([*parts, secret])
    masked = clean.mask(text)
    assert len(masked) == len(text) and masked.count("\n") == text.count("\n")
    assert secret not in clean(text) and secret not in masked
    assert clean(clean(text)) == clean(text)


CUTS: dict[str, Callable[[Redacts, str], str]] = {
    "a tool's answer": lambda clean, text: toolbox._bounded(clean(text)),
    "a message of a test": lambda clean, text: verdict.clipped(clean(text), 600),
    "an end that was cut before": lambda clean, text: clean(tail(text, 6_000)),
    "a beginning that was cut before": lambda clean, text: clean(head(text, 400)),
}


@pytest.mark.parametrize("name", CUTS)
def test_a_cut_that_slides_over_a_secret_leaves_nothing_of_it(name: str) -> None:
    clean, parts = Redactor([CANARY]), [CANARY[at : at + 5] for at in range(len(CANARY) - 4)]
    left = []
    for before in (*range(175, 202), *range(372, 402), *range(5_976, 6_002)):
        text = f"{('word ' * before)[:before]}{CANARY}{' word' * 1_195}"
        left += [part for part in parts if part in CUTS[name](clean, text)]
    assert left == []


def test_the_control_a_cut_before_secrets_are_taken_out_leaves_a_part() -> None:
    clean, text = Redactor([CANARY]), f"{'x' * 5_990} {CANARY} {'y' * 9_000}"
    assert CANARY[:9] in clean(toolbox._bounded(text).replace("…", "..."))


# -- what can be asked ---------------------------------------------------------------------------------------------

PIECES = st.one_of(st.text(LETTERS, max_size=3).map(re.escape), st.sampled_from(("[a-m]", "[n-z]", "[A-Z]", r"\d", ".", ".*", "^", "$", "|", r"\[secret\]", "db_password: ", "secret")))  # fmt: skip
PATTERNS = st.lists(PIECES, min_size=1, max_size=5).map("".join)


def answers(secret: str, pattern: str, piece: str, redact: bool = True) -> list[object]:
    """All that an agent learns by a search, an edit and a citation in a repository with that secret."""
    found: list[object] = []
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "app.yaml").write_text(f"log: info\ndb_password: {secret}\nurl: postgres://a:{secret}@db/x\n")
        (root / "app.py").write_text("secret = 1\npassword = 'abc'\n")
        clean = redactor(root, {}) if redact else None
        files = Workspace(root, Anything(), redact=clean)
        files.read("app.yaml")
        acts: tuple[Callable[[], object], ...] = (
            lambda: search(root, pattern, redact=clean),
            lambda: files.edit("app.yaml", piece, "zz\n"),
            lambda: locate(files, Evidence(path="app.yaml", line=2, quote=piece)),
        )
        for act in acts:
            try:
                found.append(act() if act is not acts[1] else bool(act()))
            except ToolError as error:
                found.append(str(error).replace(folder, ""))
        with contextlib.suppress(OSError):
            found.append((root / "app.yaml").read_text().replace(secret, "#"))
    return found


class Anything:
    """A scope that allows every path."""

    def check_write(self, path: str, act: str = "") -> None:
        """Allow it."""


GUESS = st.tuples(SECRETS, st.integers(0, 20), st.integers(3, 9)).map(lambda one: (one[0], one[0][one[1] :][: one[2]]))


@settings(max_examples=8, deadline=None)
@given(GUESS, SECRETS, PATTERNS, st.booleans())
@example(("c7nary-of-the-shop", "c7n"), "x7nary-of-the-shop", "db_password: (?:[a-d].*)?", True)
@example(("c7nary-of-the-shop", "c7n"), "x7nary-of-the-shop", r"db_password: (?:\[secret\]|[a-d])", False)
@example(("c7nary-of-the-shop", "db_password: c"), "x7nary-of-the-shop", "^db_password: c", False)
def test_no_search_no_edit_and_no_citation_tells_one_secret_from_another(
    guess: tuple[str, str], other: str, pattern: str, with_guess: bool
) -> None:
    secret, piece = guess
    for one in (secret, other):
        assume(len(set(one)) >= 4 and not one.startswith(("!", "-", "/")) and "secret" not in one.lower())
    assume(len(piece) >= 3 and piece not in "log: info\ndb_password: \nurl: postgres://a:@db/x\n")
    asked = pattern + re.escape(piece) if with_guess else pattern
    assert answers(secret, asked, piece) == answers(other, asked, piece)


def test_the_control_as_text_is_they_do() -> None:
    def tells(pattern: str) -> bool:
        one, other = (answers(word, pattern, "db_password: c", redact=False) for word in ("c7nary-shop", "x7nary-shop"))
        return one[0] != other[0] and one[1] != other[1] and one[2] != other[2]

    assert tells(find(st.sampled_from(("nothing", "db_password: [a-d]")), tells, settings=settings(database=None)))
