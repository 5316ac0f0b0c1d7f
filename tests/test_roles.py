"""Roles and tasks: what ships is valid, and every mistake is named with file, line and a way out."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backend_crew.crew import roles, stages, yamlfile
from backend_crew.crew.errors import ConfigError

TASKS, AGENTS = "tasks.yaml", "agents.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped YAML that a test may spoil."""
    for name in (AGENTS, TASKS):
        shutil.copy(roles.default_folder() / name, tmp_path / name)
    return tmp_path


def change(folder: Path, name: str, old: str, new: str) -> None:
    """Replace one piece of a file; it must be there exactly as written."""
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))


def line_of(folder: Path, name: str, piece: str) -> int:
    """The number of the first line that holds a piece of text."""
    lines = (folder / name).read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if piece in line)


def faults(folder: Path) -> list[str]:
    """What is reported about a folder, as a person reads it."""
    spec, found = roles.inspect(folder)
    assert (spec is None) == bool(found)
    return [str(fault) for fault in found]


def block(folder: Path, task: str) -> str:
    """A task's whole definition."""
    match = re.search(rf"(?ms)^{task}:\n.*?(?=^\S|\Z)", (folder / TASKS).read_text())
    assert match
    return match[0]


def test_the_shipped_crew_is_valid() -> None:
    spec = roles.load()
    assert {task.gate for task in spec.tasks if task.gate} == {"answers", "design", "migrations", "findings"}
    order = [stages.BY_NAME[task.stage].number for task in spec.tasks]
    assert order == sorted(order)
    assert set(order) == set(range(1, 9))


def test_steps_of_trusted_code_stand_where_the_stages_say() -> None:
    names = [task.name for task in roles.load().tasks]
    assert names.index("baseline") == names.index("implement_data_access") - 1
    assert names.index("rehearse") == names.index("review_migrations") - 1
    assert names.index("apply") == names.index("approve_migrations") + 1
    assert names[-1] == "summarise"


