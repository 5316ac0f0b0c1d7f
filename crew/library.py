"""The allow-listed tools of crewai_tools, constructed by us so that they cannot leave the private tree."""

from typing import Any

from crewai_tools import FileReadTool
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from backend_crew.crew.session import Session
from backend_crew.tools.errors import ToolError, ToolRetry

_WORDS = (
    "Reads lines of a file, without their numbers, by its path relative to the repository. Where you have read_file, "
    "prefer it: it numbers the lines."
)


class ReadLines(BaseModel):
    """What FileReadTool takes; its own words ask for a full path, which is refused here."""

    file_path: str = Field(description="Path relative to the repository, such as app/models.py; no full path.")
    start_line: int | None = Field(default=1, description="The first line, counted from 1.")
    line_count: int | None = Field(default=None, description="How many lines; 200 when left out.")


class GuardedFileReadTool(FileReadTool):
    """FileReadTool's name over the workspace's door: a path is opened once, there, and never by name again."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    name: str = "file_read_tool"
    _session: Session = PrivateAttr()

    @classmethod
    def of(cls, session: Session) -> "GuardedFileReadTool":
        """The reader for a session, with the private tree as its base directory."""
        tool = cls(base_dir=str(session.clone.tree), args_schema=ReadLines, description=_WORDS)
        tool._session = session
        return tool

    def _run(
        self, file_path: str | None = None, start_line: int | None = 1, line_count: int | None = 200, **_: Any
    ) -> str:
        session, start = self._session, start_line or 1
        with session.lock:
            try:
                session.permissions.check_tool("FileReadTool")
                text = session.workspace.read(file_path or "", start, start + max(line_count or 200, 1) - 1)
            except ToolError as error:
                session.note("tool refused", tool="FileReadTool", reason=str(error))
                raise ToolRetry(session.as_data(str(error))) from error
            session.note("tool", tool="FileReadTool", path=text.path)
            return session.as_data("".join(f"{line}\n" for line in text.lines), lambda whole: whole[:12_000])
