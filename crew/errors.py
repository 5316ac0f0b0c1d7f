"""Errors by audience; each carries the exit code that its reader's shell sees."""


class BackendCrewError(Exception):
    """An expected failure: one clear message, no traceback."""

    exit_code = 1


class UsageError(BackendCrewError):
    """The person asked for something that cannot be done as asked."""

    exit_code = 2


class ConfigError(BackendCrewError):
    """A role, task or setting is not valid."""

    exit_code = 2


class ModelError(BackendCrewError):
    """The model cannot be used: no key, a refused key, a missing provider, no tool calls."""

    exit_code = 4


class BudgetReached(BackendCrewError):
    """A cap on calls, tokens, minutes or cost is used up; the run can be resumed with a larger one."""

    exit_code = 5


class JournalError(BackendCrewError):
    """The run's history cannot be read or written."""


class LeaseLost(JournalError):
    """Another process is running this run."""

    exit_code = 2


class DecisionRefused(BackendCrewError):
    """A decision does not fit the gate as it stands now."""

    exit_code = 2


class DecisionExpired(DecisionRefused):
    """A decision is too old to let anything happen."""


class RecordingError(BackendCrewError):
    """A recording does not fit what is being replayed."""


class Interrupted(BackendCrewError):
    """A person stopped the run; it can be resumed."""

    exit_code = 130