#: name, file, what is replaced, by what, the line's text at which it is reported, and what must be said about it.
MISTAKES = [
    ("typo in a key", TASKS, "human_input: true", "human_imput: true", "human_imput", "did you mean 'human_input'?"),
    ("unknown agent", TASKS, "agent: architect", "agent: architct", "agent: architct", "did you mean 'architect'?"),
    ("unknown tool", AGENTS, "git_log]", "git_blog]", "git_blog", "did you mean 'git_log'?"),
    ("typo in context", TASKS, "context: [ask]", "context: [ak]", "answer:", "did you mean 'ask'?"),
    ("context as a string", TASKS, "context: [ask]", "context: ask", "context: ask", "write [ask]"),
    ("context names a later task", TASKS, "context: [ask]", "context: [design]", "answer:", "runs later"),
    ("a second definition", TASKS, "\nask:\n", "\nanalyse:\n", "analyse:", "appears twice; the first is on line"),
    ("human_input is a word", TASKS, "human_input: true", "human_input: always", "always", "must be true or false"),
    ("a tool above the stage", TASKS, "context: [analyse, answer, specify]", "tools: [write_file]", "design:", "which allows:"),
    ("a ChangeSet without layer", TASKS, "  layer: data_access\n", "", "implement_data_access:", "one of: data_access"),
    ("an unknown layer", TASKS, "layer: data_access", "layer: data", "layer: data", "one of: data_access"),
    ("an unknown artifact", TASKS, "output_pydantic: Analysis", "output_pydantic: Analisis", "Analisis", "mean 'Analysis'"),
    ("an artifact in a list", TASKS, "output_pydantic: Analysis", "output_pydantic: [Analysis]", "[Analysis]", "one of:"),
    ("no artifact", TASKS, "  output_pydantic: Analysis\n", "", "analyse:", "one of: Analysis"),
    ("a path in braces", TASKS, "Build the presentation", "Build GET /orders/{id}", "description: >", "write <id>"),
    ("delegation", AGENTS, "role: Backend analyst", "role: A\n  allow_delegation: true", "allow_delegation", "another role's tools"),
    ("an own loop limit", AGENTS, "role: Backend analyst", "role: A\n  max_iter: 3", "max_iter", "--max-calls"),
    ("a model without provider", AGENTS, "role: Backend analyst", "role: A\n  llm: gpt-4o", "llm: gpt-4o", "provider/model"),
    ("a library tool that is not allowed", AGENTS, "git_log]", "FileWriterTool]", "FileWriterTool", "there are: FileReadTool"),
    ("submit as a tool", AGENTS, "git_log]", "submit]", "submit]", "remove it"),
    ("tools for the person", AGENTS, "role: The person who", "tools: [search]\n  role: The person who", "human:", "remove them"),
    ("an unknown stage", TASKS, "stage: analysis", "stage: analisis", "stage: analisis", "did you mean 'analysis'?"),
    ("a role that is a list", AGENTS, "human:\n", "other: [a]\n\nhuman:\n", "other:", "expected a mapping with role"),
    ("the code's own role", AGENTS, "human:\n", "code:\n  role: a\n  goal: b\n  backstory: c\n\nhuman:\n", "code:", "choose another"),
    ("a code step's name", TASKS, "\nask:\n", "\nbaseline:\n", "baseline:", "belongs to a step of trusted code"),
    ("a date that is none", AGENTS, "role: Backend analyst", "role: 2001-99-99", "2001-99-99", "put it in quotes"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new", "at", "says"), [row[1:] for row in MISTAKES], ids=[r[0] for r in MISTAKES]
)
def test_a_mistake_is_named_with_file_line_and_a_way_out(
    folder: Path, file: str, old: str, new: str, at: str, says: str
) -> None:
    change(folder, file, old, new)
    found = faults(folder)
    lines = (folder / file).read_text().splitlines()
    places = {f"{file}:{number}" for number, line in enumerate(lines, start=1) if at in line}
    assert any(":".join(one.split(":")[:2]) in places and says in one for one in found), found


def test_the_line_is_exact(folder: Path) -> None:
    change(folder, TASKS, "agent: migration_guard", "agent: migration_gard")
    assert faults(folder) == [
        f"tasks.yaml:{line_of(folder, TASKS, 'migration_gard')}: review_migrations: agent 'migration_gard' "
        "is not in agents.yaml - did you mean 'migration_guard'?"
    ]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (TASKS, "human_input: true", "human_imput: true"),  # not "belong together", not "output_pydantic is missing"
        (TASKS, "agent: human", "agent: humann"),
        (TASKS, "output_pydantic: ChangeSet", "output_pydantik: ChangeSet"),
        (TASKS, "layer: data_access", "layr: data_access"),
        (AGENTS, "goal: Decide at the gates.", "gaol: Decide at the gates."),
    ],
)
def test_a_slip_is_one_fault_without_those_that_follow_from_it(folder: Path, file: str, old: str, new: str) -> None:
    change(folder, file, old, new)
    (fault,) = faults(folder)
    assert "did you mean" in fault


def test_what_is_wrong_behind_a_misspelt_key_is_said_too(folder: Path) -> None:
    change(folder, TASKS, "layer: data_access", "layr: data_acess")
    assert ["did you mean 'layer'" in one for one in faults(folder)] == [True, False]


def test_a_missing_description(folder: Path) -> None:
    change(folder, TASKS, "  description: The person answers the questions.\n", "")
    assert faults(folder) == [f"tasks.yaml:{line_of(folder, TASKS, 'answer:')}: answer: 'description' is missing"]


@pytest.mark.parametrize(("task", "gate"), [("answer", "answers"), ("approve_design", "design"), ("approve_migrations", "migrations"), ("approve_findings", "findings")])  # fmt: skip
def test_a_gate_cannot_be_dropped(folder: Path, task: str, gate: str) -> None:
    change(folder, TASKS, block(folder, task), "")
    found = faults(folder)
    assert any(f"lacks the gate {gate!r}" in one and "cannot be removed" in one for one in found), found


