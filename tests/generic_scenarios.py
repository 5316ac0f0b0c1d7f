"""Small real repositories that are not Python with Alembic and pytest, and scripted models that extend them."""

import copy
from typing import Any

import scenario
from scenario import Step, call, submit, use

FEATURE = scenario.FEATURE
MANAGE = """\
import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_notes.settings")

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
"""
SETTINGS = """\
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "for-development"
INSTALLED_APPS = ["notes"]
ROOT_URLCONF = "site_notes.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
    }
}
"""
MODELS = """\
from django.db import models


class Note(models.Model):
    text = models.CharField(max_length=200)
"""
VIEWS = """\
from django.http import HttpRequest, JsonResponse

from notes.models import Note


def listed(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"notes": list(Note.objects.order_by("id").values("id", "text"))})
"""
URLS = """\
from django.urls import path

from notes import views

urlpatterns = [
    path("notes/", views.listed),
]
"""
TESTS = """\
from django.test import TestCase

from notes.models import Note


class NotesTest(TestCase):
    def test_added_notes_are_listed(self) -> None:
        Note.objects.create(text="milk")
        self.assertEqual([note["text"] for note in self.client.get("/notes/").json()["notes"]], ["milk"])
"""
INITIAL = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Note",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.CharField(max_length=200)),
            ],
        ),
    ]
"""
DJANGO = {
    "manage.py": MANAGE,
    "requirements.txt": "Django>=5.2,<5.3\n",
    "site_notes/__init__.py": "",
    "site_notes/settings.py": SETTINGS,
    "site_notes/urls.py": URLS,
    "notes/__init__.py": "",
    "notes/models.py": MODELS,
    "notes/views.py": VIEWS,
    "notes/tests.py": TESTS,
    "notes/migrations/__init__.py": "",
    "notes/migrations/0001_initial.py": INITIAL,
    ".gitignore": "db.sqlite3\n__pycache__/\n",
}
DJANGO_MIGRATION = "notes/migrations/0002_note_archived.py"
ARCHIVED = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notes", "0001_initial")]
    operations = [
        migrations.AddField("note", "archived", models.BooleanField(default=False, db_default=False)),
    ]
"""
DJANGO_NEW_TESTS = """\
from django.test import TestCase

from notes.models import Note


class ArchiveTest(TestCase):
    def test_an_archived_note_is_not_listed(self) -> None:
        note = Note.objects.create(text="milk")
        self.assertEqual(self.client.post(f"/notes/{note.pk}/archive/").status_code, 204)
        self.assertEqual(self.client.get("/notes/").json(), {"notes": []})

    def test_an_unknown_note_is_not_found(self) -> None:
        self.assertEqual(self.client.post("/notes/99/archive/").status_code, 404)
"""
ARCHIVE_VIEW = """\


@require_POST
def archive(request: HttpRequest, note_id: int) -> HttpResponse:
    note = get_object_or_404(Note, pk=note_id)
    note.archived = True
    note.save(update_fields=["archived"])
    return HttpResponse(status=204)
"""
CONTRACT = """\
openapi: 3.1.0
info: {title: Notes, version: "1"}
paths:
  /notes/{id}/archive/:
    post:
      operationId: archiveNote
      summary: Archive a note
      security: []
      parameters:
        - {name: id, in: path, required: true, schema: {type: integer}}
      responses:
        "204": {description: archived}
        "404":
          description: no such note
          content: {application/json: {schema: {$ref: "#/components/schemas/Error"}}}
components:
  schemas:
    Error: {type: object, properties: {detail: {type: string}}}
"""
REQUIREMENTS: dict[str, Any] = {
    "overview": "Notes can be archived.",
    "criteria": [
        {"id": "AC1", "text": "An archived note is not listed."},
        {"id": "AC2", "text": "Archiving an unknown note is answered with 404."},
    ],
}


def _found(**lines: tuple[str, int, str]) -> dict[str, Any]:
    """An analysis with one finding a topic: path, line and a quote."""
    findings = [
        {"topic": topic, "statement": f"See {path}", "evidence": [{"path": path, "line": line, "quote": quote}]}
        for topic, (path, line, quote) in lines.items()
    ]
    return {"has_backend": True, "overview": "A small notes service.", "findings": findings, "relevant_files": []}


def _planned(path: str, action: str, layer: str) -> dict[str, str]:
    return {"path": path, "action": action, "layer": layer, "purpose": "archiving"}


