"""Queries on orders and their lines."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from shop.models import Order, OrderStatus

_TIMESTAMP_OF = {
    OrderStatus.PAID: "paid_at",
    OrderStatus.SHIPPED: "shipped_at",
    OrderStatus.CANCELLED: "cancelled_at",
}


class OrderRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, order: Order) -> None:
        self._session.add(order)
        self._session.flush()

    def get(self, order_id: int) -> Order | None:
        return self._session.get(Order, order_id)

    def page(
        self,
        *,
        account_id: int | None,
        status: OrderStatus | None,
        limit: int,
        offset: int,
    ) -> tuple[Sequence[Order], int]:
        """One page, newest first, and how many there are in all. None means any."""
        query = select(Order)
        if account_id is not None:
            query = query.where(Order.account_id == account_id)
        if status is not None:
            query = query.where(Order.status == status)
        total = self._session.scalar(select(func.count()).select_from(query.subquery())) or 0
        newest_first = query.order_by(Order.created_at.desc(), Order.id.desc())
        orders = self._session.scalars(newest_first.limit(limit).offset(offset)).all()
        return orders, total

    def change_status(
        self, order: Order, *, expected: OrderStatus, new: OrderStatus, at: datetime
    ) -> bool:
        """Move an order on, unless somebody else did so meanwhile; says whether it moved.

        The condition is part of the UPDATE, so that two requests at once cannot both succeed.
        """
        statement = (
            update(Order)
            .where(Order.id == order.id, Order.status == expected)
            .values({"status": new, _TIMESTAMP_OF[new]: at})
            .returning(Order.id)
            .execution_options(synchronize_session=False)
        )
        moved = self._session.scalar(statement) is not None
        self._session.refresh(order)
        return moved
