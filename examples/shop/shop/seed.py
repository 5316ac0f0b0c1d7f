"""Demo data: `python -m shop.seed` fills a migrated, empty database, the same each time.

The passwords below are for demonstrations only. Never run this where customers are.
"""

import hashlib
import sys
from datetime import UTC, datetime, timedelta

from sqlalchemy import inspect
from sqlalchemy.orm import Session

from shop.catalogue import CURRENCY, PRICES_CENTS
from shop.config import Settings
from shop.db import make_engine, make_session_factory
from shop.models import Account, Order, OrderLine, OrderStatus, Role
from shop.repositories.accounts import AccountRepository
from shop.repositories.orders import OrderRepository
from shop.security import hash_password

_START = datetime(2025, 3, 3, 8, 0, tzinfo=UTC)

# email, name, role, password
_ACCOUNTS = (
    ("staff@shop.example", "Sam Staff", Role.STAFF, "demo-staff-password"),
    ("ada@shop.example", "Ada Albers", Role.CUSTOMER, "demo-ada-password"),
    ("ben@shop.example", "Ben Brandt", Role.CUSTOMER, "demo-ben-password"),
    ("cleo@shop.example", "Cleo Costa", Role.CUSTOMER, "demo-cleo-password"),
)

# customer, status, {sku: quantity}; one order every seven hours
_ORDERS: tuple[tuple[str, OrderStatus, dict[str, int]], ...] = (
    ("ada@shop.example", OrderStatus.SHIPPED, {"MUG-WHITE": 2, "TEA-ASSAM-250": 1}),
    ("ben@shop.example", OrderStatus.SHIPPED, {"KETTLE-STEEL": 1}),
    ("cleo@shop.example", OrderStatus.CANCELLED, {"TEAPOT-1L": 1}),
    ("ada@shop.example", OrderStatus.PAID, {"TEA-SENCHA-100": 3}),
    ("cleo@shop.example", OrderStatus.SHIPPED, {"MUG-BLUE": 4, "TEAPOT-1L": 1}),
    ("ben@shop.example", OrderStatus.PAID, {"TEA-ASSAM-250": 2, "TEA-SENCHA-100": 2}),
    ("ben@shop.example", OrderStatus.CANCELLED, {"MUG-WHITE": 1}),
    ("ada@shop.example", OrderStatus.SHIPPED, {"KETTLE-STEEL": 1, "MUG-BLUE": 2}),
    ("cleo@shop.example", OrderStatus.PAID, {"TEAPOT-1L": 2}),
    ("ada@shop.example", OrderStatus.PENDING, {"MUG-WHITE": 6}),
    ("ben@shop.example", OrderStatus.PENDING, {"TEA-SENCHA-100": 1}),
    ("cleo@shop.example", OrderStatus.PENDING, {"TEA-ASSAM-250": 5, "MUG-BLUE": 1}),
)


def seed(session: Session) -> None:
    """Add the demo data and commit."""
    accounts, orders = AccountRepository(session), OrderRepository(session)
    ids: dict[str, int] = {}
    for email, name, role, password in _ACCOUNTS:
        salt = hashlib.sha256(email.encode()).digest()[:16]  # fixed, so that the rows are too
        password_hash = hash_password(password, salt=salt)
        account = Account(
            email=email, name=name, role=role, password_hash=password_hash, created_at=_START
        )
        accounts.add(account)
        ids[email] = account.id
    for number, (email, status, items) in enumerate(_ORDERS):
        created = _START + timedelta(days=1, hours=7 * number)
        orders.add(_order(ids[email], status, items, created))
    session.commit()


def main() -> int:
    """Seed the database of SHOP_DATABASE_URL; the exit code is 1 when it is not fit for that."""
    engine = make_engine(Settings.from_env().database_url)
    if not inspect(engine).has_table(Account.__tablename__):
        print("The database has no tables; run `alembic upgrade head` first.", file=sys.stderr)
        return 1
    with make_session_factory(engine)() as session:
        if AccountRepository(session).count():
            print("The database is not empty; nothing was added.", file=sys.stderr)
            return 1
        seed(session)
    print(f"Added {len(_ACCOUNTS)} accounts and {len(_ORDERS)} orders.")
    return 0


def _order(account_id: int, status: OrderStatus, items: dict[str, int], created: datetime) -> Order:
    was_paid = status in (OrderStatus.PAID, OrderStatus.SHIPPED)
    return Order(
        account_id=account_id,
        status=status,
        currency=CURRENCY,
        total_cents=sum(PRICES_CENTS[sku] * quantity for sku, quantity in items.items()),
        created_at=created,
        paid_at=created + timedelta(minutes=20) if was_paid else None,
        shipped_at=created + timedelta(days=1) if status is OrderStatus.SHIPPED else None,
        cancelled_at=created + timedelta(hours=2) if status is OrderStatus.CANCELLED else None,
        lines=[
            OrderLine(sku=sku, quantity=quantity, unit_price_cents=PRICES_CENTS[sku])
            for sku, quantity in items.items()
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