def _design(*files: dict[str, str]) -> dict[str, Any]:
    design = copy.deepcopy(scenario.DESIGN)
    contract = {"kind": "openapi", "document": CONTRACT, "authentication": "none, as before", "error_format": "status"}
    return {**design, "api": contract, "files": list(files)}


def _altered(path: str, name: str) -> dict[str, str]:
    return {"path": path, "name": name, "reason": "Archived notes are not listed (AC1)."}


def django() -> dict[str, list[Step]]:
    """What a good model does in the Django repository; it writes the migration by hand."""
    views = VIEWS.replace("HttpRequest, JsonResponse\n", "HttpRequest, HttpResponse, JsonResponse\n")
    views = views.replace("\n\nfrom notes", "\nfrom django.shortcuts import get_object_or_404\nHTTP\n\nfrom notes", 1)
    views = views.replace("HTTP", "from django.views.decorators.http import require_POST")
    views = views.replace("objects.order_by", "objects.filter(archived=False).order_by") + ARCHIVE_VIEW
    field = "    archived = models.BooleanField(default=False, db_default=False)\n"
    route = '    path("notes/<int:note_id>/archive/", views.archive),\n'
    ids = ("test_an_archived_note_is_not_listed", "test_an_unknown_note_is_not_found")
    return {
        "analyse": [
            submit(
                **_found(
                    stack=("requirements.txt", 1, "Django>=5.2,<5.3"),
                    architecture=("notes/views.py", 6, "def listed(request: HttpRequest)"),
                    database=("site_notes/settings.py", 11, "django.db.backends.sqlite3"),
                    api=("site_notes/urls.py", 6, 'path("notes/", views.listed)'),
                    conventions=("notes/models.py", 5, "text = models.CharField(max_length=200)"),
                    tests=("notes/tests.py", 6, "class NotesTest(TestCase):"),
                )
            )
        ],
        "ask": [submit(**scenario.QUESTIONS)],
        "specify": [submit(**REQUIREMENTS)],
        "design": [
            submit(
                **_design(
                    _planned("notes/models.py", "modify", "data_access"),
                    _planned("notes/migrations/*_note_archived.py", "create", "data_access"),
                    _planned("notes/views.py", "modify", "presentation"),
                    _planned("site_notes/urls.py", "modify", "presentation"),
                    _planned("notes/test_archive.py", "create", "tests"),
                )
            )
        ],
        "implement_data_access": [
            use(call("read_file", path="notes/models.py"), call("make_migration", message="note archived")),
            use(
                call("write_file", path="notes/models.py", text=MODELS + field),
                call("write_file", path=DJANGO_MIGRATION, text=ARCHIVED),
                call("run_checks"),
            ),
            submit(summary="The field and its migration."),
        ],
        "implement_presentation": [
            use(call("read_file", path="notes/views.py"), call("read_file", path="site_notes/urls.py")),
            use(
                call("write_file", path="notes/views.py", text=views),
                call("edit_file", path="site_notes/urls.py", old="]\n", new=f"{route}]\n"),
            ),
            submit(
                summary="The view, its route, and the filter.",
                altered=[_altered("notes/views.py", "listed"), _altered("site_notes/urls.py", "urlpatterns")],
            ),
        ],
        "review_security": [submit(overview="Nothing to report.")],
        "review_migrations": [submit(**_review("python manage.py migrate notes 0001"))],
        "test": [
            use(call("write_file", path="notes/test_archive.py", text=DJANGO_NEW_TESTS.replace("404", "405"))),
            submit(**_report(*(f"notes/test_archive.py {name}" for name in ids))),
            use(call("write_file", path="notes/test_archive.py", text=DJANGO_NEW_TESTS)),
            use(call("run_tests", paths=["notes/test_archive.py"])),
            submit(**_report(*(f"notes/test_archive.py {name}" for name in ids))),
        ],
    }


def _review(rollback: str) -> dict[str, Any]:
    return {**scenario.REVIEW, "rollback": rollback, "reason": "A column with a default; it was not rehearsed."}


def _report(*tests: str) -> dict[str, Any]:
    shown = [{"criterion": f"AC{number}", "tests": [test]} for number, test in enumerate(tests, start=1)]
    return {"overview": "Two tests.", "shown": shown}


