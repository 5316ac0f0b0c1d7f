"""What a PostgreSQL database holds, asked of its catalogs in one session and told in the lines that every engine shares."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend_crew.tools.facts import TableFacts

Row = Sequence[Any]
#: A condition on pg_namespace `n`: no schema of PostgreSQL's own.
OURS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
_KINDS = {"r": "table", "p": "table", "f": "foreign table", "v": "view", "m": "materialized view"}
_STRING = re.compile(r"'(?:[^']|'')*'")
_TEXT_CAST = re.compile(r"::(?:text|bpchar|character varying(?:\(\d+\))?)(?:\[\])?(?!\w)")
_WRAPPED = re.compile(r"(?<![\w\"])\((\0\d+\0|ARRAY\[[^\[\]]*\])\)")
_STATES = {"O": "enabled", "D": "disabled", "R": "on replicas", "A": "always"}


def free(catalog: str, oid: str) -> str:
    """A condition that leaves out what belongs to an extension, whose own line stands for all of it."""
    return (
        f"NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.classid = '{catalog}'::regclass AND x.objid = {oid} "
        "AND x.deptype = 'e')"
    )


def _acl(catalog: str, kind: str, column: str, owner: str, oid: str, name: str) -> str:
    """Rights of others than the owner, so that granting and revoking leads back to where it began."""
    return (
        f"SELECT 'grant', '{kind}', {name}, coalesce(g.rolname, 'PUBLIC'), a.privilege_type, a.is_grantable "
        f"FROM {catalog} c JOIN pg_namespace n ON n.oid = c.{column} "
        f"CROSS JOIN LATERAL aclexplode(c.{oid}) a LEFT JOIN pg_roles g ON g.oid = a.grantee "
        f"WHERE {OURS} AND a.grantee <> c.{owner} AND {free(catalog, 'c.oid')}"
    )


#: Each gives rows whose first value says what they are.
SCHEMA = (
    f"SELECT 'schema', n.nspname FROM pg_namespace n WHERE {OURS} AND n.nspname <> 'public' "
    f"AND {free('pg_namespace', 'n.oid')}",
    "SELECT 'extension', e.extname, e.extversion FROM pg_extension e WHERE e.extname <> 'plpgsql'",
    # Tables, views
    f"""SELECT 'relation', n.nspname, c.relname, c.relkind, c.relpersistence,
      CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END, pg_get_expr(c.relpartbound, c.oid),
      (SELECT array_agg(i.inhparent::regclass::text ORDER BY i.inhseqno) FROM pg_inherits i WHERE i.inhrelid = c.oid),
      (SELECT array_agg(o ORDER BY o) FROM unnest(c.reloptions) o), c.relrowsecurity, c.relforcerowsecurity, c.relreplident,
      CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND {OURS} AND {free("pg_class", "c.oid")}""",
    f"""SELECT 'column', n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
      pg_get_expr(d.adbin, d.adrelid), k.place, a.attidentity, a.attgenerated,
      CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_type t ON t.oid = a.atttypid
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      LEFT JOIN LATERAL (SELECT p.place FROM pg_constraint o CROSS JOIN LATERAL unnest(o.conkey)
        WITH ORDINALITY p(number, place) WHERE o.conrelid = c.oid AND o.contype = 'p' AND p.number = a.attnum) k ON true
      WHERE c.relkind IN ('r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped AND {OURS}
      AND {free("pg_class", "c.oid")}""",
    f"""SELECT 'rule', n.nspname, c.relname, o.contype, pg_get_constraintdef(o.oid), o.confupdtype, o.confdeltype,
      m.nspname, f.relname,
      (SELECT array_agg(format('%s>%s', a.attname, b.attname) ORDER BY p.place)
        FROM unnest(o.conkey, o.confkey) WITH ORDINALITY p(here, there, place)
        JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = p.here
        JOIN pg_attribute b ON b.attrelid = o.confrelid AND b.attnum = p.there), o.condeferrable, o.condeferred,
      o.convalidated, o.confmatchtype
      FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_class f ON f.oid = o.confrelid LEFT JOIN pg_namespace m ON m.oid = f.relnamespace
      WHERE o.contype IN ('c', 'f', 'x') AND {OURS} AND {free("pg_class", "c.oid")}""",
    f"""SELECT 'index', n.nspname, c.relname, x.relname, i.indisunique, i.indisvalid, o.oid IS NOT NULL, o.condeferrable,
      (SELECT array_agg(pg_get_indexdef(i.indexrelid, g, false) || CASE WHEN i.indoption[g - 1] & 1 = 1
        THEN ' desc' ELSE '' END ORDER BY g) FROM generate_series(1, i.indnkeyatts) g), pg_get_indexdef(i.indexrelid)
      FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_constraint o ON o.conindid = i.indexrelid AND o.contype IN ('u', 'x', 'p') AND o.conrelid = c.oid
      WHERE NOT i.indisprimary AND coalesce(o.contype, 'u') <> 'x' AND {OURS} AND {free("pg_class", "c.oid")}""",
    f"""SELECT 'trigger', n.nspname, c.relname, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE NOT t.tgisinternal AND {OURS}""",
    f"""SELECT 'trigger', n.nspname, c.relname, r.rulename, pg_get_ruledef(r.oid), r.ev_enabled
      FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE r.rulename <> '_RETURN' AND {OURS}""",
    f"""SELECT 'policy', n.nspname, c.relname, p.polname, p.polcmd, p.polpermissive, pg_get_expr(p.polqual, c.oid),
      pg_get_expr(p.polwithcheck, c.oid),
      (SELECT array_agg(coalesce(r.rolname, 'PUBLIC') ORDER BY r.rolname) FROM unnest(p.polroles) o
        LEFT JOIN pg_roles r ON r.oid = o)
      FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS}""",
    # Types
    f"""SELECT 'enum', n.nspname, t.typname, (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder)
      FROM pg_enum e WHERE e.enumtypid = t.oid) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
      WHERE t.typtype = 'e' AND {OURS} AND {free("pg_type", "t.oid")}""",
    f"""SELECT 'domain', n.nspname, t.typname, format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault,
      (SELECT array_agg(pg_get_constraintdef(o.oid) ORDER BY pg_get_constraintdef(o.oid)) FROM pg_constraint o
        WHERE o.contypid = t.oid AND o.contype = 'c')
      FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
      WHERE t.typtype = 'd' AND {OURS} AND {free("pg_type", "t.oid")}""",
    f"""SELECT 'type', n.nspname, t.typname, (SELECT array_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
      ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
      FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_class c ON c.oid = t.typrelid
      WHERE t.typtype = 'c' AND c.relkind = 'c' AND {OURS} AND {free("pg_type", "t.oid")}""",
    f"""SELECT 'type', n.nspname, t.typname, ARRAY['range of ' || format_type(r.rngsubtype, NULL)]
      FROM pg_range r JOIN pg_type t ON t.oid = r.rngtypid JOIN pg_namespace n ON n.oid = t.typnamespace
      WHERE {OURS} AND {free("pg_type", "t.oid")}""",
    # An identity column's own sequence is told with the column.
    f"""SELECT 'sequence', n.nspname, c.relname, format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin,
      s.seqmax, s.seqcycle, o.nspname, o.relname, o.attname
      FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN LATERAL (SELECT m.nspname, p.relname, a.attname FROM pg_depend d JOIN pg_class p ON p.oid = d.refobjid
        JOIN pg_namespace m ON m.oid = p.relnamespace JOIN pg_attribute a ON a.attrelid = p.oid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'a') o ON true
      WHERE NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i')
      AND {OURS} AND {free("pg_class", "c.oid")}""",
    f"""SELECT 'function', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), p.prokind,
      CASE WHEN p.prokind = 'a' THEN (SELECT format('%s %s %s', g.aggtransfn, g.aggtranstype::regtype, g.agginitval)
        FROM pg_aggregate g WHERE g.aggfnoid = p.oid) ELSE pg_get_functiondef(p.oid) END
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {OURS} AND {free("pg_proc", "p.oid")}""",
    f"""SELECT 'statistics', n.nspname, s.stxname, pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s
      JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE {OURS}""",
    "SELECT 'object', 'event trigger', evtname, format('%s %s %s', evtevent, evtfoid::regproc, evtenabled) "
    "FROM pg_event_trigger",
    "SELECT 'object', 'default rights', format('%s %s %s', r.rolname, d.defaclobjtype, n.nspname), "
    "(SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(d.defaclacl) a) FROM pg_default_acl d "
    "JOIN pg_roles r ON r.oid = d.defaclrole LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace",
    _acl("pg_class", "table", "relnamespace", "relowner", "relacl", "format('%s.%s', n.nspname, c.relname)"),
    _acl(
        "pg_proc",
        "function",
        "pronamespace",
        "proowner",
        "proacl",
        "format('%s.%s(%s)', n.nspname, c.proname, pg_get_function_identity_arguments(c.oid))",
    ),
    # The rest of what a person can make, by its name alone.
    *(
        f"SELECT 'object', i.type, i.identity FROM {catalog} c "
        f"CROSS JOIN LATERAL pg_identify_object('{catalog}'::regclass, c.oid, 0) i "
        f"WHERE c.oid >= 16384 AND {free(catalog, 'c.oid')}"
        for catalog in ("pg_cast", "pg_operator", "pg_opclass", "pg_opfamily", "pg_collation", "pg_conversion", "pg_language",
                        "pg_foreign_server", "pg_foreign_data_wrapper", "pg_publication", "pg_ts_config", "pg_ts_dict")
    ),
)  # fmt: skip

# A value's own output, never a cast: a repository can define casts, and they would run.
_COUNTS = f"""SELECT format('SELECT json_build_array(''rows'', %L, %L, %L::json, count(*),
  array_to_json(ARRAY[%s]::bigint[]), array_to_json(ARRAY[%s]::text[])) FROM %s %I.%I', n.nspname, c.relname,
  coalesce(json_agg(a.attname ORDER BY a.attnum) FILTER (WHERE a.attname IS NOT NULL), '[]'),
  string_agg(format('count(%I)', a.attname), ',' ORDER BY a.attnum),
  string_agg(format('coalesce(sum(hashtextextended(format(''%%L'', %I), 0)::numeric), 0)::text', a.attname), ','
    ORDER BY a.attnum),
  CASE c.relkind WHEN 'r' THEN 'ONLY' ELSE '' END, n.nspname, c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  WHERE c.relkind IN ('r', 'p') AND {OURS} AND {free("pg_class", "c.oid")}
  GROUP BY n.nspname, c.relname, c.relkind ORDER BY 1 \\gexec
