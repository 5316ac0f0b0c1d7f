"""Secrets leave text in every usual form, and ordinary text stays as it is."""

import base64
import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from backend_crew.tools.secrets import (
    MARK,
    Redactor,
    of_environment,
    redactor,
    values_from_configuration,
    values_from_env_files,
    values_from_environment,
)

PASSWORD = "tr0ub4dor&3/x+y"
# Written in two parts, so that no scanner takes the examples for real keys.
KEYS = {
    "openai": "sk-" + "proj-abcDEF1234567890abcdEFGH",
    "anthropic": "sk-" + "ant-api03-AbCd1234567890efghIJKL-mnop",
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "github": "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "github-fine": "github_pat_" + "11ABCDEFG0123456789_abcdefghij",
    "gitlab": "glpat-" + "abcdefghij0123456789",
    "slack": "xoxb-" + "123456789012-abcdefghijkl",
    "google": "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "stripe": "sk_" + "live_4eC39HqLyjWDarjtT1zdp7dc",
    "jwt": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
}
BLOCK = (
    "-----BEGIN RSA PRIVATE "
    + "KEY-----\n"
    + ("MIIEpAIBAAKCAQEA7bq1Zk3v9pQm2xN8sT4uV6wY0aB1cD2eF3gH4iJ5kL6mN7oP\n" * 3)
    + "Zm9v+/==\n-----END RSA PRIVATE "
    + "KEY-----"
)


@pytest.mark.parametrize("name", KEYS)
def test_keys_are_known_by_their_shape(name: str) -> None:
    assert Redactor(())(f'key = "{KEYS[name]}", more') == f'key = "{MARK}", more'


def test_key_blocks_go_as_a_whole_also_on_one_line_and_cut_off() -> None:
    clean = Redactor(())
    assert clean(f"before\n{BLOCK}\nafter") == f"before\n{MARK}\nafter"
    assert clean(json.dumps({"key": BLOCK})) == json.dumps({"key": MARK})
    cut = clean("\n".join(BLOCK.splitlines()[:3]) + "\n")
    assert "MIIE" not in cut


@pytest.mark.parametrize(
    "form",
    [
        PASSWORD,
        base64.b64encode(PASSWORD.encode()).decode(),
        base64.urlsafe_b64encode(PASSWORD.encode()).decode(),
        quote(PASSWORD, safe=""),
        json.dumps(PASSWORD),
    ],
)
def test_values_go_in_every_usual_form(form: str) -> None:
    naive = f"<{form}>".replace(PASSWORD, MARK)
    assert form in (PASSWORD, json.dumps(PASSWORD)) or naive == f"<{form}>", "weak control: plain replacing misses it"
    cleaned = Redactor([PASSWORD])(f"<{form}>")
    assert MARK in cleaned and form.strip('"=') not in cleaned
    assert len(cleaned) <= len(f'<"{MARK}"==>')


@pytest.mark.parametrize("user", ["a", "ab", "abc", "admin"])
def test_a_value_inside_basic_authentication_goes(user: str) -> None:
    header = base64.b64encode(f"{user}:{PASSWORD}:".encode()).decode()
    cleaned = Redactor([PASSWORD])(f"Authorization: Basic {header}")
    assert MARK in cleaned
    left = cleaned.removeprefix("Authorization: Basic ").split(MARK)
    assert sum(map(len, left)) < len(user) * 2 + 12


def test_the_longest_value_goes_first() -> None:
    short, long = "k3y-part-1", "k3y-part-1-and-the-rest-9"
    assert Redactor([short, long])(f"{long} {short}") == f"{MARK} {MARK}"
    assert Redactor([long, short])(f"{long} {short}") == f"{MARK} {MARK}"


