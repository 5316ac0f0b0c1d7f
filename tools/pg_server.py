"""A PostgreSQL that lives for one command of a box: started, used, stopped, its data left for the next command.

Every command of a box has a loopback of its own and dies whole, so no server can outlive it. What an earlier command left
in the cluster's settings counts for nothing: they are given anew at each start, and so is who may log in.
"""

import functools
import secrets
import shlex
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from backend_crew.tools.errors import ToolFault
from backend_crew.tools.postgres import Installation
from backend_crew.tools.process import Completed
from backend_crew.tools.runtime import Runtime
from backend_crew.tools.sandbox import Box, Limits, Sandbox

HOST, PORT = "127.0.0.1", 54_329
#: The role that the repository's code logs in as, and the database that it owns.
OWNER = DATABASE = "scratch"
#: Ours alone: one makes the database, one reads all of it and can change nothing, one is there while a copy is restored.
ADMIN, READER, LOADER = "postgres", "scratch_reader", "scratch_loader"
FOLDER = ".rehearsal/postgres"  # in the box; the repository never has it
_SEED = f"{FOLDER}/seed.tar.gz"
_SEED_LIMIT = 64 * 1024**2
# Nothing of a repository's environment, which comes first on the path of its own commands.
_PATH = "/usr/local/bin:/usr/bin:/bin"
_OWN_OUTPUT = 64 * 1024**2
_ONE_AT_A_TIME = threading.Lock()
NOT_STARTED = "the scratch PostgreSQL did not start"
_SETTINGS = {
    "listen_addresses": HOST,
    "port": str(PORT),
    "unix_socket_directories": "",
    # Nothing here has to survive a crash of the machine; all of it is gone after the rehearsal.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_connections": "40",
    "max_logical_replication_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "huge_pages": "off",
    "jit": "off",
    "logging_collector": "off",
    "log_min_messages": "fatal",
    "archive_mode": "off",
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "timezone": "UTC",
    "default_text_search_config": "pg_catalog.english",
}
# $1 the folder of the programs, $2 the cluster's, $3 who may log in; the rest is the command. The server asks for SIGINT
# itself, which sh takes from what it starts in the background.
_START = """
bin=$1 data=$2 hba=$3; shift 3
run=${TMPDIR:-/tmp}/scratch-postgres
mkdir -p "$run" && printf '%s\\n' "$hba" >"$run/hba" && : >"$data/postgresql.conf" && : >"$data/postgresql.auto.conf"
rm -f "$data/postmaster.pid"
ready() {
  { for _ in 1 2 3 4 5 6 7; do read -r state; done; read -r state; } 2>/dev/null <"$data/postmaster.pid" &&
    [ "$state" = ready ]
} 2>/dev/null
"$bin/postgres" -D "$data" -c hba_file="$run/hba" SETTINGS </dev/null >"$run/log" 2>&1 &
server=$! waited=0
until ready; do
  waited=$((waited + 1))
  if [ "$waited" -gt 6000 ] || ! kill -0 "$server" 2>/dev/null; then
    echo "NOT_STARTED: $(tail -n 5 "$run/log")" >&2
    exit 125
  fi
  sleep 0.01
done
"$@"
status=$?
kill -INT "$server" 2>/dev/null
wait "$server"
exit "$status"
"""
# With the sorting and the letters of UTF-8 where the machine has them.
_MAKE = """
umask 077
data=$1 start=$2 bin=$3 hba=$4 sql=$5
secret=${TMPDIR:-/tmp}/scratch-secret
printf %s "$PGPASSWORD" >"$secret"
for locale in C.UTF-8 C.utf8 C; do
  rm -rf "$data"
  mkdir -p "$data" && said=$("$bin/initdb" -D "$data" -U ADMIN --pwfile="$secret" --auth=scram-sha-256 --encoding=UTF8 \
    --locale="$locale" --wal-segsize=1 --no-sync --no-instructions 2>&1) && made=yes && break
done
if [ -z "$made" ]; then echo "initdb failed: $said" >&2; exit 125; fi
/bin/sh -c "$start" sh "$bin" "$data" "$hba" "$bin/psql" -X -q -d postgres -v ON_ERROR_STOP=1 -f "$sql" || exit
cd "${data%/*}" && tar -czf seed.tar.gz data
"""
_UNPACK = 'umask 077 && cd "$1" && rm -rf data && tar -xpzf seed.tar.gz && rm seed.tar.gz'
# The other databases would be three quarters of the files, and nobody may make a database from them.
_ROLES = """
CREATE ROLE {owner} LOGIN PASSWORD '{scratch_password}';
CREATE ROLE {reader} LOGIN BYPASSRLS PASSWORD '{scratch_reader_password}' IN ROLE pg_read_all_data;
ALTER ROLE {reader} SET default_transaction_read_only = on;
CREATE DATABASE {database} OWNER {owner};
\\connect {database}
SELECT 'ALTER SCHEMA public OWNER TO {owner}' WHERE current_setting('server_version_num')::int < 150000 \\gexec
UPDATE pg_database SET datistemplate = false;
DROP DATABASE template0;
DROP DATABASE template1;
DROP DATABASE postgres;
"""


