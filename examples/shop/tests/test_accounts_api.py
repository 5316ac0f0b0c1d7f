import pytest
from fastapi.testclient import TestClient

from shop.models import Account
from tests.support import PASSWORD, Login


def test_register_log_in_and_log_out(client: TestClient) -> None:
    body = {"email": " New@Example.com ", "name": "New", "password": PASSWORD}
    registered = client.post("/v1/accounts", json=body)
    assert registered.status_code == 201
    assert registered.json()["email"] == "new@example.com"
    assert registered.json()["role"] == "customer"
    assert "password" not in registered.text

    logged_in = client.post("/v1/sessions", json={"email": body["email"], "password": PASSWORD})
    assert logged_in.status_code == 201
    headers = {"Authorization": f"Bearer {logged_in.json()['token']}"}
    assert client.get("/v1/accounts/me", headers=headers).json() == registered.json()

    assert client.delete("/v1/sessions/current", headers=headers).status_code == 204
    assert client.get("/v1/accounts/me", headers=headers).status_code == 401


def test_register_twice_is_a_conflict(client: TestClient, ada: Account) -> None:
    body = {"email": ada.email, "name": "Other", "password": PASSWORD}
    response = client.post("/v1/accounts", json=body)
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "email_taken"


@pytest.mark.parametrize(
    "change",
    [{"email": "no-at-sign"}, {"name": "  "}, {"password": "short"}, {"role": "staff"}],
    ids=lambda change: next(iter(change)),
)
def test_register_validates(client: TestClient, change: dict[str, str]) -> None:
    body = {"email": "new@example.com", "name": "New", "password": PASSWORD} | change
    response = client.post("/v1/accounts", json=body)
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "invalid_request"
    assert f"body.{next(iter(change))}" in response.json()["error"]["message"]


def test_wrong_password(client: TestClient, ada: Account) -> None:
    response = client.post("/v1/sessions", json={"email": ada.email, "password": "a wrong one"})
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "wrong_credentials"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_token"),
        ({"Authorization": "Basic YWRhOmFkYQ=="}, "missing_token"),
        ({"Authorization": "Bearer made-up"}, "invalid_token"),
    ],
)
def test_token_is_required(client: TestClient, headers: dict[str, str], code: str) -> None:
    response = client.get("/v1/orders", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == code


def test_me(login: Login, staff: Account) -> None:
    body = login(staff).get("/v1/accounts/me").json()
    assert (body["id"], body["role"]) == (staff.id, "staff")


def test_unknown_path_has_the_same_error_shape(client: TestClient) -> None:
    response = client.get("/v1/nothing")
    assert response.status_code == 404
    assert response.json() == {"error": {"code": "not_found", "message": "Not Found"}}
