"""Finds secrets by value and by shape, and takes them out of text that leaves for a model or a log."""

import base64
import functools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from backend_crew.tools.deny import SECRET_MARK, is_env_file
from backend_crew.tools.errors import ToolError
from backend_crew.tools.workspace import JUNK_FOLDERS, read_file

MARK = SECRET_MARK
MIN_LENGTH = 8
_MAX_FILES = 50
_MAX_CONFIGURATIONS = 200
_MAX_BYTES = 256_000
_CONFIGURATION = (".yml", ".yaml", ".toml", ".ini", ".cfg", ".conf", ".properties", ".json", ".xml", ".tf")
_LOCKS = ("package-lock.json", "composer.lock", "pnpm-lock.yaml", "npm-shrinkwrap.json", "packages.lock.json")
# Detectors of detect-secrets whose pattern is the form of one provider's keys. Left out are those that take ordinary
# words (Artifactory, IP addresses, entropy) and those that ours do better (key blocks, URLs, tokens in three parts).
_DETECTORS = """
    aws.AWSKeyDetector azure_storage_key.AzureStorageKeyDetector cloudant.CloudantDetector discord.DiscordBotTokenDetector
    github_token.GitHubTokenDetector gitlab_token.GitLabTokenDetector ibm_cloud_iam.IbmCloudIamDetector
    ibm_cos_hmac.IbmCosHmacDetector mailchimp.MailchimpDetector npm.NpmDetector openai.OpenAIDetector
    pypi_token.PypiTokenDetector sendgrid.SendGridDetector slack.SlackDetector softlayer.SoftlayerDetector
    square_oauth.SquareOAuthDetector stripe.StripeDetector telegram_token.TelegramBotTokenDetector twilio.TwilioKeyDetector"""
_COMMON_WORDS = """
    localhost development production staging testing disabled enabled password password1 postgres postgresql
    changeme change-me changeit change_me change-this example username database undefined required optional
    sqlite3 mysql2 mongodb rabbitmq elasticsearch memcached us-east-1 us-west-1 us-west-2 eu-west-1 eu-central-1
    secret-key secretkey your-secret-key your-api-key placeholder replace-me replaceme notasecret anonymous
    administrator info@example.com public-key letmein12 12345678 123456789 1234567890 qwertyuiop passw0rd
    utf8mb4_unicode_ci en_us.utf-8 c.utf-8 application application/json sandbox-mode"""
_EXAMPLE_WORDS = "pass passwd password pwd secret user username test root admin postgres mysql app guest xxx ... …"
_SECRET_NAME = re.compile(
    r"secret|token|passw|passphrase|pwd|api_?key|private|credential|salt|signing|_key$|^key$|dsn|auth$", re.I
)
_NAMED_LINE = re.compile(r"(?:secret|token|passw|pwd|key|auth|credential|salt|dsn)\w*\W{1,8}\S", re.I)
# TOKEN_HEADER=X-Session-Token tells nothing, and such words stand all over the code.
_HARMLESS_NAME = re.compile(
    r"(ur[li]|host|port|name|user|header|algorithm|minutes|seconds|hours|days|ttl|expir\w*|path|file|dir|issuer|audience"
    r"|type|prefix|length|rounds|policy|enabled|scheme|provider|backend|region)$",
    re.I,
)
_PLAIN = re.compile(
    r"""[-+]?[\d.,:_\s]+                    # numbers, versions, times
    | (?:\d+\s*[a-z]{1,3}[\s,;]*)+          # durations and sizes
    | \d{4}-\d\d-\d\d(?:[T\s][\d:.]+Z?)?    # dates
    | (?:~|\.{1,2})?/[\w./@ +-]*            # paths
    | [\w.-]+:\d{1,5}                       # host:port
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+          # mail addresses
    | [a-z][\w-]*(?:\.[\w-]+)+              # host, module and file names
    """,
    re.X | re.I,
)
_SEPARATOR = r"(?:\s|\\[nr])"
_KEY_BLOCK = (
    rf"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----{_SEPARATOR}*(?:[A-Za-z-]+: [^\n]*\n\s*)*[A-Za-z0-9+/=]{{32,}}"
    rf"(?:{_SEPARATOR}+[A-Za-z0-9+/=]{{20,}})*(?:{_SEPARATOR}+[A-Za-z0-9+/]+={{0,2}}(?={_SEPARATOR}*-----END))?"
    rf"(?:{_SEPARATOR}*-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----)?"
)
_SHAPES = re.compile(
    "|".join(
        (
            _KEY_BLOCK,
            # At least one digit: `sk-` also begins ordinary names.
            r"(?<![A-Za-z0-9_-])sk-(?=[A-Za-z0-9_-]*\d)[A-Za-z0-9_-]{20,}",
            r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[0-9A-Z]{16}(?![A-Za-z0-9])",
            r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36,}",
            r"(?<![A-Za-z0-9])github_pat_[A-Za-z0-9_]{22,}",
            r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{20,}",
            r"(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{10,}",
            r"(?<![A-Za-z0-9])AIza[0-9A-Za-z_-]{35}",
            r"(?<![A-Za-z0-9])(?:sk|rk|whsec)_(?:live_|test_)?[0-9A-Za-z]{20,}",
            r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36}",
            r"(?<![A-Za-z0-9])pypi-AgE[A-Za-z0-9_-]{40,}",
            r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}",
            r"(?<![A-Za-z0-9])SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{32,}",
            r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
        )
    )
)
_URL_PASSWORD = re.compile(
    r"([a-z][a-z0-9+.-]{1,30}://[^\s:/@\"'<>]{0,100}:)([^\s/@\"'<>{}$%()*]{1,200}|[^\s/@\"'<>{}$()*]{3,200})(?=@[\w\[{.-])",
    re.I,
)
_URL = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.I)
_ENV_LINE = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][\w.-]*)[ \t]*=[ \t]*
    (?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'|(?P<bare>[^\n]*))""",
    re.X | re.M,
)