PACKAGE = """\
{
  "name": "notes",
  "version": "1.0.0",
  "main": "src/server.js",
  "scripts": {
    "start": "node src/server.js",
    "test": "node --test",
    "migrate": "node scripts/migrate.js",
    "check": "node --check src/server.js"
  },
  "dependencies": {
    "better-sqlite3": "^11.0.0",
    "express": "^4.21.0"
  }
}
"""
SERVER = """\
const express = require('express')
const { handlers } = require('./handlers')
const { SqliteStore } = require('./sqlite-store')

const app = express()
const notes = handlers(new SqliteStore(process.env.NOTES_DATABASE || 'notes.sqlite3'))
app.get('/notes', notes.list)
app.listen(3000)
"""
HANDLERS = """\
function handlers (store) {
  return {
    list (request, response) {
      response.json({ notes: store.all() })
    }
  }
}

module.exports = { handlers }
"""
STORE = """\
const Database = require('better-sqlite3')

class SqliteStore {
  constructor (path) {
    this.database = new Database(path)
  }

  all () {
    return this.database.prepare('SELECT id, text FROM notes ORDER BY id').all()
  }
}

module.exports = { SqliteStore }
"""
NODE_TESTS = """\
const test = require('node:test')
const assert = require('node:assert')
const { handlers } = require('../src/handlers')

test('notes are listed', () => {
  let sent
  handlers({ all: () => [{ id: 1, text: 'milk' }] }).list({}, { json: (body) => { sent = body } })
  assert.deepStrictEqual(sent, { notes: [{ id: 1, text: 'milk' }] })
})
"""
MIGRATE = """\
const fs = require('node:fs')
const Database = require('better-sqlite3')

const database = new Database(process.env.NOTES_DATABASE || 'notes.sqlite3')
const done = database.pragma('user_version', { simple: true })
for (const name of fs.readdirSync('migrations').sort().slice(done)) {
  database.exec(fs.readFileSync(`migrations/${name}`, 'utf8'))
  database.pragma(`user_version = ${parseInt(name)}`)
}
"""
FIRST_SQL = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);\n"
SECOND_SQL = """\
ALTER TABLE notes ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
CREATE INDEX notes_listed ON notes (archived, id);
"""
SQL_MIGRATION = "migrations/002_archived.sql"
EXPRESS = {
    "package.json": PACKAGE,
    "src/server.js": SERVER,
    "src/handlers.js": HANDLERS,
    "src/sqlite-store.js": STORE,
    "test/handlers.test.js": NODE_TESTS,
    "scripts/migrate.js": MIGRATE,
    "migrations/001_notes.sql": FIRST_SQL,
    ".gitignore": "node_modules/\n*.sqlite3\n",
}
ARCHIVE_HANDLER = """\
    },

    archive (request, response) {
      response.status(store.archive(Number(request.params.id)) ? 204 : 404).end()
    }
  }
"""
ARCHIVE_STORE = """\
  archive (id) {
    return this.database.prepare('UPDATE notes SET archived = 1 WHERE id = ?').run(id).changes > 0
  }
}
"""
NODE_NEW_TESTS = """\
const test = require('node:test')
const assert = require('node:assert')
const { handlers } = require('../src/handlers')

function answer (found) {
  let status
  const response = { status (code) { status = code; return this }, end () {} }
  handlers({ archive: () => found }).archive({ params: { id: '7' } }, response)
  return status
}

test('archiving a note is answered with 204', () => assert.strictEqual(answer(true), 204))
test('an unknown note is not found', () => assert.strictEqual(answer(false), 404))
"""
NODE_IDS = ("archiving a note is answered with 204", "an unknown note is not found")


