"""People who can log in."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from shop.models.base import Base, UtcDateTime, enum_column, one_of


class Role(StrEnum):
    CUSTOMER = "customer"
    STAFF = "staff"


class Account(Base):
    __tablename__ = "accounts"
    __table_args__ = (CheckConstraint(one_of("role", Role), name="role"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    """Lower case; see `shop.schemas.accounts`."""
    name: Mapped[str] = mapped_column(String(100))
    role: Mapped[Role] = mapped_column(enum_column(Role))
    password_hash: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    @property
    def is_staff(self) -> bool:
        return self.role is Role.STAFF