class Redactor:
    """Replaces secrets in text: the given values, their usual encodings, and keys known by their shape."""

    def __init__(self, values: Iterable[str]) -> None:
        """Take the values; those that ordinary text may hold (short, common, numbers, paths) are left out."""
        forms = {form for value in values for part in _secret_parts(value) for form in _forms(part)}
        self._forms = sorted(forms, key=lambda form: (-len(form), form))

    def __call__(self, text: str) -> str:
        """Give the text with every secret replaced by `[secret]`."""
        if not text:
            return text
        # One after another: looking for a fixed text is so fast that an alternation of all of them is far slower.
        for form in self._forms:
            if form in text:
                text = text.replace(form, MARK)
        text = _URL_PASSWORD.sub(_without_password, _SHAPES.sub(MARK, text))
        for pattern in _detectors():
            text = pattern.sub(_without_group, text)
        return text

    def deep(self, value: Any) -> Any:
        """Give a JSON-like value with every secret in its texts replaced, keys of mappings included."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {self(name) if isinstance(name, str) else name: self.deep(inner) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.deep(inner) for inner in value]
        return value


def redactor(root: Path, environment: Mapping[str, str]) -> Redactor:
    """Make the redactor of a repository: what its `.env` and configuration files and our environment hold."""
    values = (*values_from_env_files(root), *values_from_configuration(root), *values_from_environment(environment))
    return Redactor(values)


def values_from_environment(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Give what variables of a secret's name, and URLs, hold that may be secret; never to be shown."""
    return tuple(
        part
        for name, value in environment.items()
        if _URL.match(value) or (_SECRET_NAME.search(name) and not _HARMLESS_NAME.search(name))
        for part in _secret_parts(value)
    )


def values_from_configuration(root: Path) -> tuple[str, ...]:
    """Give the passwords and keys that configuration files below root hold in plain text; never to be shown.

    The 200 first files (by path) of up to 256 kB are read. Values that could be names (letters, `-`, `_` and `.` alone)
    are left out: taking those out of every text would leave models with holes in ordinary code.
    """
    values: dict[str, None] = {}
    for path in _files(root, _is_configuration, _MAX_CONFIGURATIONS):
        for line in _text_of(root, path).splitlines():
            if len(line) > 2_000:
                continue
            if "://" in line:
                values.update(dict.fromkeys(match[2] for match in _URL_PASSWORD.finditer(line)))
            if _NAMED_LINE.search(line):
                values.update(dict.fromkeys(_assigned(path, line)))
    return tuple(value for value in values if not re.fullmatch(r"[A-Za-z._-]*|\[secret\]", value))


def _assigned(path: str, line: str) -> Iterator[str]:
    from detect_secrets.plugins.keyword import KeywordDetector

    for found in KeywordDetector().analyze_line(filename=path, line=line):
        if value := found.secret_value:
            yield value


def _is_configuration(name: str) -> bool:
    return name.endswith(_CONFIGURATION) and name not in _LOCKS


@functools.cache
def _detectors() -> tuple[re.Pattern[str], ...]:
    """The patterns of detect-secrets that we use; imported at the first text, because it takes a tenth of a second."""
    from importlib import import_module

    found = []
    for name in _DETECTORS.split():
        module, _, detector = name.partition(".")
        found += getattr(import_module(f"detect_secrets.plugins.{module}"), detector)().denylist
    return tuple(found)


