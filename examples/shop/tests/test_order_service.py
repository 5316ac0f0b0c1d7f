from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from shop.catalogue import PRICES_CENTS
from shop.db import make_engine, make_session_factory
from shop.errors import Conflict, Forbidden, Invalid, NotFound
from shop.models import Account, Order, OrderStatus
from shop.repositories.orders import OrderRepository
from shop.services.orders import Item, OrderService
from tests.support import NOW


def service(session: Session, now: datetime = NOW) -> OrderService:
    return OrderService(session, lambda: now)


def place(session: Session, actor: Account) -> Order:
    return service(session).place(actor, [Item("MUG-WHITE", 2), Item("TEAPOT-1L", 1)])


def test_place_takes_prices_from_the_catalogue(session: Session, ada: Account) -> None:
    order = place(session, ada)
    assert order.status is OrderStatus.PENDING
    assert order.total_cents == 2 * PRICES_CENTS["MUG-WHITE"] + PRICES_CENTS["TEAPOT-1L"]
    assert [line.unit_price_cents for line in order.lines] == [1_290, 3_950]


def test_place_refuses_an_unknown_sku(session: Session, ada: Account) -> None:
    with pytest.raises(Invalid) as refused:
        service(session).place(ada, [Item("NO-SUCH-THING", 1)])
    assert refused.value.code == "unknown_sku"


def test_pay_and_ship_record_when(session: Session, ada: Account, staff: Account) -> None:
    order = place(session, ada)
    paid_at, shipped_at = NOW + timedelta(hours=1), NOW + timedelta(days=1)
    service(session, paid_at).pay(ada, order.id)
    service(session, shipped_at).ship(staff, order.id)
    assert order.status is OrderStatus.SHIPPED
    assert (order.paid_at, order.shipped_at, order.cancelled_at) == (paid_at, shipped_at, None)


def test_cancel_only_before_payment(session: Session, ada: Account) -> None:
    cancelled, paid = place(session, ada), place(session, ada)
    service(session).cancel(ada, cancelled.id)
    assert cancelled.status is OrderStatus.CANCELLED
    service(session).pay(ada, paid.id)
    with pytest.raises(Conflict) as refused:
        service(session).cancel(ada, paid.id)
    assert refused.value.code == "wrong_order_status"
    assert paid.cancelled_at is None


def test_staff_and_customers_keep_to_their_parts(
    session: Session, ada: Account, staff: Account
) -> None:
    order = place(session, ada)
    with pytest.raises(Forbidden):
        place(session, staff)
    with pytest.raises(Forbidden):
        service(session).pay(staff, order.id)
    with pytest.raises(Forbidden):
        service(session).ship(ada, order.id)


def test_another_customers_order_is_not_found(session: Session, ada: Account, ben: Account) -> None:
    order = place(session, ada)
    with pytest.raises(NotFound):
        service(session).get(ben, order.id)
    with pytest.raises(NotFound):
        service(session).cancel(ben, order.id)


def test_status_does_not_change_twice(database_url: str, session: Session, ada: Account) -> None:
    """Two requests that both read a pending order: the second one must not pay it again."""
    order = place(session, ada)
    engine = make_engine(database_url)
    with make_session_factory(engine)() as other:
        stale = other.get_one(Order, order.id)
        other.rollback()
        service(session).pay(ada, order.id)
        moved = OrderRepository(other).change_status(
            stale, expected=OrderStatus.PENDING, new=OrderStatus.CANCELLED, at=NOW
        )
        assert not moved
        assert stale.status is OrderStatus.PAID
    engine.dispose()