def test_a_gate_cannot_be_given_to_a_model(folder: Path) -> None:
    gate = block(folder, "approve_design")
    change(folder, TASKS, gate, gate.replace("agent: human", "agent: architect"))
    assert any("human_input: true and agent: human belong together" in one for one in faults(folder))
    change(folder, TASKS, "agent: architect\n  human_input: true\n", "agent: architect\n  output_pydantic: Note\n")
    assert any("lacks the gate 'design'" in one for one in faults(folder))


def test_stages_cannot_be_reordered(folder: Path) -> None:
    moved = block(folder, "approve_design")
    change(folder, TASKS, moved, "")
    (folder / TASKS).write_text((folder / TASKS).read_text() + "\n" + moved)
    found = faults(folder)
    line = line_of(folder, TASKS, "approve_design:")
    assert any(one.startswith(f"tasks.yaml:{line}: approve_design: stage 'approval' (4) cannot") for one in found)


def test_tasks_of_one_stage_cannot_change_places(folder: Path) -> None:
    moved = block(folder, "implement_data_access")
    change(folder, TASKS, moved, "")
    change(folder, TASKS, "review_security:", moved + "review_security:")
    assert any("too early in the order" in one for one in faults(folder))


def test_two_tasks_for_one_layer(folder: Path) -> None:
    again = block(folder, "implement_presentation").replace("implement_presentation", "once_more")
    change(folder, TASKS, "implement_cross_cutting:", again + "implement_cross_cutting:")
    line = line_of(folder, TASKS, "once_more:")
    assert any(one.startswith(f"tasks.yaml:{line}: once_more:") and "appears twice" in one for one in faults(folder))


NOTE = """\
look_at_performance:
  stage: design
  agent: architect
  output_pydantic: Note
  context: [specify]
  description: Say what this will cost at ten times the load.
  expected_output: A note.

"""


def test_a_task_that_adds_a_note_is_accepted_and_runs_where_it_stands(folder: Path) -> None:
    change(folder, TASKS, "design:\n", NOTE + "design:\n")
    names = [task.name for task in roles.load(folder).tasks]
    assert names.index("look_at_performance") == names.index("design") - 1


def test_an_added_task_cannot_hand_in_a_required_artifact(folder: Path) -> None:
    # in another stage it is no duplicate of the required task, and could be taken for it downstream
    change(folder, TASKS, "ask:\n", NOTE.replace("Note", "Design").replace("design", "clarification") + "ask:\n")
    assert any("an added task hands in Note or SecurityReview, not Design" in one for one in faults(folder))


def test_every_fault_is_reported_at_once(folder: Path) -> None:
    change(folder, TASKS, "agent: architect", "agent: nobody")
    change(folder, TASKS, "stage: testing", "stage: tasting")
    change(folder, AGENTS, "goal: Decide at the gates.", "gaol: Decide at the gates.")
    assert len(faults(folder)) == 3, "and each of them once"
    with pytest.raises(ConfigError) as caught:
        roles.load(folder)
    assert {"nobody", "tasting", "gaol"} <= set(re.findall(r"\w+", str(caught.value)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1: expected a mapping of names to definitions, found nothing"),
        ("- a\n- b\n", "1: expected a mapping of names to definitions, found something else"),
        ("analyse:\n  stage: [analysis\n  agent: x\n", "not valid YAML"),
        ("a:\n\tb: c\n", "2: not valid YAML"),
        ("a: *nowhere\n", "1: not valid YAML: found undefined alias"),
        ("--- {}\n--- {}\n", "not valid YAML"),
        ('a: "\\UFFFFFFFF"\n', "not valid YAML"),
        ("[" * 1200, "1: not valid YAML: nested too deeply"),
    ],
)
def test_what_is_not_a_mapping_is_said_to_be_none(folder: Path, text: str, says: str) -> None:
    (folder / TASKS).write_text(text)
    found = faults(folder)
    assert len(found) == 1
    assert found[0].startswith("tasks.yaml:")
    assert says in found[0]


def test_bytes_that_are_no_text(folder: Path) -> None:
    (folder / AGENTS).write_bytes(b"\xff\xfe\x00")
    assert faults(folder)[0].startswith("agents.yaml:1: cannot be read:")


