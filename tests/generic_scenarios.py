"""A small Django repository and a scripted model that extends it; parts of a script that other stacks share."""

import copy
from typing import Any

import scenario
from scenario import Step, call, submit, use

FEATURE = scenario.FEATURE
#: Nothing tells which runner the script of its tests starts.
UNCOUNTED = {
    "package.json": '{"dependencies": {"express": "5"}, "scripts": {\n"test": "./try-all.sh",\n"lint": "./lint.sh"}}\n',
    "server.js": 'const app = require("express")()\napp.listen(3000)\n',
}
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
DJANGO_DATABASE = """
CREATE TABLE django_migrations (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, app varchar(255) NOT NULL,
  name varchar(255) NOT NULL, applied datetime NOT NULL);
INSERT INTO django_migrations (app, name, applied) VALUES ('notes', '0001_initial', '2026-01-01 00:00:00');
CREATE TABLE notes_note (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, text varchar(200) NOT NULL);
INSERT INTO notes_note (text) VALUES ('milk'), ('tea');
"""
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

    def test_an_unknown_note_is_notfound(self) -> None:
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


def found(**lines: tuple[str, int, str]) -> dict[str, Any]:
    """An analysis with one finding a topic: path, line and a quote."""
    findings = [
        {"topic": topic, "statement": f"See {path}", "evidence": [{"path": path, "line": line, "quote": quote}]}
        for topic, (path, line, quote) in lines.items()
    ]
    return {"has_backend": True, "overview": "A small notes service.", "findings": findings, "relevant_files": []}


def planned(path: str, action: str, layer: str) -> dict[str, str]:
    return {"path": path, "action": action, "layer": layer, "purpose": "archiving"}


def design(*files: dict[str, str]) -> dict[str, Any]:
    design = copy.deepcopy(scenario.DESIGN)
    contract = {"kind": "openapi", "document": CONTRACT, "authentication": "none, as before", "error_format": "status"}
    return {**design, "api": contract, "files": list(files)}


def altered(path: str, name: str) -> dict[str, str]:
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
                **found(
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
                **design(
                    planned("notes/models.py", "modify", "data_access"),
                    planned("notes/migrations/*_note_archived.py", "create", "data_access"),
                    planned("notes/views.py", "modify", "presentation"),
                    planned("site_notes/urls.py", "modify", "presentation"),
                    planned("notes/test_archive.py", "create", "tests"),
                )
            )
        ],
        "implement_data_access": [
            use(call("read_file", path="notes/models.py")),
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
                altered=[altered("notes/views.py", "listed"), altered("site_notes/urls.py", "urlpatterns")],
            ),
        ],
        "review_security": [submit(overview="Nothing to report.")],
        "review_migrations": [submit(**review("python manage.py migrate notes 0001"))],
        "test": [
            use(call("write_file", path="notes/test_archive.py", text=DJANGO_NEW_TESTS.replace("404", "405"))),
            submit(**report(*(f"notes/test_archive.py {name}" for name in ids))),
            use(call("write_file", path="notes/test_archive.py", text=DJANGO_NEW_TESTS)),
            use(call("run_tests", paths=["notes/test_archive.py"])),
            submit(**report(*(f"notes/test_archive.py {name}" for name in ids))),
        ],
    }


def review(rollback: str) -> dict[str, Any]:
    return {**scenario.REVIEW, "rollback": rollback, "reason": "A column with a default; it was not rehearsed."}


def report(*tests: str) -> dict[str, Any]:
    shown = [{"criterion": f"AC{number}", "tests": [test]} for number, test in enumerate(tests, start=1)]
    return {"overview": "Two tests.", "shown": shown}
