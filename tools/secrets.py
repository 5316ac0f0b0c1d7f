"""Finds secrets by value and by shape, and takes them out of text that leaves for a model or a log."""

import base64
import functools
import html
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from backend_crew.tools.deny import SECRET_MARK, is_env_file
from backend_crew.tools.errors import ToolError
from backend_crew.tools.excerpt import CUT
from backend_crew.tools.workspace import JUNK_FOLDERS, read_file

MARK = SECRET_MARK
MIN_LENGTH = 8
_MAX_FILES = 1_000
_MAX_BYTES = 2_000_000
_MAX_TOTAL = 32_000_000
_KEYWORD_LINE = 2_000
_FRAGMENT = 4
_FRAGMENT_MAX = 256
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
    r"secret|token|passw|passphrase|passcode|pwd|pass$|(?:^|[_.-])pass(?=[_.-])|pw$|api_?key|private|credential|salt"
    r"|signing|_key$|^key$|dsn|auth$",
    re.I,
)
# A value under such a name is a password whatever it looks like; the others also name what is only looked up by.
_PASSWORD_NAME = re.compile(r"(?:passw(?:or)?d|passphrase|passcode|pass|pwd|pw)$", re.I)
_STRONG_NAME = re.compile(
    r"(?:secret|token|(?:api|auth|access|private|signing|encryption|secret|session|jwt|client)[_-]?key)$", re.I
)
# TOKEN_HEADER=X-Session-Token tells nothing, and such words stand all over the code.
_HARMLESS_NAME = re.compile(
    r"(ur[li]|host|port|name|user|header|algorithm|minutes|seconds|hours|days|ttl|expir\w*|path|file|dir|issuer|audience"
    r"|type|prefix|length|rounds|policy|enabled|scheme|provider|backend|region|lifetime|timeout|interval|age|size|count"
    r"|limit|max|min|version|format|mode|class|module|field|column|table|label|title|text|hint|placeholder|ref)$"
    r"|bypass$|compass$",
    re.I,
)
# Under such names everybody may see what is random all the same.
_PUBLIC_NAME = re.compile(
    r"(?:sha\d*|commit|digest|hash|checksum|revision|version|ref|tag|id|uuid|host\w*|fingerprint|build|path|release)$",
    re.I,
)
_PLAIN = re.compile(
    r"""[-+]?[\d.,:_\s]+                    # numbers, versions, times
    | \d{4}-\d\d-\d\d(?:[T\s][\d:.]+Z?)?    # dates
    | (?:~|\.{1,2})?/[\w./@ +-]*            # paths
    | [\w.-]+:\d{1,5}                       # host:port
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+          # mail addresses
    | [a-z][\w-]*(?:\.[\w-]+)+              # host, module and file names
    """,
    re.X | re.I,
)
_DURATION = re.compile(r"(?=.{1,12}$)(?:\d+\s*[a-z]{1,3}[\s,;]*){1,4}", re.I)
# Where a path begins that nobody would take for base64, in which `/` is a letter like others.
_PATH = re.compile(
    r"(?:~|\.{1,2})/[\w./@ +-]*|/(?:app|bin|certs|code|data|dev|etc|home|keys|lib|mnt|opt|private|proc|root|run|sbin"
    r"|secrets|srv|src|tmp|Users|usr|var|work\w*)/[\w./@ +-]*"
)
_RANDOM = re.compile(r"(?=.*\d)(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9+/_=~.-]{20,}|[0-9a-f]{32,}")
# What stands for a value (of a variable, of a template, of another file), and versions of packages.
_REFERENCE = re.compile(
    r"[$%{<!*&]|ENC\[|vault:|\[secret\]|(?:env|file|ref|secret)\b[.:(+]"
    r"|(?:[\^~=<>]{1,2} ?)?v?\d+\.\d+(?:\.\w+)*(?:[-+][\w.]+)?$",
    re.I,
)
_TELLING = re.compile(r"pass|pwd|secret|token|credential|example|change|your|dummy|sample|here", re.I)
# Texts for users: `"password": "Passwort"` is a label.
_LABELS = re.compile(r"(?:^|/)(?:locales?|i18n|l10n|translations?|lang|languages?|messages?)(?:[/._-])", re.I)
_ASSIGNED = re.compile(
    r"""(?<![\w.-])(?P<name>[A-Za-z_][\w.-]{0,80})["']?(?:[ \t]*(?::=|=>|[:=])[ \t]*|>)
    (?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'|(?P<bare>[^\s,;"'<>]+))""",
    re.X,
)
_SEPARATOR = r"(?:\s|\\[nr]|(?<=\n)[-+])"
_KEY_BLOCK = (
    rf"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----{_SEPARATOR}*(?:[A-Za-z-]+: [^\n]*\n\s*)*[A-Za-z0-9+/=]{{32,}}"
    rf"(?:{_SEPARATOR}+[A-Za-z0-9+/=]{{20,}})*(?:{_SEPARATOR}+[A-Za-z0-9+/]+={{0,2}}(?={_SEPARATOR}*-----END))?"
    rf"(?:{_SEPARATOR}*-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----)?"
)
# Each begins with fixed letters, which makes it as fast as looking for these.
_SHAPES = tuple(
    re.compile(shape)
    for shape in (
        _KEY_BLOCK,
        # At least one digit: `sk-` also begins ordinary names.
        r"sk-(?<![A-Za-z0-9_-]sk-)(?=[A-Za-z0-9_-]*\d)[A-Za-z0-9_-]{20,}",
        r"A(?<![A-Za-z0-9]A)(?:KIA|SIA)[0-9A-Z]{16}(?![A-Za-z0-9])",
        r"gh(?<![A-Za-z0-9]gh)[pousr]_[A-Za-z0-9]{36,}",
        r"github_pat_(?<![A-Za-z0-9]github_pat_)[A-Za-z0-9_]{22,}",
        r"glpat-(?<![A-Za-z0-9]glpat-)[A-Za-z0-9_-]{20,}",
        r"xox(?<![A-Za-z0-9]xox)[abeoprs]-[A-Za-z0-9-]{10,}",
        r"AIza(?<![A-Za-z0-9]AIza)[0-9A-Za-z_-]{35}",
        r"sk_(?<![A-Za-z0-9]sk_)(?:live_|test_)?[0-9A-Za-z]{20,}",
        r"rk_(?<![A-Za-z0-9]rk_)(?:live_|test_)?[0-9A-Za-z]{20,}",
        r"whsec_(?<![A-Za-z0-9]whsec_)(?:live_|test_)?[0-9A-Za-z]{20,}",
        r"npm_(?<![A-Za-z0-9]npm_)[A-Za-z0-9]{36}",
        r"pypi-AgE(?<![A-Za-z0-9]pypi-AgE)[A-Za-z0-9_-]{40,}",
        r"hf_(?<![A-Za-z0-9]hf_)[A-Za-z0-9]{30,}",
        r"SG\.(?<![A-Za-z0-9]SG\.)[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{32,}",
        r"eyJ(?<![A-Za-z0-9]eyJ)[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    )
)
# The lines in which a detector of another form is asked: each such key has a run of this length.
_RUN = re.compile(r"[A-Za-z0-9+/=_-]{20}")
# From the colon of `scheme://user:password@host`, of which a letter or digit stands before.
_URL_PASSWORD = re.compile(
    r"://(?<=[A-Za-z0-9+.-]://)[^\s:/@\"'<>]{0,100}:"
    r"([^\s/@\"'<>{}$%()*]{1,200}|[^\s/@\"'<>{}$()*]{3,200})(?=@[\w\[{.-])"
)
# What a known form looks like whose end was cut off.
_CUT_SHAPE = re.compile(
    r"(?<![A-Za-z0-9_-])(?:(?:sk-|AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|AIza|[sr]k_|whsec_|npm_|pypi-Ag"
    r"|hf_|SG\.|eyJ)[A-Za-z0-9_.-]{4,})$"
)
_CUT_PASSWORD = re.compile(
    r"[a-z][a-z0-9+.-]{1,30}://[^\s:/@\"'<>]{0,100}:(?!\d{1,5}(?:/|$))([^\s/@\"'<>{}$%()*]{4,})$", re.I
)
# As ripgrep writes it: lines in which a known form or the password of a URL may stand.
_MAY_HOLD = (
    "sk-|AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|AIza|[sr]k_|whsec_|npm_|pypi-AgE|hf_|SG\\.|eyJ"
    "|://[^ /@]*:[^ @]+@|-----BEGIN"
)
_SECRET_WORD = re.compile(r"secret|token|pass|pwd|pw\W|key|private|credential|salt|signing|dsn|auth", re.I)
_URL = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.I)
_ENV_LINE = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][\w.-]*)[ \t]*=[ \t]*
    (?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'|(?P<bare>[^\n]*))""",
    re.X | re.M,
)