def test_of_a_database_url_only_the_password_goes() -> None:
    url = "postgresql://shop:s3cr3t-Pa55@db.internal:5432/shop?sslmode=require"
    clean = Redactor([url])
    assert (
        clean(f"DATABASE_URL={url}") == f"DATABASE_URL=postgresql://shop:{MARK}@db.internal:5432/shop?sslmode=require"
    )
    assert clean("the table shop on db.internal:5432") == "the table shop on db.internal:5432"
    assert clean("password is s3cr3t-Pa55.") == f"password is {MARK}."
    assert Redactor(["amqp://u:p%40ss%2Fw0rd@mq/x"])("p@ss/w0rd p%40ss%2Fw0rd") == f"{MARK} {MARK}"
    assert Redactor(["https://api.test/x?api_key=zq81mmvv02&page=2"])("zq81mmvv02") == MARK
    assert Redactor(["redis://:r3d1s-pw-x@cache:6379/0"])("see r3d1s-pw-x") == f"see {MARK}"


def test_passwords_in_unknown_urls_go() -> None:
    clean = Redactor(())
    assert clean("connect to mysql://app:hunter2x@db/shop failed") == f"connect to mysql://app:{MARK}@db/shop failed"
    assert clean("redis://:hunter2x@cache:6379") == f"redis://:{MARK}@cache:6379"


ORDINARY_VALUES = [
    *("localhost", "development", "5432", "12345678901", "true", "production", "/var/lib/shop/data", "./data/shop.db"),
    *(
        "http://localhost:8000/callback",
        "sqlite:///./shop.db",
        "postgresql://postgres:postgres@localhost/shop",
        "3.11.4",
    ),
    *(
        "short",
        "aaaaaaaaaaaa",
        "shop.example.com",
        "app.settings.production",
        "2024-01-31",
        "db.internal:5432",
        "password",
    ),
    *("ada@example.com", "", "   ", "postgres://db/shop", "127.0.0.1:8000", "http://["),
]


@pytest.mark.parametrize("value", ORDINARY_VALUES)
def test_ordinary_values_are_not_taken_out(value: str) -> None:
    text = f"import os\nvalue = {value!r}  # runs on localhost in development, port 5432, password postgres\n"
    assert Redactor([value])(text) == text


ORDINARY_TEXTS = [
    'url = f"postgresql://{user}:{password}@{host}:{port}/{name}"',
    'url = "postgresql://%s:%s@%s/%s" % parts',
    "DATABASE_URL=postgresql://$USER:${PASSWORD}@localhost/shop",
    "DATABASE_URL=postgresql://user:password@localhost:5432/shop",
    "see http://localhost:8000/users/@me and mailto:ada@example.com",
    '<a href="https://example.com:443/x">mail ada@example.com</a>',
    "class sk-fading-circle-with-a-long-name-indeed; task-1234567890123456789012",
    'if "-----BEGIN PRIVATE ' + 'KEY-----" in text:\n    raise ValueError("a key")',
    "commit 3f786850e387550fdab836ed7e6dc881de23001b sha256 " + "ab12" * 16,
    "import { a } from '@scope/package:tool@1.2.3'",
    "git+ssh://git@github.com/org/repo.git@v1.2",
]


@pytest.mark.parametrize("text", ORDINARY_TEXTS)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert Redactor(["tr0ub4dor-and-more"])(text) == text


def test_redacting_twice_changes_nothing() -> None:
    clean = Redactor([PASSWORD])
    once = clean(f"{PASSWORD} {BLOCK} postgres://a:{PASSWORD}@b/c {' '.join(KEYS.values())}")
    assert clean(once) == once