def express() -> dict[str, list[Step]]:
    """What a good model does in the Express repository; the index and the column are one SQL file."""
    handler = HANDLERS.replace("    }\n  }\n", ARCHIVE_HANDLER)
    store = STORE.replace("FROM notes ORDER", "FROM notes WHERE archived = 0 ORDER").replace(
        "  }\n}\n", f"  }}\n\n{ARCHIVE_STORE}"
    )
    return {
        "analyse": [
            submit(
                **_found(
                    stack=("package.json", 13, '"express": "^4.21.0"'),
                    architecture=("src/handlers.js", 1, "function handlers (store) {"),
                    database=("migrations/001_notes.sql", 1, "CREATE TABLE notes"),
                    api=("src/server.js", 7, "app.get('/notes', notes.list)"),
                    conventions=("src/sqlite-store.js", 3, "class SqliteStore {"),
                    tests=("test/handlers.test.js", 1, "require('node:test')"),
                )
            )
        ],
        "ask": [submit(**scenario.QUESTIONS)],
        "specify": [submit(**REQUIREMENTS)],
        "design": [
            submit(
                **_design(
                    _planned("src/sqlite-store.js", "modify", "data_access"),
                    _planned(SQL_MIGRATION, "create", "data_access"),
                    _planned("src/handlers.js", "modify", "business_logic"),
                    _planned("src/server.js", "modify", "presentation"),
                    _planned("test/archive.test.js", "create", "tests"),
                )
            )
        ],
        "implement_data_access": [
            use(call("read_file", path="src/sqlite-store.js")),
            use(
                call("write_file", path="src/sqlite-store.js", text=store),
                call("write_file", path=SQL_MIGRATION, text=SECOND_SQL),
            ),
            submit(
                summary="The column, its index and the query.",
                altered=[_altered("src/sqlite-store.js", "src/sqlite-store.js")],
            ),
        ],
        "implement_business_logic": [
            use(call("read_file", path="src/handlers.js")),
            # a broken file first: the layer's check has to say so
            use(call("write_file", path="src/handlers.js", text=handler.replace("    },\n", "    \n", 1))),
            submit(summary="archive()", altered=[_altered("src/handlers.js", "src/handlers.js")]),
            use(call("write_file", path="src/handlers.js", text=handler)),
            submit(summary="archive()", altered=[_altered("src/handlers.js", "src/handlers.js")]),
        ],
        "implement_presentation": [
            use(call("read_file", path="src/server.js")),
            use(
                call(
                    "edit_file",
                    path="src/server.js",
                    old="app.listen",
                    new="app.post('/notes/:id/archive/', notes.archive)\napp.listen",
                )
            ),
            submit(summary="The route.", altered=[_altered("src/server.js", "src/server.js")]),
        ],
        "review_security": [submit(overview="Nothing to report.")],
        "review_migrations": [submit(**_review("Drop the index, then the column."))],
        "test": [
            use(call("write_file", path="test/archive.test.js", text=NODE_NEW_TESTS)),
            use(call("run_tests")),
            submit(**_report(*NODE_IDS)),
        ],
    }


SCHEMA = """\
datasource db {
  provider = "sqlite"
  url      = env("DATABASE_URL")
}

generator client {
  provider = "prisma-client-js"
}

model Note {
  id   Int    @id @default(autoincrement())
  text String
}
"""
PRISMA_MIGRATION = "prisma/migrations/20260102000000_archived/migration.sql"
PRISMA = {
    "package.json": PACKAGE.replace('"better-sqlite3": "^11.0.0"', '"@prisma/client": "^6.0.0"').replace(
        '    "migrate": "node scripts/migrate.js",\n', ""
    ),
    "prisma/schema.prisma": SCHEMA,
    "prisma/migrations/20260101000000_notes/migration.sql": FIRST_SQL,
    "src/server.js": "const express = require('express')\nexpress().listen(3000)\n",
    "src/handlers.js": HANDLERS,
    "test/handlers.test.js": NODE_TESTS,
    ".gitignore": "node_modules/\n",
}


def prisma() -> dict[str, list[Step]]:
    """What a good model does in the Prisma repository: schema, SQL migration and a test of what it can reach."""
    steps = express()
    schema = SCHEMA.replace("text String\n", "text String\n  archived Boolean @default(false)\n")
    return {
        **steps,
        "analyse": [
            submit(
                **_found(
                    stack=("package.json", 12, '"express": "^4.21.0"'),
                    architecture=("src/handlers.js", 1, "function handlers (store) {"),
                    database=("prisma/schema.prisma", 2, 'provider = "sqlite"'),
                    api=("src/server.js", 2, "express().listen(3000)"),
                    conventions=("prisma/schema.prisma", 10, "model Note {"),
                    tests=("test/handlers.test.js", 1, "require('node:test')"),
                )
            )
        ],
        "design": [
            submit(
                **_design(
                    _planned("prisma/schema.prisma", "modify", "data_access"),
                    _planned(PRISMA_MIGRATION, "create", "data_access"),
                    _planned("src/handlers.js", "modify", "business_logic"),
                    _planned("test/archive.test.js", "create", "tests"),
                )
            )
        ],
        "implement_data_access": [
            use(call("read_file", path="prisma/schema.prisma")),
            use(
                call("write_file", path="prisma/schema.prisma", text=schema),
                call("write_file", path=PRISMA_MIGRATION, text=SECOND_SQL),
            ),
            submit(
                summary="The field and its migration.",
                altered=[_altered("prisma/schema.prisma", "prisma/schema.prisma")],
            ),
        ],
    }
