"""/v1/orders."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from shop.api.deps import CurrentAccount, OrderServiceDep
from shop.api.errors import error_responses
from shop.models import OrderStatus
from shop.schemas.orders import OrderIn, OrderOut, OrderPage
from shop.services.orders import Item

router = APIRouter(prefix="/v1/orders", tags=["orders"], responses=error_responses(401, 422))

# Larger numbers do not fit the column, and the database driver would raise on some.
OrderId = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.post("", status_code=201, responses=error_responses(403))
def place_order(body: OrderIn, account: CurrentAccount, orders: OrderServiceDep) -> OrderOut:
    """Customers: place an order."""
    items = [Item(sku=line.sku, quantity=line.quantity) for line in body.lines]
    return OrderOut.model_validate(orders.place(account, items))


@router.get("")
def list_orders(
    account: CurrentAccount,
    orders: OrderServiceDep,
    status: OrderStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> OrderPage:
    """Customers: their own orders. Staff: all orders. Newest first."""
    page, total = orders.list(account, status=status, limit=limit, offset=offset)
    items = [OrderOut.model_validate(order) for order in page]
    return OrderPage(items=items, total=total, limit=limit, offset=offset)


@router.get("/{order_id}", responses=error_responses(404))
def get_order(order_id: OrderId, account: CurrentAccount, orders: OrderServiceDep) -> OrderOut:
    """One order with its lines."""
    return OrderOut.model_validate(orders.get(account, order_id))


@router.post("/{order_id}/pay", responses=error_responses(403, 404, 409))
def pay_order(order_id: OrderId, account: CurrentAccount, orders: OrderServiceDep) -> OrderOut:
    """Customers: pay a pending order."""
    return OrderOut.model_validate(orders.pay(account, order_id))


@router.post("/{order_id}/cancel", responses=error_responses(403, 404, 409))
def cancel_order(order_id: OrderId, account: CurrentAccount, orders: OrderServiceDep) -> OrderOut:
    """Customers: cancel a pending order."""
    return OrderOut.model_validate(orders.cancel(account, order_id))


@router.post("/{order_id}/ship", responses=error_responses(403, 404, 409))
def ship_order(order_id: OrderId, account: CurrentAccount, orders: OrderServiceDep) -> OrderOut:
    """Staff: mark a paid order as shipped."""
    return OrderOut.model_validate(orders.ship(account, order_id))