"""
# PostgreSQL holds every other reference itself.
_BROKEN = f"""SELECT format('SELECT json_build_array(''broken'', %L, %L, count(*)) FROM ONLY %I.%I h WHERE %s '
  'AND NOT EXISTS (SELECT 1 FROM %I.%I t WHERE %s)', n.nspname, c.relname, n.nspname, c.relname,
  string_agg(format('h.%I IS NOT NULL', a.attname), ' AND '), m.nspname, f.relname,
  string_agg(format('t.%I OPERATOR(%I.%s) h.%I', b.attname, s.nspname, q.oprname, a.attname), ' AND '))
  FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_class f ON f.oid = o.confrelid JOIN pg_namespace m ON m.oid = f.relnamespace
  CROSS JOIN LATERAL unnest(o.conkey, o.confkey, o.conpfeqop) p(here, there, same)
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.here
  JOIN pg_attribute b ON b.attrelid = f.oid AND b.attnum = p.there
  JOIN pg_operator q ON q.oid = p.same JOIN pg_namespace s ON s.oid = q.oprnamespace
  WHERE o.contype = 'f' AND NOT o.convalidated AND {OURS}
  GROUP BY o.oid, n.nspname, c.relname, m.nspname, f.relname \\gexec
"""


def script(asked: Sequence[str], search_path: str) -> str:
    """What psql runs to tell everything: one JSON value a line. `asked` are SELECTs whose rows are wanted too."""
    parts = ["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"]
    parts += [listed(query) for query in SCHEMA]
    parts += [_COUNTS, _BROKEN, "COMMIT;", f"SET search_path = {search_path};", "\\set ON_ERROR_STOP 0"]
    for number, query in enumerate(asked):
        parts.append(f"SELECT '[\"asked\", {number}]';\nSELECT row_to_json(q) FROM ({query.strip().rstrip(';')}) q;")
    return "\n".join(parts) + "\n"


def listed(query: str) -> str:
    """The query so that each of its rows comes as one JSON list on one line."""
    return f"SELECT (SELECT json_agg(v.value) FROM json_each(row_to_json(q)) v) FROM ({query}) q;"


@dataclass(frozen=True)
class Told:
    """What a database told of itself: lines, tables, broken references, and the rows of what was asked beside."""

    schema: tuple[str, ...]
    tables: Mapping[str, TableFacts]
    broken: Mapping[str, int]
    asked: Mapping[int, list[tuple[Any, ...]]]


def read(output: str, left_out: Collection[str]) -> Told:
    """From what psql printed for `script`; tables named in `left_out` (lower case) are no part of it."""
    lines: list[str] = []
    tables: dict[str, TableFacts] = {}
    broken: dict[str, int] = {}
    asked: dict[int, list[tuple[Any, ...]]] = {}
    rows: list[tuple[Any, ...]] = []
    for text in output.split("\n"):
        if not text:
            continue
        # As pairs, because two columns of a query may have one name.
        value = json.loads(text, object_pairs_hook=tuple)
        if isinstance(value, tuple):
            rows.append(tuple(cell for _, cell in value))
            continue
        kind, *row = value
        if kind == "asked":
            rows = asked[row[0]] = []
        elif _of(row, kind) in left_out:
            continue
        elif kind == "rows":
            tables[_name(row)] = _counts(row)
        elif kind == "broken":
            broken[_name(row)] = broken.get(_name(row), 0) + row[2]
        else:
            lines += _TOLD[kind](row)
    return Told(tuple(sorted(lines)), tables, {name: count for name, count in broken.items() if count}, asked)


def _of(row: Row, kind: str) -> str:
    """The table that a row speaks of, in lower case and without its schema; "" when it is about no table."""
    if kind == "sequence":
        return str(row[9] or "").lower()
    if kind == "grant":
        return str(row[1]).rsplit(".", 1)[-1].lower() if row[0] == "table" else ""
    of_tables = {"relation", "column", "rule", "index", "trigger", "policy", "rows", "broken"}
    return str(row[1]).lower() if kind in of_tables else ""


def _name(row: Row, at: int = 0) -> str:
    """A name as people write it: what lies in `public` without its schema."""
    return str(row[at + 1]) if row[at] == "public" else f"{row[at]}.{row[at + 1]}"


def _counts(row: Row) -> TableFacts:
    _, _, names, rows, present, sums = row
    checksums = {name: int(number) for name, number in zip(names, sums, strict=True)}
    return TableFacts(rows, dict(zip(names, present, strict=True)), checksums)


def _normal(text: str) -> str:
    """One spelling for what PostgreSQL writes in two ways, one after the other when its own words are read back.

    `x IN ('a')` on a varchar is `ANY ((ARRAY['a'::character varying])::text[])` at first and
    `ANY (ARRAY[('a'::character varying)::text])` in a restored copy.
    """
    strings: list[str] = []

    def kept(match: re.Match[str]) -> str:
        strings.append(match[0])
        return f"\0{len(strings) - 1}\0"

    text = " ".join(_STRING.sub(kept, text).split()).removesuffix(";")
    text, before = _TEXT_CAST.sub("", text), ""
    while text != before:
        before, text = text, _WRAPPED.sub(r"\1", text)
    return re.sub(r"\0(\d+)\0", lambda match: strings[int(match[1])], text)


def _relation(row: Row) -> Iterator[str]:
    kind, persistence, key, bound, parents, options, secured, forced, identity, view = row[2:]
    words = [_KINDS[kind], _name(row)]
    words += ["unlogged"] if persistence == "u" else []
    words += [f"partitioned by {key}"] if key else []
    words += [f"inherits {', '.join(parents)}"] if parents else []
    words += [bound] if bound else []
    words += [f"with ({', '.join(options)})"] if options else []
    words += ["row security"] if secured else []
    words += ["forced"] if forced else []
    words += [f"replica identity {identity}"] if kind in "rp" and identity != "d" else []
    line = " ".join(words)
    yield f"{line}: {_normal(view)}" if view else line


def _column(row: Row) -> Iterator[str]:
    column, kind, required, default, key, identity, generated, collation = row[2:]
    words = [f"column {_name(row)}.{column} {_type(kind)}"]
    words += [f"COLLATE {collation}"] if collation else []
    words += ["NOT NULL"] if required else []
    words += [f"DEFAULT {_normal(default)}"] if default is not None and not generated else []
    words += [f"KEY {key}"] if key else []
    words += [f"IDENTITY {'ALWAYS' if identity == 'a' else 'BY DEFAULT'}"] if identity else []
    words += [f"GENERATED {'STORED' if generated == 's' else 'VIRTUAL'} {_normal(default)}"] if generated else []
    yield " ".join(words)


def _type(name: str) -> str:
    """Types of PostgreSQL itself in capitals; a person's own keep their letters, which count."""
    own = "." in name or '"' in name
    return name if own else name.upper()