def _without_group(match: re.Match[str]) -> str:
    """Take out the secret part where the pattern marks one, else all that matched."""
    part = next((number for number, text in enumerate(match.groups(), 1) if text and len(text) >= 16), 0)
    start, end = match.span(part)
    return f"{match.string[match.start() : start]}{MARK}{match.string[end : match.end()]}"


def values_from_env_files(root: Path) -> tuple[str, ...]:
    """Give what the real `.env` files below root hold that may be secret; for a Redactor, never to be shown."""
    values: dict[str, None] = {}
    for path in _files(root, is_env_file, _MAX_FILES):
        for match in _ENV_LINE.finditer(_text_of(root, path)):
            value = _value(match)
            named = _SECRET_NAME.search(match["name"]) and not _HARMLESS_NAME.search(match["name"])
            if named or _looks_random(value) or "://" in value:
                values.update(dict.fromkeys(_secret_parts(value)))
    return tuple(values)


def _text_of(root: Path, path: str) -> str:
    try:
        return read_file(root, path, _MAX_BYTES)[0].decode("utf-8", "replace")
    except ToolError:  # a link, a device, or too large
        return ""


def _files(root: Path, wanted: Callable[[str], bool], limit: int) -> Iterator[str]:
    found = 0
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if name not in JUNK_FOLDERS)
        for name in sorted(filter(wanted, names)):
            if (found := found + 1) > limit:
                return
            yield (Path(folder) / name).relative_to(root).as_posix()


def _value(match: re.Match[str]) -> str:
    if (double := match["double"]) is not None:
        return re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), double, flags=re.S)
    if (single := match["single"]) is not None:
        return str(single)
    return re.split(r"\s#", match["bare"], maxsplit=1)[0].strip()


def _looks_random(value: str) -> bool:
    kinds = [any(test(char) for char in value) for test in (str.isdigit, str.isalpha)]
    return len(value) >= 16 and all(kinds) and not any(char.isspace() for char in value)


def _secret_parts(value: str) -> Iterator[str]:
    """Give what is secret in a value: of a URL its passwords, of a key block its lines too, else the value itself."""
    value = value.strip()
    if _URL.match(value):
        yield from _url_secrets(value)
        return
    if _is_secret(value):
        yield value
    if "\n" in value:
        yield from (line for line in map(str.strip, value.splitlines()) if len(line) >= 16 and _is_secret(line))


def _url_secrets(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
    except ValueError:  # not a URL after all, such as one with an unbalanced bracket
        return
    # Taken from the text: a password with "@" or "/" in it is common, and the parser would cut it.
    login = url.partition("://")[2].rpartition("@")[0]
    password = login.partition(":")[2]
    wanted = [password, unquote(password)]
    wanted += [value for name, value in parse_qsl(parts.query) if _SECRET_NAME.search(name)]
    yield from dict.fromkeys(part for part in wanted if _is_secret(part))


def _is_secret(value: str) -> bool:
    if len(value) < MIN_LENGTH or value.casefold() in _COMMON_WORDS.split() or len(set(value)) < 4:
        return False
    if value.startswith("-----") and "\n" not in value:
        return False
    # A dotted value with upper case, digits and length is a token, not a host name.
    if len(value) >= 24 and re.search(r"\d", value) and re.search(r"[A-Z]", value) and "/" not in value[:1]:
        return True
    return _PLAIN.fullmatch(value) is None


def _forms(value: str) -> Iterator[str]:
    yield value
    data = value.encode("utf-8", "surrogateescape")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield from _base64_forms(data, encode)
    for form in (quote(value, safe=""), quote(value), quote_plus(value), json.dumps(value)[1:-1], repr(value)[1:-1]):
        if form != value:
            yield form


def _base64_forms(data: bytes, encode: Callable[[bytes], bytes]) -> Iterator[str]:
    """Give the characters that depend on the data alone, for each of the three places it can begin at."""
    for before in range(3):
        text = encode(b"\0" * before + data).decode()
        bits = (before + len(data)) * 8
        inner = text[-(-before * 8 // 6) : bits // 6]
        if len(inner) >= 10:
            yield inner


def _without_password(match: re.Match[str]) -> str:
    password = match[2]
    if password == MARK or password.casefold() in (*_COMMON_WORDS.split(), *_EXAMPLE_WORDS.split()):
        return match[0]
    return f"{match[1]}{MARK}"
