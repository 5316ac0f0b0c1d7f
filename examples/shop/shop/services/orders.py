"""Placing, paying, shipping and cancelling orders.

pending -> paid -> shipped
pending -> cancelled
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from shop.catalogue import CURRENCY, PRICES_CENTS
from shop.clock import Clock, utc_now
from shop.errors import Conflict, Forbidden, Invalid, NotFound
from shop.models import Account, Order, OrderLine, OrderStatus
from shop.repositories.orders import OrderRepository


@dataclass(frozen=True)
class Item:
    """What a customer asks for; the price is ours to say."""

    sku: str
    quantity: int


class OrderService:
    def __init__(self, session: Session, clock: Clock = utc_now) -> None:
        self._session = session
        self._orders = OrderRepository(session)
        self._clock = clock

    def place(self, actor: Account, items: Sequence[Item]) -> Order:
        """A new pending order at today's prices."""
        _require_customer(actor)
        lines = [_priced(item) for item in items]
        order = Order(
            account_id=actor.id,
            status=OrderStatus.PENDING,
            currency=CURRENCY,
            total_cents=sum(line.quantity * line.unit_price_cents for line in lines),
            created_at=self._clock(),
            lines=lines,
        )
        self._orders.add(order)
        self._session.commit()
        return order

    def get(self, actor: Account, order_id: int) -> Order:
        """An order the actor may see. Another customer's order is reported as not found."""
        order = self._orders.get(order_id)
        if order is None or not (actor.is_staff or order.account_id == actor.id):
            raise NotFound("order_not_found", f"There is no order {order_id}.")
        return order

    def list(
        self, actor: Account, *, status: OrderStatus | None, limit: int, offset: int
    ) -> tuple[Sequence[Order], int]:
        """A page of the orders the actor may see, newest first, and their total number."""
        account_id = None if actor.is_staff else actor.id
        return self._orders.page(account_id=account_id, status=status, limit=limit, offset=offset)

    def pay(self, actor: Account, order_id: int) -> Order:
        """Record the payment of the customer's own pending order."""
        _require_customer(actor)
        return self._move(actor, order_id, OrderStatus.PENDING, OrderStatus.PAID)

    def cancel(self, actor: Account, order_id: int) -> Order:
        """Call off the customer's own order, as long as it is not paid."""
        _require_customer(actor)
        return self._move(actor, order_id, OrderStatus.PENDING, OrderStatus.CANCELLED)

    def ship(self, actor: Account, order_id: int) -> Order:
        """Staff: a paid order has left the house."""
        if not actor.is_staff:
            raise Forbidden("staff_only", "Only staff may do this.")
        return self._move(actor, order_id, OrderStatus.PAID, OrderStatus.SHIPPED)

    def _move(
        self, actor: Account, order_id: int, expected: OrderStatus, new: OrderStatus
    ) -> Order:
        order = self.get(actor, order_id)
        if not self._orders.change_status(order, expected=expected, new=new, at=self._clock()):
            raise Conflict(
                "wrong_order_status",
                f"Order {order_id} is {order.status}; only a {expected} order can become {new}.",
            )
        self._session.commit()
        return order


def _require_customer(actor: Account) -> None:
    if actor.is_staff:
        raise Forbidden("customers_only", "Only customers may do this.")


def _priced(item: Item) -> OrderLine:
    price = PRICES_CENTS.get(item.sku)
    if price is None:
        raise Invalid("unknown_sku", f"There is no article {item.sku}.")
    return OrderLine(sku=item.sku, quantity=item.quantity, unit_price_cents=price)
