"""The rules of the security pass in words: why each matters and what to do instead."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Rule:
    """One rule; `severity` is what a hit has where nothing speaks for it or against it."""

    severity: Severity
    why: str
    fix: str


@dataclass(frozen=True)
class Hit:
    """One place where a rule holds; `code` is its text in one line, by which old places are told from new ones."""

    rule: str
    line: int
    code: str
    severity: Severity
    detail: str = ""


def words(text: str) -> frozenset[str]:
    """The words of a text, for lists of names that read better so."""
    return frozenset(text.split())


RULES = {
    "sql-from-text": Rule(
        "error", "SQL is put together from text, so a value can become SQL", "give values as parameters of the query"
    ),
    "unsafe-deserialisation": Rule(
        "error",
        "reading this format can run code that the data names",
        "use a format that holds data alone (JSON), or the safe loader",
    ),
    "code-from-text": Rule("error", "text is run as code", "parse the value, or choose from known functions"),
    "command-from-text": Rule(
        "error",
        "a shell command is put together from text",
        "give the program its arguments as a list, without a shell",
    ),
    "template-from-input": Rule(
        "error",
        "a caller's text becomes a template or markup, and what stands in it is evaluated",
        "render a fixed template and give the text as a value",
    ),
    "open-redirect": Rule(
        "error", "a caller chooses where others are sent", "accept only paths of this site, or names from a list"
    ),
    "mass-assignment": Rule(
        "error",
        "a caller chooses which fields are set, those of roles and owners too",
        "name the fields that may be set",
    ),
    "path-traversal": Rule(
        "error",
        "a caller's text becomes part of a file's path, so any file can be named",
        "take the last part alone (secure_filename, basename) or check that the resolved path lies below the folder",
    ),
    "server-side-request": Rule(
        "error",
        "a caller chooses which address this server asks, internal ones too",
        "accept only hosts from a list, over https",
    ),
    "query-from-input": Rule(
        "error", "the whole query comes from the caller, operators included", "name the fields and take plain values"
    ),
    "tls-unverified": Rule("error", "the other side's certificate is not checked", "leave the verification on"),
    "weak-password-hash": Rule(
        "error", "a fast hash of a password is guessed quickly", "use argon2, bcrypt, scrypt or pbkdf2 with a salt"
    ),
    "debug-on": Rule(
        "error", "debug mode shows code and settings, and can run code", "switch it by configuration, off by default"
    ),
    "cors-any-origin": Rule(
        "warning", "every website may call this API from a visitor's browser", "name the origins that need it"
    ),
    "jwt-unverified": Rule(
        "error", "a token is believed without its signature", "verify it with a key and a fixed list of algorithms"
    ),
    "secret-in-code": Rule(
        "error",
        "a secret stands in the code, where everyone with the repository has it",
        "read it from the environment or a secret store, and change it where it is in use",
    ),
    "csrf-off": Rule("warning", "requests that other sites make a browser send are accepted", "keep the protection on"),
    "auth-missing": Rule(
        "error",
        "a new route lets everyone in, where the routes beside it ask who is calling",
        "guard it as its neighbours are, or have the contract say that it is public",
    ),
    "auth-removed": Rule("error", "a route that asked who is calling does not any more", "put the guard back"),
    "dependency-without-reason": Rule(
        "error",
        "a package was added that the design does not name",
        "remove it, or have the design name it with a reason",
    ),
    "dependency-added": Rule("note", "a package was added", "its reason is in the design"),
}