def test_a_missing_file_is_named_with_its_folder(folder: Path) -> None:
    (folder / AGENTS).unlink()
    assert faults(folder) == [f"agents.yaml:1: the file is missing; expected it in {folder}"]
    assert len(faults(folder / "nowhere")) == 2


def test_an_anchor_that_holds_itself_is_a_fault(folder: Path) -> None:
    change(folder, TASKS, "context: [ask]", "context: &me [*me]")
    assert any("an anchor that holds itself" in one for one in faults(folder))


def test_a_bomb_of_anchors_is_a_fault_and_not_a_hang(folder: Path) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (folder / TASKS).write_text("\n".join(rows))
    assert any("make it smaller" in one for one in faults(folder))


def test_anchors_that_save_typing_are_welcome(folder: Path) -> None:
    change(folder, AGENTS, "tools: [list_files, read_file, search, find_symbol, git_log]", "tools: &reading [search]")
    change(folder, AGENTS, "tools: [list_files, read_file, search, find_symbol, git_log]", "tools: *reading")
    assert roles.load(folder).roles["architect"].tools == ("search",)


def test_the_digest_covers_every_byte(folder: Path) -> None:
    before = roles.load(folder).digest
    change(folder, AGENTS, "# The team.", "# The team!")
    assert roles.load(folder).digest != before


# -- any text ------------------------------------------------------------------------------------------------------

_WORDS = sorted(
    {"analyse", "human", "code", "stage", "agent", "layer", "tools", "context", "output_pydantic", "human_input", "llm"}
    | {
        "Design",
        "ChangeSet",
        "design",
        "true",
        "null",
        "{id}",
        "&a",
        "*a",
        "<<",
        "!!int",
        "!!timestamp",
        "0x_",
        "? ",
        "|",
    }
    | {
        "2001-99-99",
        '"\\ud800"',
        '"\\UFFFFFFFF"',
        "- ",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "'",
        "#",
    }
)
_YAML_LIKE = st.lists(st.sampled_from(_WORDS), max_size=40).map("".join)
_LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(_WORDS)
_TREES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS) | st.text(max_size=5), inner, max_size=4)
)  # fmt: skip


def _spoilt(shipped: str) -> st.SearchStrategy[str]:
    """The shipped file with a piece cut out and another put in."""
    cut = st.tuples(st.integers(0, len(shipped)), st.integers(0, 60), _YAML_LIKE)
    return cut.map(lambda how: shipped[: how[0]] + how[2] + shipped[how[0] + how[1] :])


_TEXTS = st.one_of(
    st.text(),
    _YAML_LIKE,
    _TREES.map(json.dumps),
    _spoilt((roles.default_folder() / TASKS).read_text()),
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(text=_TEXTS, which=st.sampled_from([AGENTS, TASKS]))
@example(text="a: !!int ''", which=TASKS)
@example(text="a: !!timestamp x", which=TASKS)
@example(text="a: !!bool x", which=AGENTS)
@example(text="? [a, b]\n: c", which=TASKS)
@example(text="? {a: b}\n: {role: x}", which=AGENTS)
@example(text="a: {output_pydantic: {}, layer: [], agent: [x], stage: {}}", which=TASKS)
@example(text='"\\ud800": {"\\ud800": "\\udfff"}', which=TASKS)
def test_no_text_ends_in_a_traceback(tmp_path: Path, text: str, which: str) -> None:
    for name in (AGENTS, TASKS):
        shutil.copy(roles.default_folder() / name, tmp_path / name)
    (tmp_path / which).write_bytes(text.encode("utf-8", "surrogatepass"))
    spec, found = roles.inspect(tmp_path)
    assert (spec is None) == bool(found)
    for fault in found:
        assert fault.line >= 1
        str(fault).encode()  # a message that cannot be printed is a traceback as well


@settings(max_examples=100, deadline=None)
@given(text=st.text() | _YAML_LIKE)
def test_no_answer_file_ends_in_a_traceback(text: str) -> None:
    read: Callable[[str, str], object] = yamlfile.read_mapping
    try:
        assert isinstance(read(text, "answers.yaml"), dict)
    except ConfigError as error:
        str(error).encode()