@dataclass(frozen=True)
class Server:
    """A cluster in a box, and the passwords of its roles; `stop` and `limits` hold for every command."""

    box: Box
    installation: Installation
    limits: Limits = field(default_factory=Limits)
    stop: Callable[[], bool] | None = None

    @property
    def passwords(self) -> Mapping[str, str]:
        """By role; the same for every cluster of this process."""
        return _passwords()

    def make(self) -> None:
        """Makes the cluster anew, with its roles and an empty database. Raises ToolFault when it cannot."""
        sandbox = self.box.sandbox
        if not sandbox.loopback:
            raise ToolFault(
                f"a scratch PostgreSQL needs a sandbox with a network of its own, and {sandbox.title} has none. "
                "Install bubblewrap where user namespaces are allowed."
            )
        with _ONE_AT_A_TIME:  # whoever comes second finds it made, and its passwords drawn
            seed = _seed(sandbox, self.installation)
        self.box.put(_SEED, seed)
        argv = ("/bin/sh", "-c", _UNPACK, "sh", str(self.box.layout.at / FOLDER))
        _check(self.box.run(argv, env={"PATH": _PATH}, limits=self.limits, stop=self.stop), self.installation)

    def place(self, name: str) -> str:
        """Where commands see a file of ours."""
        return str(self.box.layout.at / FOLDER / name)

    def put(self, name: str, text: str) -> str:
        """Writes a file of ours into the box; returns where commands see it."""
        self.box.put(f"{FOLDER}/{name}", text.encode())
        return self.place(name)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = ".",
        role: str = OWNER,
        output_bytes: int | None = None,
    ) -> Completed:
        """Runs a command with the server up; only `role` can log in. Raises ToolFault when the server does not start."""
        limits = replace(self.limits, output_bytes=output_bytes or self.limits.output_bytes)
        words = ("sh", str(self.installation.bin), self.place("data"), _hba(role), *argv)
        done = self.box.run(("/bin/sh", "-c", self.start, *words), env=env, limits=limits, stop=self.stop, cwd=cwd)
        if done.exit_code == 125 and done.stderr.startswith(NOT_STARTED):
            raise ToolFault(f"{done.stderr.strip()[:600]}. The rehearsal's database may be damaged: try again.")
        return replace(done, argv=tuple(argv))

    def psql(self, *files: str, role: str, database: str = DATABASE) -> Completed:
        """Runs files of ours, in order, in one session; one JSON value a line is what they print."""
        words = [
            self.installation.program("psql"),
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
        ]
        words += [word for file in files for word in ("-f", file)]
        return self.run(words, env=self.login(role), role=role, output_bytes=_OWN_OUTPUT)

    def login(self, role: str) -> dict[str, str]:
        """The variables with which PostgreSQL's own programs log in."""
        # Options of a session win over those that the database's owner may have given to the database.
        options = (
            "-c search_path=pg_catalog -c statement_timeout=60s -c datestyle=ISO -c timezone=UTC -c bytea_output=hex"
        )
        return {
            "PGHOST": HOST,
            "PGPORT": str(PORT),
            "PGUSER": role,
            "PGDATABASE": DATABASE,
            "PGPASSWORD": self.passwords[role],
            "PGCLIENTENCODING": "UTF8",
            "LC_ALL": "C",
            "PATH": _PATH,
            **({} if role == OWNER else {"PGOPTIONS": options}),
        }

    @property
    def start(self) -> str:
        """The script that starts the server, runs a command and stops the server again."""
        return start_script(self.installation)


def start_script(installation: Installation, **changed: str) -> str:
    """The script that starts a server, runs a command with it and stops it again.

    $1 is the folder of the programs, $2 the cluster's, $3 a line of pg_hba.conf; the rest is the command. `changed` are
    settings of the server. It ends with 125, and NOT_STARTED first on stderr, where the server does not start.
    """
    # Helper processes that only version 18 has cost a third of its start.
    settings = _SETTINGS | ({"io_method": "sync"} if installation.major >= 18 else {}) | changed
    words = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
    return _START.replace("SETTINGS", words).replace("NOT_STARTED", NOT_STARTED)


@functools.cache
def _passwords() -> Mapping[str, str]:
    return {role: secrets.token_hex(16) for role in (OWNER, ADMIN, READER)}


@functools.lru_cache(maxsize=4)
def _seed(sandbox: Sandbox, installation: Installation) -> bytes:
    """A new cluster, packed: made once, in a box that holds nothing of any repository, as initdb takes a second."""
    with tempfile.TemporaryDirectory(prefix="seed-") as name:
        tree = Path(name)
        with sandbox.box(tree, tree, installation.mounted(Runtime(kind="other"), tree)) as box:
            server = Server(box, installation)
            passwords = {f"{role}_password": password for role, password in _passwords().items()}
            sql = server.put("roles.sql", _ROLES.format(owner=OWNER, reader=READER, database=DATABASE, **passwords))
            script = _MAKE.replace("ADMIN", ADMIN)
            words = (server.place("data"), server.start, str(installation.bin), _hba("all"), sql)
            _check(box.run(("/bin/sh", "-c", script, "sh", *words), env=server.login(ADMIN)), installation)
            packed = box.read(_SEED, _SEED_LIMIT)
    if packed is None:
        raise ToolFault(f"PostgreSQL {installation.version} was set up in the sandbox, but tar or gzip did not pack it")
    return packed


def _check(done: Completed, installation: Installation) -> None:
    if not done.ok:
        said = "it took too long" if done.timed_out else done.stderr.strip()[-500:] or "it was stopped"
        raise ToolFault(f"PostgreSQL {installation.version} could not be set up in the sandbox: {said}")


def _hba(role: str) -> str:
    return f"host all {role} {HOST}/32 scram-sha-256"
