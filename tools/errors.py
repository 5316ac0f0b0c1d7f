"""Errors by audience: the model that can correct itself, the model that must not, the operator."""


class ToolError(Exception):
    """Something a tool could not do; the message says what was found, what was expected and what to do."""


class ToolRetry(ToolError):
    """The caller can correct its input and try again."""


class ToolRefused(ToolError):
    """The action is not allowed; trying again in other words will not help."""


class ToolFault(ToolError):
    """The environment is broken (a missing program, an unreadable disk): the operator has to act."""
