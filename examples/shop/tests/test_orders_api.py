from typing import Any

import pytest
from fastapi.testclient import TestClient

from shop.models import Account
from tests.support import Login

LINES = [{"sku": "MUG-BLUE", "quantity": 2}]


def place(client: TestClient) -> dict[str, Any]:
    response = client.post("/v1/orders", json={"lines": LINES})
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


def test_an_order_from_placing_to_shipping(login: Login, ada: Account, staff: Account) -> None:
    customer, clerk = login(ada), login(staff)
    order = place(customer)
    assert order["status"] == "pending"
    assert (order["total_cents"], order["currency"]) == (2_980, "EUR")
    assert order["lines"] == [{"sku": "MUG-BLUE", "quantity": 2, "unit_price_cents": 1_490}]

    paid = customer.post(f"/v1/orders/{order['id']}/pay")
    assert (paid.status_code, paid.json()["status"]) == (200, "paid")
    shipped = clerk.post(f"/v1/orders/{order['id']}/ship")
    assert (shipped.status_code, shipped.json()["status"]) == (200, "shipped")
    assert customer.get(f"/v1/orders/{order['id']}").json() == shipped.json()


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [{"sku": "MUG-BLUE", "quantity": 0}],
        [{"sku": "MUG-BLUE", "quantity": 1}, {"sku": "MUG-BLUE", "quantity": 2}],
        [{"sku": "MUG-BLUE", "quantity": 1, "unit_price_cents": 1}],
        [{"sku": "NO-SUCH-THING", "quantity": 1}],
    ],
    ids=["no lines", "no quantity", "sku twice", "own price", "unknown sku"],
)
def test_place_validates(login: Login, ada: Account, lines: list[dict[str, Any]]) -> None:
    client = login(ada)
    response = client.post("/v1/orders", json={"lines": lines})
    assert response.status_code == 422
    assert set(response.json()["error"]) == {"code", "message"}
    assert client.get("/v1/orders").json()["total"] == 0


def test_customers_list_their_own_orders_and_staff_all(
    login: Login, ada: Account, ben: Account, staff: Account
) -> None:
    first, second = place(login(ada)), place(login(ben))
    assert [order["id"] for order in login(ada).get("/v1/orders").json()["items"]] == [first["id"]]
    everything = login(staff).get("/v1/orders").json()
    assert [order["id"] for order in everything["items"]] == [second["id"], first["id"]]


def test_list_pages_newest_first(login: Login, ada: Account) -> None:
    client = login(ada)
    ids = [place(client)["id"] for _ in range(5)]
    page = client.get("/v1/orders", params={"limit": 2, "offset": 2}).json()
    assert [order["id"] for order in page["items"]] == [ids[2], ids[1]]
    assert (page["total"], page["limit"], page["offset"]) == (5, 2, 2)


def test_list_filters_by_status(login: Login, ada: Account) -> None:
    client = login(ada)
    paid, _pending = place(client), place(client)
    client.post(f"/v1/orders/{paid['id']}/pay")
    page = client.get("/v1/orders", params={"status": "paid"}).json()
    assert [order["id"] for order in page["items"]] == [paid["id"]]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "offset=-1", "status=lost"])
def test_list_validates(login: Login, ada: Account, query: str) -> None:
    response = login(ada).get(f"/v1/orders?{query}")
    assert response.status_code == 422
    assert query.partition("=")[0] in response.json()["error"]["message"]


def test_another_customers_order_is_not_found(login: Login, ada: Account, ben: Account) -> None:
    order = place(login(ada))
    other = login(ben)
    theirs = other.get(f"/v1/orders/{order['id']}")
    missing = other.get("/v1/orders/999")
    assert theirs.status_code == missing.status_code == 404
    assert theirs.json()["error"]["code"] == missing.json()["error"]["code"] == "order_not_found"
    assert other.post(f"/v1/orders/{order['id']}/pay").status_code == 404


def test_only_staff_ship(login: Login, ada: Account) -> None:
    client = login(ada)
    response = client.post(f"/v1/orders/{place(client)['id']}/ship")
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "staff_only"


def test_staff_do_not_order(login: Login, staff: Account) -> None:
    response = login(staff).post("/v1/orders", json={"lines": LINES})
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "customers_only"


def test_wrong_status_is_a_conflict(login: Login, ada: Account, staff: Account) -> None:
    client = login(ada)
    order = place(client)
    unpaid = login(staff).post(f"/v1/orders/{order['id']}/ship")
    assert unpaid.status_code == 409
    client.post(f"/v1/orders/{order['id']}/cancel")
    cancelled = client.post(f"/v1/orders/{order['id']}/pay")
    assert cancelled.status_code == 409
    assert cancelled.json()["error"]["code"] == "wrong_order_status"
    assert "is cancelled" in cancelled.json()["error"]["message"]
