"""The crew: stages, gates, permissions and the CrewAI edge."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backend_crew.crew.embed import BackendCrew, Result

__all__ = ["BackendCrew", "Result"]


def __getattr__(name: str) -> Any:
    """Import the library on first use: commands that need no crew must not pay for it."""
    if name in __all__:
        from backend_crew.crew import embed

        return getattr(embed, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