def test_values_are_read_from_real_environment_files_only(tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "node_modules").mkdir()
    (tmp_path / ".env").write_text(
        "# comment\nexport SECRET_KEY='correct horse battery'\nDEBUG=true\nPORT=8000\nAPP_NAME=The Little Shop\n"
        'DATABASE_URL="postgresql://shop:s3cr3t-Pa55@db/shop"\nOTHER=Zk3v9pQm2xN8sT4u # note\n'
        'MULTI_TOKEN="line-one-9\\nline-two-8"\nENVIRONMENT=development\nJWT_SECRET=plainlowercase\nTOKEN_HEADER=X-Session-Token\n'
    )
    (tmp_path / "service/.env.production").write_text("API_TOKEN=nested-value-1\r\n")
    (tmp_path / ".env.example").write_text("SECRET_KEY=example-value-22\n")
    (tmp_path / "node_modules/.env").write_text("SECRET_KEY=vendored-value-1\n")
    (tmp_path / "outside").write_text("SECRET_KEY=linked-value-123\n")
    (tmp_path / ".env.link").symlink_to(tmp_path / "outside")
    assert set(values_from_env_files(tmp_path)) == {
        *("correct horse battery", "s3cr3t-Pa55", "Zk3v9pQm2xN8sT4u", "line-one-9\nline-two-8", "plainlowercase"),
        "nested-value-1",
    }


def test_odd_environment_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b'\xff\xfe=\x00\n=x\nSECRET\nSECRET_A="never closed\nSECRET_B=value-of-b-1\n')
    os.mkfifo(tmp_path / ".env.pipe")
    assert "value-of-b-1" in values_from_env_files(tmp_path)


