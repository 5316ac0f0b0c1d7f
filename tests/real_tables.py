"""Run in a process of its own, in the folder of a sample: the tables that the ORM itself has, as JSON."""

import importlib
import json
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


if __name__ == "__main__":
    sys.path.insert(0, "")
    module, _, names = sys.argv[1].partition(":")
    found = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    print(json.dumps(_sqlalchemy(found)))
