"""Small Flask projects with Flask-Migrate of the shapes that real ones have, written into a folder for tests."""

import shutil
from pathlib import Path
from textwrap import dedent

import flask_migrate

FACTORY = """
import os
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

db, migrate = SQLAlchemy(), Migrate()

def create_app(config="shop.config.Config"):
    app = Flask(__name__)
    app.config.from_object(config)
    db.init_app(app)
    migrate.init_app(app, db)
    from shop.orders import orders
    app.register_blueprint(orders)
    print("the application says things")
    return app
"""
ORDERS = """
from flask import Blueprint
from shop import db

orders = Blueprint("orders", __name__)

class User(db.Model):
    __tablename__ = "users"
    id = db.Column(db.Integer, primary_key=True)
    email = db.Column(db.String(120), nullable=False, unique=True)

@orders.route("/users")
def users():
    return {"users": [user.email for user in db.session.execute(db.select(User)).scalars()]}
"""
LITERAL = """
class Config:
    SECRET_KEY = "dev"
    SQLALCHEMY_DATABASE_URI = "sqlite:///{live}"
    SQLALCHEMY_BINDS = {{"reports": "sqlite:///{live}"}}
    SQLALCHEMY_ENGINE_OPTIONS = {{"connect_args": {{"no_such_argument": 1}}}}

class TestConfig(Config):
    SQLALCHEMY_DATABASE_URI = "postgresql://localhost/test"
"""
FROM_ENV = """
import os

class Config:
    SECRET_KEY = os.environ["SHOP_SECRET_KEY"]
    SQLALCHEMY_DATABASE_URI = os.environ["SHOP_DATABASE"].replace("postgres://", "postgresql://")
"""
USERS = """
def upgrade():
    op.create_table("users", sa.Column("id", sa.Integer, primary_key=True), sa.Column("email", sa.String(120), nullable=False))

def downgrade():
    op.drop_table("users")
"""
PHONE = """
def upgrade():
    op.add_column("users", sa.Column("phone", sa.String(30)))

def downgrade():
    op.drop_column("users", "phone")
"""


def write(root: Path, files: dict[str, str]) -> Path:
    """Writes these files below a folder."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(dedent(text).lstrip("\n"))
    return root


def revision(name: str, after: str | None, body: str) -> str:
    """A revision file."""
    return f'import sqlalchemy as sa\nfrom alembic import op\nrevision = "{name}"\ndown_revision = {after!r}\n{body}'


def project(root: Path, files: dict[str, str] | None = None, *, base: str = "", template: str = "flask") -> Path:
    """An application factory with a blueprint, and what `flask db init` writes: f001 and, new, f002."""
    start = f"{base}/" if base else ""
    made = Path(flask_migrate.__file__).parent / "templates" / template
    shutil.copytree(made, root / base / "migrations")
    (root / base / "migrations/alembic.ini.mako").rename(root / base / "migrations/alembic.ini")
    plain = {
        "shop/__init__.py": FACTORY,
        "shop/orders.py": ORDERS,
        "shop/config.py": LITERAL.format(live=root / base / "live.db"),
        "migrations/versions/f001_users.py": revision("f001", None, USERS),
        "migrations/versions/f002_phone.py": revision("f002", "f001", PHONE),
    }
    return write(root, {f"{start}{path}": text for path, text in {**plain, **(files or {})}.items()})