# Forms that detect-secrets knows and our own patterns do not.
FOREIGN = {
    "azure": "AccountKey=" + "Ab1+" * 22,
    "discord": "MTA" + "4NzI5ODc0NTEyMzQ1Njc4OTAx.GabcDe.abcdefghijklmnopqrstuvwxyz0",
    "mailchimp": "0123456789abcdef" * 2 + "-us12",
    "square": "sq0csp-" + "AbcDEF0123456789_AbcDEF0123456789_AbcDEF012",
    "telegram": "110201543:" + "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw_",
    "twilio": "SK" + "0123456789abcdef" * 2,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_detect_secrets_adds_the_keys_of_other_providers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"client = connect({FOREIGN[name]!r})"
    assert FOREIGN[name] not in Redactor(())(text)
    monkeypatch.setattr("backend_crew.tools.secrets._detectors", lambda: ())
    assert FOREIGN[name] in Redactor(())(text), "the control: our own patterns do not know it"


def test_values_of_our_environment_are_those_of_secret_names_and_the_passwords_of_urls() -> None:
    environment = {
        "SHOP_API_KEY": "w0rd-of-the-shop",
        "DATABASE_URL": "postgresql://shop:s3cr3t-Pa55@db/shop",
        "PIP_INDEX_URL": "https://ann:t0ken-of-ann@index.example/simple",
        "HOSTNAME": "ip-10-0-0-12-abcdef0123456789",
        "PATH": "/usr/bin:/bin",
        "SSH_AUTH_SOCK": "/tmp/ssh-abc123/agent.42",
        "LESSOPEN": "|lesspipe --url https://x.example/%s",
    }
    assert set(values_from_environment(environment)) == {"w0rd-of-the-shop", "s3cr3t-Pa55", "t0ken-of-ann"}


def test_values_of_configuration_files_are_passwords_and_not_names(tmp_path: Path) -> None:
    files = {
        "config/app.yaml": "db_password: w0rd-one\nsecretName: backend-credentials\ntoken: ${TOKEN}\nlevel: key-9 of x\n",
        "settings.toml": 'secret_key = "w0rd#two!"\npage_size = 50\n',
        "docker-compose.yml": "environment:\n  - POSTGRES_PASSWORD=w0rd-three\n  - POSTGRES_USER=shop\n",
        "alembic.ini": "sqlalchemy.url = postgresql://shop:w0rd-four@db/shop\n",
        "package-lock.json": '{"api_key": "w0rd-of-a-lock"}\n',
        "node_modules/x/config.json": '{"api_key": "w0rd-of-a-vendor"}\n',
        "app/settings.py": 'PASSWORD = "w0rd-in-code"\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "big.json").write_text('{"password": "w0rd-too-large"}\n' + " " * 3_000_000)
    left_out: list[str] = []
    assert set(values_from_configuration(tmp_path, left_out)) == {"w0rd-one", "w0rd#two!", "w0rd-three", "w0rd-four"}
    assert left_out == ["big.json"]


def test_one_redactor_knows_all_three_sources_and_goes_into_nested_values(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SECRET_KEY=from-the-env-1\n")
    (tmp_path / "app.yaml").write_text("password: from-the-yaml-2\n")
    clean = redactor(tmp_path, {"API_TOKEN": "from-the-shell-3"})
    held = {"a": ["from-the-env-1", {"from-the-yaml-2": ("from-the-shell-3", 4, None, True)}], "b": "kept"}
    assert clean.deep(held) == {"a": [MARK, {MARK: [MARK, 4, None, True]}], "b": "kept"}
    assert clean("") == ""


NAMED = {
    "DB_PASS": "Qx7vLm2pTz",
    "SMTP_PASS": "Qx7vLm2pTz!",
    "MAIL_PW": "mail-pw-38x",
    "DBPASS": "Qx7vLm2pTy",
    "PASS_OF_THE_SHOP": "Qx7vLm2pTx",
    "ADMIN_PASSWORD": "8392017465",
    "POSTGRES_PASSWORD": "correcthorsebattery",
    "SECRET_KEY": "3e7a91b2c4d5f608a1b2c3d4e5f60718",
    "API_TOKEN": "1d2h3m4s5d6h",
    "JWT_SECRET": "/9j4AAQSkZJRgABAQ+x",
    "SESSION_SALT": "12.34.56.78.90",
}


@pytest.mark.parametrize("name", NAMED)
def test_a_value_under_the_name_of_a_secret_is_one_whatever_it_looks_like(name: str, tmp_path: Path) -> None:
    value = NAMED[name]
    (tmp_path / ".env").write_text(f"{name}={value}\n")
    assert redactor(tmp_path, {})(f"see {value}!") == f"see {MARK}!"
    assert of_environment({name: value})(f"see {value}!") == f"see {MARK}!"


@pytest.mark.parametrize("name", [name for name in NAMED if name not in ("SESSION_SALT", "PASS_OF_THE_SHOP")])
@pytest.mark.parametrize("line", ["      {name}: {value}", "      - {name}={value}", "{name} = \"{value}\"", "<{name}>{value}</{name}>"])  # fmt: skip
def test_so_it_is_in_a_configuration_file(name: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(f"services:\n{line.format(name=name, value=NAMED[name])}\n")
    assert redactor(tmp_path, {})(f"see {NAMED[name]}!") == f"see {MARK}!"


ORDINARY_LINES = {
    "a reference": "password: ${DB_PASSWORD}",
    "a template": "password: {{ db_password }}",
    "the name of a secret": "passwordSecret: backend-credentials\nsecretName: shop-tls-2",
    "a key of another map": "key: password\nsort_key: created_at\ncache_key: v1.2.3",
    "a setting": "password_min_length: 12\ntoken_lifetime: 15 minutes\ntoken_header: X-Session-Token",
    "the name of the user too": "POSTGRES_USER: shopkeeper\nPOSTGRES_PASSWORD: shopkeeper\nPOSTGRES_DB: shopkeeper",
    "a placeholder": "password: change-me-please\nsecret: your-secret-here\npassword: mysecretpassword",
    "a word": "password: required\nauth: basic-auth\ntoken: bearer-token",
    "a path": "SSL_KEY: /etc/ssl/private/server.key\nprivate_key: ./certs/dev.pem",
    "a dependency": 'jsonwebtoken: "^9.0.2-beta.1"\npassport: "0.7.0"',
    "a bypass": "BYPASS: the-cache-layer\ncompass: north-north-west",
}


@pytest.mark.parametrize("name", ORDINARY_LINES)
def test_ordinary_lines_of_configuration_hide_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(ORDINARY_LINES[name] + "\n")
    assert values_from_configuration(tmp_path) == ()


def test_labels_for_users_are_no_passwords(tmp_path: Path) -> None:
    (tmp_path / "locales").mkdir()
    (tmp_path / "locales/de.json").write_text('{"password": "Kennwortfeld", "forgot": "Forgot your password?"}\n')
    assert values_from_configuration(tmp_path) == ()
    (tmp_path / "app.json").write_text('{"password": "Kennwortfeld"}\n')
    assert values_from_configuration(tmp_path) == ("Kennwortfeld",)


def test_random_values_of_our_environment_count_under_any_name_but_public_ones() -> None:
    value = "Zk3v9pQm2xN8sT4uW6yA1b"
    assert values_from_environment({"STRIPE": value, "FLY": "ab12" * 8}) == (value, "ab12" * 8)
    public = {
        "GITHUB_SHA": "ab12" * 10,
        "INVOCATION_ID": "cd34" * 8,
        "HOSTNAME": "Pod-7f9c4Xk2p-QQ81mmvv",
        "PATH": value,
    }
    assert values_from_environment({**public, "LANG": "en_US.UTF-8", "X": "app.Settings.v2_production"}) == ()


def test_a_repository_of_many_or_large_files_is_searched_and_what_was_left_out_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(250):
        (tmp_path / f"data/{number:03}.json").write_text(f'{{"n": {number}}}\n')
    (tmp_path / "data/zzz.json").write_text('{"db_password": "w0rd-of-the-last-file"}\n')
    (tmp_path / "zz.yaml").write_text("x: 1\n" * 100_000 + "db_password: w0rd-behind-much\n")
    (tmp_path / "min.json").write_text('{"a": "' + "x" * 50_000 + '", "db_password": "w0rd-in-a-long-line"}\n')
    (tmp_path / "deep.json").symlink_to(tmp_path / "min.json")
    (tmp_path / "huge.yaml").write_text("# " + "x" * 2_100_000)
    clean = redactor(tmp_path, {})
    for word in ("w0rd-of-the-last-file", "w0rd-behind-much", "w0rd-in-a-long-line"):
        assert clean(word) == MARK
    assert clean.left_out == ("huge.yaml",)


def test_a_long_run_of_letters_takes_no_time_to_search(tmp_path: Path) -> None:
    """A pattern that tries each place anew would take hours here, and the suite would notice."""
    (tmp_path / "a.json").write_text('{"key": "' + "aB3" * 600_000 + '"}')
    values_from_configuration(tmp_path)
    Redactor(())("aB3" * 600_000 + " ://" * 10_000 + "eyJ" * 10_000)


XML = "p4ss&\"word'<9>"


def test_values_go_out_of_xml_and_html(tmp_path: Path) -> None:
    from xml.etree import ElementTree as ET

    case = ET.Element("failure", message=f"is {XML!r}, not {XML}")
    case.text = f"{XML} {json.dumps(XML)}"
    written = ET.tostring(case, encoding="unicode")
    assert XML not in written, "the control: plain replacing finds nothing"
    cleaned = Redactor([XML])(written)
    assert cleaned.count(MARK) == 4 and "word" not in cleaned


def test_what_is_left_of_a_secret_beside_the_sign_of_a_cut_goes_too() -> None:
    clean = Redactor([PASSWORD])
    assert clean(f"{PASSWORD[:9]}… and …{PASSWORD[5:]}") == f"{MARK}… and …{MARK}"
    assert clean(f"{PASSWORD[:9]} and {PASSWORD[5:]}").count(MARK) == 0, "the control: a part alone is known by nothing"
    for key in KEYS.values():
        assert key[:12] not in clean(f"key = {key[:16]}…")
    assert clean("postgresql://shop:s3cr3t-Pa…") == f"postgresql://shop:{MARK}…"
    for text in ("http://localhost:8000/users…", "wait… what", "… pass…", "postgresql://user:password…", "a task-of…"):
        assert clean(text) == text


def test_a_key_block_goes_out_of_a_diff_too() -> None:
    for sign in "+- ":
        lines = "\n".join(sign + line for line in BLOCK.splitlines())
        assert "MIIE" not in Redactor(())(lines)
