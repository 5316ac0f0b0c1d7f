"""Servers that tests talk to, started for one command inside its box and gone with it: PostgreSQL, and Redis where it is.

They listen on the usual ports of the box's own loopback, with the names and passwords that the repository's files give
them there, so settings that hold a URL find them too. Each run begins with an empty one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from backend_crew.tools import pg_server
from backend_crew.tools.errors import ToolFault
from backend_crew.tools.junit import TestCase
from backend_crew.tools.postgres import find_postgres
from backend_crew.tools.runtime import Runtime
from backend_crew.tools.sandbox import Sandbox
from backend_crew.tools.service_needs import POSTGRESQL, REDIS, Need, needs

_HOST, _PORTS = "127.0.0.1", {POSTGRESQL: 5432, REDIS: 6379}
_NAME = "tests"
_REDIS = tuple(Path(folder, "redis-server") for folder in ("/usr/bin", "/usr/local/bin"))
#: One is first on stderr, with exit code 125, where a server did not start.
NOT_STARTED = ("a server for the tests did not start", pg_server.NOT_STARTED)
_PLAIN = re.compile(r"[A-Za-z_][\w-]{0,62}")
# $1 the folder of the programs, $2 the start script, $3 user, $4 password, $5 database; the rest is the command.
_POSTGRES = """
bin=$1 start=$2 user=$3 password=$4 name=$5; shift 5
data=${TMPDIR:-/tmp}/tests-postgres
umask 077
printf %s "$password" >"$data.password"
for locale in C.UTF-8 C.utf8 C; do
  said=$("$bin/initdb" -D "$data" -U "$user" --pwfile="$data.password" --auth=scram-sha-256 --encoding=UTF8 \\
    --locale="$locale" --no-sync --no-instructions 2>&1) && made=yes && break
  rm -rf "$data"
done
if [ -z "$made" ]; then echo "NOT_STARTED: PostgreSQL: $said" >&2; exit 125; fi
exec /bin/sh -c "$start" sh "$bin" "$data" "host all all HOST/32 scram-sha-256" /bin/sh -c '
bin=$1 user=$2 password=$3 name=$4; shift 4
if [ "$name" != postgres ]; then
  PGPASSWORD=$password "$bin/psql" -X -q -h HOST -p PORT -U "$user" -d postgres -c "CREATE DATABASE \\"$name\\"" >&2 || exit 125
fi
umask 022
exec "$@"' sh "$bin" "$user" "$password" "$name" "$@"
"""
_REDIS_RUN = """
run=${TMPDIR:-/tmp}/tests-redis; mkdir -p "$run"
redis-server --bind HOST --port PORT --save '' --appendonly no --dir "$run" --logfile "$run/log" </dev/null >/dev/null 2>&1 &
server=$! waited=0
until [ "$(redis-cli -h HOST -p PORT ping 2>/dev/null)" = PONG ]; do
  waited=$((waited + 1))
  if [ "$waited" -gt 1000 ] || ! kill -0 "$server" 2>/dev/null; then
    echo "NOT_STARTED: Redis: $(tail -n 3 "$run/log" 2>/dev/null)" >&2; exit 125
  fi
  sleep 0.01
done
"$@"
status=$?
kill "$server" 2>/dev/null
exit "$status"
"""
_REFUSED = re.compile(
    r"ECONNREFUSED|ConnectionRefusedError|[Cc]onnection refused|[Cc]onnect call failed|could not connect to server"
    r"|Temporary failure in name resolution|getaddrinfo (?:ENOTFOUND|EAI_AGAIN)|Name or service not known"
)


@dataclass(frozen=True)
class Services:
    """What a command is to be run with: words in front of it, variables, a runtime that has the programs.

    `started` are kinds; `missing` says of each other kind why it is not there.
    """

    runtime: Runtime
    before: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    started: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)


def services_for(tree: Path, sandbox: Sandbox, runtime: Runtime, at: Path) -> Services:
    """The servers that the tests of a tree need, ready to be started with a command; none where none is named."""
    found = Services(runtime)
    for need in needs(tree):
        if not sandbox.loopback and need.kind in _PORTS:
            found = _without(found, need.kind, "the sandbox that works here has no network of its own")
        elif need.kind == POSTGRESQL:
            found = _with_postgres(found, need, at)
        elif need.kind == REDIS:
            found = _with_redis(found, need)
        else:
            found = _without(found, need.kind, "only PostgreSQL and Redis are started for tests")
    given = {name: value for name, value in found.env.items() if name not in runtime.env}
    return replace(found, env=given)


def not_reached(case: TestCase, services: Services) -> bool:
    """Whether a test failed for want of a server: one is missing, and the failure is that nothing answered."""
    return bool(services.missing) and case.outcome in ("failed", "error") and bool(_REFUSED.search(case.message))


def words(services: Services) -> str:
    """Which servers are missing, and why."""
    return "; ".join(f"{kind} is not there: {why}" for kind, why in services.missing.items())


def _without(found: Services, kind: str, why: str) -> Services:
    return replace(found, missing={**found.missing, kind: why})


def _with_postgres(found: Services, need: Need, at: Path) -> Services:
    try:
        installation = find_postgres(need.major)
    except ToolFault:
        try:
            installation = find_postgres()
        except ToolFault as error:
            return _without(found, need.kind, str(error))
    user, password, name = (_plain(one) for one in (need.user, need.password, need.name))
    script = _filled(_POSTGRES, need.kind)
    start = pg_server.start_script(installation, **_settings(need.kind))
    words = ("/bin/sh", "-c", script, "sh", str(installation.bin), start, user, password, name)
    env = _variables(need, f"{user}:{password}@", name, {"USER": user, "PASSWORD": password, "DB": name})
    return replace(
        found,
        runtime=installation.mounted(found.runtime, at),
        before=(*words, *found.before),
        env={**found.env, **env},
        started=(*found.started, f"{need.kind} {installation.version}"),
    )


def _settings(kind: str) -> dict[str, str]:
    # Tests open more connections than a rehearsal, and may vacuum.
    return {"port": str(_PORTS[kind]), "max_connections": "100", "autovacuum": "on"}


def _with_redis(found: Services, need: Need) -> Services:
    if not any(one.is_file() for one in _REDIS):
        return _without(
            found, need.kind, "no redis-server in this machine's system folders (Debian: apt install redis)"
        )
    words = ("/bin/sh", "-c", _filled(_REDIS_RUN, need.kind), "sh")
    env = _variables(need, "", "0", {"DB": "0"})
    return replace(found, before=(*words, *found.before), env={**found.env, **env}, started=(*found.started, need.kind))


def _filled(script: str, kind: str) -> str:
    return script.replace("NOT_STARTED", NOT_STARTED[0]).replace("HOST", _HOST).replace("PORT", str(_PORTS[kind]))


def _plain(text: str) -> str:
    """A name out of a file as it stands where it is plain; ours for anything else."""
    return text if _PLAIN.fullmatch(text) else _NAME


def _variables(need: Need, login: str, name: str, values: Mapping[str, str]) -> dict[str, str]:
    known = {"HOST": _HOST, "PORT": str(_PORTS[need.kind]), **values}
    aliases = {"USERNAME": "USER", "PASS": "PASSWORD", "NAME": "DB", "DATABASE": "DB"}
    parts = {variable: known.get(aliases.get(part, part)) for variable, part in need.parts.items()}
    urls = {one: f"{scheme}://{login}{_HOST}:{_PORTS[need.kind]}/{name}" for one, scheme in need.urls.items()}
    return {**{variable: value for variable, value in parts.items() if value is not None}, **urls}
