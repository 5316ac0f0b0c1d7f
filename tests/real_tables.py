"""Run in a process of its own, in the folder of a sample: the tables that the ORM itself has, as JSON."""

import importlib
import json
import os
import sys
from typing import Any


def _sqlalchemy(metadata: Any) -> dict[str, Any]:
    return {
        name: {
            "columns": {
                column.name: [
                    type(column.type).__name__,
                    bool(column.nullable),
                    bool(column.primary_key),
                    sorted(key.target_fullname for key in column.foreign_keys),
                ]
                for column in table.columns
            },
            "indexes": sorted(sorted(column.name for column in one.columns) for one in table.indexes),
        }
        for name, table in metadata.tables.items()
    }


def _django(settings: str) -> dict[str, Any]:
    os.environ["DJANGO_SETTINGS_MODULE"] = settings
    import django
    from django.apps import apps

    django.setup()
    models = [one for one in apps.get_models(include_auto_created=True) if not one.__module__.startswith("django.")]
    return {
        one._meta.db_table: {
            "columns": {
                field.column: [
                    type(field).__name__,
                    field.null,
                    field.primary_key,
                    [f"{field.target_field.model._meta.db_table}.{field.target_field.column}"]
                    if field.remote_field
                    else [],
                ]
                for field in one._meta.local_concrete_fields
            }
        }
        for one in models
        if not one._meta.proxy
    }


if __name__ == "__main__":
    sys.path.insert(0, "")
    module, _, names = sys.argv[1].partition(":")
    if not names:
        print(json.dumps(_django(module)))
        sys.exit()
    found = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    print(json.dumps(_sqlalchemy(found)))