class Redactor:
    """Replaces secrets in text: the given values, their usual encodings, and keys known by their shape."""

    def __init__(self, values: Iterable[str], certain: Iterable[str] = (), left_out: Iterable[str] = ()) -> None:
        """Take the values; those that ordinary text may hold (short, common, numbers, paths) are left out.

        What is `certain` counts whatever it looks like. `left_out` names files that were too large to be searched.
        """
        parts = {part for value in values for part in _secret_parts(value)} | {one for one in certain if one.strip()}
        forms = {form for part in parts for form in _forms(part)}
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self.left_out = tuple(left_out)

    def __call__(self, text: str) -> str:
        """Give the text with every secret replaced by `[secret]`."""
        made, at = [], 0
        for start, end in self._spans(text):
            made += [text[at:start], MARK]
            at = end
        return "".join((*made, text[at:]))

    def mask(self, text: str) -> str:
        """Give a text of the same length and lines in which NUL stands for each character of a secret."""
        made, at = [], 0
        for start, end in self._spans(text):
            made += [text[at:start], re.sub(r"[^\n]", "\0", text[start:end])]
            at = end
        return "".join((*made, text[at:]))

    def patterns(self) -> tuple[str, ...]:
        """Give ripgrep's patterns for the lines that may hold a secret; some of those that they find hold none."""
        lines = {line.strip() for form in self._forms for line in form.splitlines()}
        wanted = sorted(line for line in lines if len(line) >= MIN_LENGTH and line.isprintable())
        return (*("".join(f"\\x{{{ord(char):x}}}" for char in line) for line in wanted), _MAY_HOLD)

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Where secrets stand, in order; those that overlap are one."""
        found: list[tuple[int, int]] = []
        # One after another: looking for a fixed text is so fast that an alternation of all of them is far slower.
        for form in self._forms:
            at = text.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = text.find(form, at + 1)
        if text:
            found += (match.span() for shape in _SHAPES for match in shape.finditer(text))
            found += (match.span(1) for match in _URL_PASSWORD.finditer(text) if not _is_placeholder(match[1]))
            found += _detected(text)
        if CUT in text:
            found += self._fragments(text)
        return _merged(found)

    def _fragments(self, text: str) -> Iterator[tuple[int, int]]:
        """What a cut left of a secret: beside each sign of a cut, a beginning or an end of four characters or more."""
        at = text.find(CUT)
        while at >= 0:
            before, after = text[max(0, at - _FRAGMENT_MAX) : at], text[at + 1 : at + 1 + _FRAGMENT_MAX]
            size = max((_overlap(before, form) for form in self._forms), default=0)
            if (shape := _CUT_SHAPE.search(before)) is not None:
                size = max(size, len(before) - shape.start())
            if (login := _CUT_PASSWORD.search(before)) is not None and not _is_placeholder(login[1]):
                size = max(size, len(login[1]))
            yield at - size, at
            yield at + 1, at + 1 + max((_overlap(form, after) for form in self._forms), default=0)
            at = text.find(CUT, at + 1)

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
    left_out: list[str] = []
    values = (*values_from_env_files(root, left_out), *values_from_configuration(root, left_out))
    return Redactor((), (*values, *values_from_environment(environment)), left_out)


def of_environment(environment: Mapping[str, str]) -> Redactor:
    """Make the redactor for where no repository is known: what our environment holds."""
    return Redactor((), values_from_environment(environment))


def values_from_environment(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Give what variables hold that is secret by their name, as the password of a URL, or by how random it is."""
    found: dict[str, None] = {}
    for name, value in environment.items():
        if _is_secret_name(name) or _URL.match(value):
            found.update(dict.fromkeys(_secret_parts(value, named=_is_secret_name(name))))
        elif _RANDOM.fullmatch(value) and not (_PUBLIC_NAME.search(name) or _PLAIN.fullmatch(value)):
            found[value] = None
    return tuple(found)


