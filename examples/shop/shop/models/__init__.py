"""Tables. Import all of them here, so that `Base.metadata` is complete."""

from shop.models.account import Account, Role
from shop.models.base import Base
from shop.models.order import Order, OrderLine, OrderStatus
from shop.models.session import LoginSession

__all__ = ["Account", "Base", "LoginSession", "Order", "OrderLine", "OrderStatus", "Role"]
