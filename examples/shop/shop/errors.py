"""What can go wrong in the domain. The API turns each class into one HTTP status."""


class ShopError(Exception):
    """Base: a stable `code` for programs and a `message` for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Unauthenticated(ShopError):
    """We do not know who is asking."""


class Forbidden(ShopError):
    """We know who is asking, and they may not do this."""


class NotFound(ShopError):
    """It does not exist, or the one asking may not know that it does."""


class Conflict(ShopError):
    """The request is fine, but not in the present state."""


class Invalid(ShopError):
    """The request is well formed, but asks for something that makes no sense."""