def values_from_configuration(root: Path, left_out: list[str] | None = None) -> tuple[str, ...]:
    """Give the passwords and keys that configuration files below root hold in plain text; never to be shown.

    The first 1,000 files of up to 2 MB are read, those nearest to root first, 32 MB in all; others are named in
    `left_out`. Letters alone count under the name of a password, unless they say what they are for or stand elsewhere
    in the file too: taking names out of every text would leave models with holes in ordinary code.
    """
    values: dict[str, None] = {}
    for path, text in _texts(root, _is_configuration, left_out):
        for line in text.splitlines():
            if "://" in line:
                values.update(dict.fromkeys(match[1] for match in _URL_PASSWORD.finditer(line)))
            if _SECRET_WORD.search(line):
                values.update(dict.fromkeys(_assigned(path, line, text)))
                values.update(dict.fromkeys(_by_keyword(path, line)))
    return tuple(value for value in values if _is_secret(value, named=True))


def _assigned(path: str, line: str, text: str) -> Iterator[str]:
    """What a line gives to names of secrets."""
    for match in _ASSIGNED.finditer(line):
        name, value = match["name"], _value(match)
        if not _is_secret_name(name) or _REFERENCE.match(value):
            continue
        words = re.fullmatch(r"[^\W\d]+(?:[ ._-]+[^\W\d]+)*\W?", value) is not None
        if not words:
            if _PASSWORD_NAME.search(name) or _STRONG_NAME.search(name) or not _PLAIN.fullmatch(value):
                yield value
        elif (
            _PASSWORD_NAME.search(name)
            and not (" " in value or _TELLING.search(value) or _LABELS.search(path))
            and not _stands_elsewhere(value, text)
        ):
            yield value