def _rule(row: Row) -> Iterator[str]:
    kind, text, update, delete, schema, other, pairs, deferrable, deferred, valid, match = row[2:]
    if kind != "f":
        # An exclusion refuses rows as a check does, and is told as one.
        yield f"check {_name(row)}: {_normal(text).removeprefix('CHECK ')}"
        return
    target = f"{_name((schema, other))} update {_ACTIONS[update]} delete {_ACTIONS[delete]}: {' '.join(pairs)}"
    words = ["match full"] if match == "f" else []
    words += [f"deferrable{' initially deferred' if deferred else ''}"] if deferrable else []
    words += [] if valid else ["not valid"]
    yield " ".join([f"foreign key {_name(row)} references {target}", *words])


def _index(row: Row) -> Iterator[str]:
    name, unique, valid, constraint, deferrable, keys, text = row[2:]
    listed = ", ".join(keys)
    # Whatever goes beyond a plain list of columns follows as PostgreSQL writes it.
    how = _normal(text).split(" USING ", 1)[-1]
    plain = f"btree ({listed})"
    rest = how[len(plain) :] if how.lower().startswith(plain.lower()) else f" using {how}"
    label = "" if constraint else f" {name}"
    state = ("" if valid else " invalid") + (" deferrable" if deferrable else "")
    yield f"{'unique' if unique else 'index'}{label} on {_name(row)} ({listed}){rest}{state}"


