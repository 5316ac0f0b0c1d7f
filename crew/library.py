"""The allow-listed tools of crewai_tools, constructed by us so that they cannot leave the private tree."""

from typing import Any

from crewai_tools import FileReadTool
from pydantic import ConfigDict, PrivateAttr

from backend_crew.crew.session import Session
from backend_crew.tools.deny import is_read_denied
from backend_crew.tools.errors import ToolError, ToolRetry
from backend_crew.tools.workspace import clean_path


class GuardedFileReadTool(FileReadTool):
    """FileReadTool behind the same door as read_file: the path is opened by the workspace first."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    name: str = "file_read_tool"
    _session: Session = PrivateAttr()

    @classmethod
    def of(cls, session: Session) -> "GuardedFileReadTool":
        """The reader for a session, with the private tree as its base directory."""
        tool = cls(base_dir=str(session.clone.tree))
        tool._session = session
        return tool

    def _run(
        self, file_path: str | None = None, start_line: int | None = 1, line_count: int | None = 200, **_: Any
    ) -> str:
        session = self._session
        with session.lock:
            try:
                session.permissions.check_tool("FileReadTool")
                path = clean_path(file_path or "")
                if reason := is_read_denied(path):
                    raise ToolRetry(f"{path}: {reason}")
                session.workspace.read_bytes(path)
            except ToolError as error:
                session.note("tool refused", tool="FileReadTool", reason=str(error))
                raise ToolRetry(session.redact(str(error))) from error
            text = super()._run(file_path=path, start_line=start_line or 1, line_count=min(line_count or 200, 400))
            session.note("tool", tool="FileReadTool", path=path)
            return session.redact(str(text))[:12_000]