def _stands_elsewhere(value: str, text: str) -> bool:
    """Whether a password is the name of something in the same file too, such as of the user or the database."""
    given = (match for match in _ASSIGNED.finditer(text) if _PASSWORD_NAME.search(match["name"]))
    return text.count(value) > sum(_value(match) == value for match in given)


def _by_keyword(path: str, line: str) -> Iterator[str]:
    """What detect-secrets takes for the value of a secret, where the name is in another form than we read."""
    from detect_secrets.plugins.keyword import KeywordDetector

    if len(line) <= _KEYWORD_LINE and not _ASSIGNED.search(line):
        for found in KeywordDetector().analyze_line(filename=path, line=line):
            value = found.secret_value
            if value and not re.fullmatch(r"[A-Za-z._-]*|\[secret\]", value) and not _PLAIN.fullmatch(value):
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


def _detected(text: str) -> Iterator[tuple[int, int]]:
    """Where detectors of detect-secrets find a key; each is asked about the few lines that can hold one."""
    end = 0
    while (run := _RUN.search(text, end)) is not None:
        start, end = text.rfind("\n", 0, run.start()) + 1, text.find("\n", run.end())
        end = len(text) if end < 0 else end
        yield from (_secret_span(match) for pattern in _detectors() for match in pattern.finditer(text, start, end))


def _secret_span(match: re.Match[str]) -> tuple[int, int]:
    """The secret part where the pattern marks one, else all that matched."""
    return match.span(next((number for number, text in enumerate(match.groups(), 1) if text and len(text) >= 16), 0))


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    made: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if start == end:
            continue
        if made and start < made[-1][1]:
            made[-1] = (made[-1][0], max(end, made[-1][1]))
        else:
            made.append((start, end))
    return made


def _overlap(left: str, right: str) -> int:
    """How much of the end of one text is the beginning of the other; 0 for less than four characters."""
    for size in range(min(len(left), len(right)), _FRAGMENT - 1, -1):
        if left.endswith(right[:size]):
            return size
    return 0