def _trigger(row: Row) -> Iterator[str]:
    name, text, enabled = row[2:]
    yield f"trigger {name} on {_name(row)} {_STATES.get(enabled, enabled)}: {_normal(text)}"


def _policy(row: Row) -> Iterator[str]:
    name, command, permissive, using, checked, roles = row[2:]
    kind = "permissive" if permissive else "restrictive"
    yield f"policy {name} on {_name(row)}: {kind} {command} to {', '.join(roles)} using {_normal(str(using))} with check {_normal(str(checked))}"


def _domain(row: Row) -> Iterator[str]:
    base, required, default, rules = row[2:]
    words = [f"domain {_name(row)} {_type(base)}"]
    words += ["NOT NULL"] if required else []
    words += [f"DEFAULT {default}"] if default is not None else []
    yield " ".join([*words, *(_normal(rule) for rule in rules or ())])


def _sequence(row: Row) -> Iterator[str]:
    kind, start, step, least, most, cycle = row[2:8]
    owner = f" owned by {_name(row, 8)}.{row[10]}" if row[9] else ""
    yield f"sequence {_name(row)} {kind} from {start} by {step} within {least}..{most}{' cycle' if cycle else ''}{owner}"


def _grant(row: Row) -> Iterator[str]:
    kind, name, grantee, right, further = row
    yield f"grant {right} on {kind} {name.removeprefix('public.')} to {grantee}{' with grant option' if further else ''}"


_TOLD: Mapping[str, Callable[[Row], Iterable[str]]] = {
    "schema": lambda row: (f"schema {row[0]}",),
    "extension": lambda row: (f"extension {row[0]} {row[1]}",),
    "relation": _relation,
    "column": _column,
    "rule": _rule,
    "index": _index,
    "trigger": _trigger,
    "policy": _policy,
    "enum": lambda row: (f"enum {_name(row)}: {', '.join(row[2] or ())}",),
    "type": lambda row: (f"type {_name(row)}: {', '.join(row[2] or ())}",),
    "domain": _domain,
    "sequence": _sequence,
    "function": lambda row: (f"function {_name(row)}({row[2]}): {_normal(row[4] or '')}",),
    "statistics": lambda row: (f"statistics {_name(row)}: {_normal(row[2])}",),
    "object": lambda row: (f"{' '.join(_normal(str(part)) for part in row)}",),
    "grant": _grant,
}