def values_from_env_files(root: Path, left_out: list[str] | None = None) -> tuple[str, ...]:
    """Give what the real `.env` files below root hold that may be secret; for a Redactor, never to be shown."""
    values: dict[str, None] = {}
    for _, text in _texts(root, is_env_file, left_out):
        for match in _ENV_LINE.finditer(text):
            value, named = _value(match), _is_secret_name(match["name"])
            if named or _looks_random(value) or "://" in value:
                values.update(dict.fromkeys(_secret_parts(value, named=named)))
    return tuple(values)


def _is_secret_name(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None and _HARMLESS_NAME.search(name) is None


def _texts(root: Path, wanted: Callable[[str], bool], left_out: list[str] | None) -> Iterator[tuple[str, str]]:
    """Give path and text of the wanted files, those nearest to root first, within the bounds."""
    paths = []
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if name not in JUNK_FOLDERS)
        paths += [(Path(folder) / name).relative_to(root).as_posix() for name in filter(wanted, names)]
    room = _MAX_TOTAL
    for number, path in enumerate(sorted(paths, key=lambda path: (path.count("/"), path))):
        try:
            text = (
                read_file(root, path, _MAX_BYTES)[0].decode("utf-8", "replace")
                if number < _MAX_FILES and room > 0
                else None
            )
        except ToolError:  # a link, a device, or too large
            text = None
        if text is not None:
            room -= len(text)
            yield path, text
        elif left_out is not None and not (root / path).is_symlink():
            left_out.append(path)


def _value(match: re.Match[str]) -> str:
    if (double := match["double"]) is not None:
        return re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), double, flags=re.S)
    if (single := match["single"]) is not None:
        return str(single)
    return re.split(r"\s#", match["bare"], maxsplit=1)[0].strip()


def _looks_random(value: str) -> bool:
    kinds = [any(test(char) for char in value) for test in (str.isdigit, str.isalpha)]
    return len(value) >= 16 and all(kinds) and not any(char.isspace() for char in value)


def _secret_parts(value: str, *, named: bool = False) -> Iterator[str]:
    """Give what is secret in a value: of a URL its passwords, of a key block its lines too, else the value itself."""
    value = value.strip()
    if _URL.match(value):
        yield from _url_secrets(value)
        return
    if _is_secret(value, named=named):
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
    wanted += [value for name, value in parse_qsl(parts.query) if _is_secret_name(name)]
    yield from dict.fromkeys(part for part in wanted if _is_secret(part, named=True))


def _is_secret(value: str, *, named: bool = False) -> bool:
    """Whether a value is to be hidden; one with a secret name is, unless it is short, common or a path."""
    if len(value) < MIN_LENGTH or value.casefold() in _COMMON_WORDS.split() or len(set(value)) < 4:
        return False
    if (value.startswith("-----") and "\n" not in value) or _PATH.fullmatch(value):
        return False
    # A dotted value with upper case, digits and length is a token, not a host name.
    token = len(value) >= 24 and re.search(r"\d", value) and re.search(r"[A-Z]", value) and "/" not in value[:1]
    return bool(named or token) or not (_PLAIN.fullmatch(value) or _DURATION.fullmatch(value))


def _forms(value: str) -> Iterator[str]:
    data = value.encode("utf-8", "surrogateescape")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield from _base64_forms(data, encode)
    yield from (quote(value, safe=""), quote(value), quote_plus(value))
    for form in (value, json.dumps(value)[1:-1], repr(value)[1:-1]):
        # as XML and HTML write it, apostrophes in each of their ways
        bare = html.escape(form, quote=False)
        quoted = bare.replace('"', "&quot;")
        yield from (form, bare, quoted, *(quoted.replace("'", one) for one in ("&#x27;", "&#39;", "&apos;")))
        if "\n" in form:
            yield quoted.replace("\n", "&#10;")


def _base64_forms(data: bytes, encode: Callable[[bytes], bytes]) -> Iterator[str]:
    """Give the characters that depend on the data alone, for each of the three places it can begin at."""
    for before in range(3):
        text = encode(b"\0" * before + data).decode()
        bits = (before + len(data)) * 8
        inner = text[-(-before * 8 // 6) : bits // 6]
        if len(inner) >= 10:
            yield inner


def _is_placeholder(password: str) -> bool:
    return password == MARK or password.casefold() in (*_COMMON_WORDS.split(), *_EXAMPLE_WORDS.split())
