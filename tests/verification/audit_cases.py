"""Changes to small services: ones that bring a weakness in, and clean ones that look like them."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """One change; `rule` is what has to be found as an error, "" for a clean one."""

    name: str
    rule: str
    after: Mapping[str, str]
    before: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


def _py(name: str, rule: str, text: str, before: str = "", path: str = "shop/api.py") -> Case:
    return Case(name, rule, {path: text}, {path: before} if before else {})


def _js(name: str, rule: str, text: str, path: str = "src/routes.js") -> Case:
    return Case(name, rule, {path: text})


VULNERABLE = (
    _py("SQL by f-string", "sql-from-text", """
def find(session, name):
    return session.execute(text(f"select * from orders where name = '{name}'"))
"""),
    _py("SQL by a name made before", "sql-from-text", """
def find(cursor, status, city):
    query = "SELECT * FROM orders WHERE status = '%s'" % status
    if city:
        query += " AND city = '" + city + "'"
    cursor.execute(query)
"""),
    _py("SQL by format in Django", "sql-from-text", """
def search(request):
    return Order.objects.raw("SELECT * FROM shop_order WHERE name LIKE '%{}%'".format(request.GET["q"]))
"""),
    _py("sort column from the caller", "sql-from-text", """
@router.get("/orders")
def orders(sort: str, session: Session):
    return session.execute(text("select * from orders order by " + sort)).all()
"""),
    _py("pickle", "unsafe-deserialisation", """
import pickle
@app.post("/restore")
def restore():
    return pickle.loads(request.data)
"""),
    _py("YAML without a safe loader", "unsafe-deserialisation", """
import yaml
def load(text):
    return yaml.load(text, Loader=yaml.Loader)
"""),
    _py("eval of a formula", "code-from-text", """
def total(formula, values):
    return eval(formula, {}, values)
"""),
    _py("a shell command", "command-from-text", """
import subprocess
def thumbnail(name):
    subprocess.run(f"convert {name} small.png", shell=True, check=True)
"""),
    _py("open redirect in Flask", "open-redirect", """
@app.route("/login")
def login():
    target = request.args.get("next", "/")
    return redirect(target)
"""),
    _py("open redirect in FastAPI", "open-redirect", """
@router.get("/out")
def out(url: str):
    return RedirectResponse(url)
"""),
    _py("mass assignment from JSON", "mass-assignment", """
@app.post("/users")
def create():
    user = User(**request.get_json())
    db.session.add(user)
"""),
    _py("mass assignment in a loop", "mass-assignment", """
@router.patch("/users/{user_id}")
def patch(user_id: int, body: dict, session: Session):
    user = session.get(User, user_id)
    for key, value in body.items():
        setattr(user, key, value)
"""),
    _py("all fields of a serializer", "mass-assignment", """
class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = "__all__"
"""),
    _py("a file by its name", "path-traversal", """
@router.get("/files/{name}")
def download(name: str):
    return FileResponse(os.path.join(UPLOADS, name))
"""),
    _py("an upload under its own name", "path-traversal", """
@app.post("/upload")
def upload():
    name = request.form["name"]
    with open(f"{UPLOADS}/{name}", "wb") as file:
        file.write(request.data)
"""),
    _py("a request to any address", "server-side-request", """
@router.post("/hooks/test")
def probe(url: str):
    return httpx.get(url, timeout=5).status_code
"""),
    _py("certificates are not checked", "tls-unverified", """
import requests
def rates():
    return requests.get("https://rates.example.com/v1", verify=False, timeout=5).json()
"""),
    _py("a fast hash of a password", "weak-password-hash", """
import hashlib
def store(user, password):
    user.password_hash = hashlib.sha256(password.encode()).hexdigest()
"""),
    _py("debug mode", "debug-on", """
if __name__ == "__main__":
    app.run(host="127.0.0.1", debug=True)
"""),
    _py("every origin with credentials", "cors-any-origin", """
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True)
"""),
    _py("a token without its signature", "jwt-unverified", """
import jwt
def user_of(token):
    return jwt.decode(token, options={"verify_signature": False})["sub"]
"""),
    _py("a key in the code", "secret-in-code", 'STRIPE_API_KEY = "' + "sk_" + 'live_4eC39HqLyjWDarjtT1zdp7dc"\n'),
    _py("a signing secret in the code", "secret-in-code", 'JWT_SECRET = "q8Zr!2mVx7Lw9Kd4Tn6Yb3Hc"\n'),
    _py("a template from the caller", "template-from-input", """
@app.route("/hello")
def hello():
    return render_template_string("<h1>" + request.args["name"] + "</h1>")
"""),
    Case("a package that nobody asked for", "dependency-without-reason",
         {"pyproject.toml": '[project]\nname = "shop"\ndependencies = ["fastapi", "leftpad-py"]\n'},
         {"pyproject.toml": '[project]\nname = "shop"\ndependencies = ["fastapi"]\n'}),
    _js("SQL by template in Node", "sql-from-text", """
app.get('/orders', async (req, res) => {
  const rows = await pool.query(`SELECT * FROM orders WHERE status = '${req.query.status}'`);
  res.json(rows);
});
"""),
    _js("raw Prisma query", "sql-from-text", """
export async function find(name: string) {
  const sql = "SELECT * FROM users WHERE name = '" + name + "'";
  return prisma.$queryRawUnsafe(sql);
}
""", "src/users.ts"),
    _js("eval in Node", "code-from-text", "export const calc = (expr) => eval(expr);\n"),
    _js("open redirect in Express", "open-redirect", """
router.get('/go', (req, res) => { const { next } = req.query; res.redirect(next); });
"""),
    _js("Object.assign of a body", "mass-assignment", """
router.patch('/users/:id', async (req, res) => {
  const user = await User.findByPk(req.params.id);
  Object.assign(user, req.body);
  await user.save();
});
"""),
    _js("Prisma create of a body", "mass-assignment", """
router.post('/users', async (req, res) => res.json(await prisma.user.create({ data: req.body })));
"""),
    _js("a file by its name in Express", "path-traversal", """
router.get('/files/:name', (req, res) => res.sendFile(path.join(UPLOADS, req.params.name)));
"""),
    _js("a request to any address in Node", "server-side-request", """
router.post('/preview', async (req, res) => { const r = await fetch(req.body.url); res.send(await r.text()); });
"""),
    _js("certificates are not checked in Node", "tls-unverified", "const agent = new https.Agent({ rejectUnauthorized: false });\n"),
    _js("a token that is only decoded", "jwt-unverified", """
const auth = (req, res, next) => { req.user = jwt.decode(req.headers.authorization); next(); };
"""),
    _js("a query from the caller", "query-from-input", """
router.post('/login', async (req, res) => res.json(await User.findOne(req.body)));
"""),
)  # fmt: skip

CLEAN = (
    _py("SQL with parameters", "", """
def find(session, name):
    return session.execute(text("select * from orders where name = :name"), {"name": name})
"""),
    _py("SQL with a constant table", "", """
TABLE = "orders"
def find(cursor, ids):
    marks = ", ".join("?" for _ in ids)
    cursor.execute(f"SELECT * FROM {TABLE} WHERE id IN ({', '.join('?' for _ in ids)})", ids)
"""),
    _py("SQL with a quoted name", "", """
def count(cursor, table):
    cursor.execute(f"SELECT count(*) FROM {quote_identifier(table)}")
"""),
    _py("SQLAlchemy expressions", "", """
def find(session, name, sort):
    columns = {"name": Order.name, "date": Order.created_at}
    return session.execute(select(Order).where(Order.name == name).order_by(columns[sort])).scalars()
"""),
    _py("JSON and a safe loader", "", """
import json, yaml
def load(text):
    return json.loads(text), yaml.safe_load(text), yaml.load(text, Loader=yaml.SafeLoader)
"""),
    _py("a command as a list", "", """
import subprocess
def thumbnail(name):
    subprocess.run(["convert", name, "small.png"], check=True)
"""),
    _py("a redirect within the site", "", """
@router.post("/orders")
def place(body: OrderIn, user: CurrentUser):
    order = orders.place(user, body)
    return RedirectResponse(f"/orders/{order.id}", status_code=303)
"""),
    _py("a redirect that is checked", "", """
def login(request):
    target = request.GET.get("next", "/")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}):
        target = "/"
    return redirect(target)
"""),
    _py("a model with named fields", "", """
class UserIn(BaseModel):
    name: str
    email: str

@router.post("/users")
def create(body: UserIn, session: Session) -> UserOut:
    user = User(**body.model_dump())
    session.add(user)
    return UserOut.model_validate(user)

@router.patch("/users/{user_id}")
def patch(user_id: int, body: UserPatch, session: Session) -> UserOut:
    user = session.get(User, user_id)
    for key, value in body.model_dump(exclude_unset=True).items():
        setattr(user, key, value)
    return UserOut.model_validate(user)
"""),
    _py("a form that is read field by field", "", """
@app.post("/users")
def create():
    data = request.get_json()
    user = User(name=data["name"], email=data["email"])
    db.session.add(user)
    return {"id": user.id}, 201
"""),
    _py("a schema around the body", "", """
@app.post("/users")
def create():
    data = UserSchema().load(request.get_json())
    user = User(**data)
    parsed = UserIn(**request.get_json())
    return {"id": user.id, "name": parsed.name}
"""),
    _py("a loop over allowed fields", "", """
ALLOWED = {"name", "email"}
@app.patch("/users/<int:user_id>")
def patch(user_id):
    user = db.session.get(User, user_id)
    for key, value in request.get_json().items():
        if key in ALLOWED:
            setattr(user, key, value)
    return {"id": user.id}
"""),
    _py("a serializer with named fields", "", """
class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ["id", "name"]
        read_only_fields = ["id"]
"""),
    _py("a file with a secured name", "", """
@app.get("/files/<name>")
def download(name):
    return send_file(os.path.join(UPLOADS, secure_filename(name)))

@router.get("/invoices/{number}")
def invoice(number: int):
    return FileResponse(INVOICES / f"{number}.pdf")
"""),
    _py("a request to a fixed host", "", """
@router.get("/rates/{currency}")
def rate(currency: str):
    return httpx.get(f"https://rates.example.com/v1/{currency}", timeout=5).json()

@router.get("/stock/{sku}")
def stock(sku: str):
    return httpx.get(f"{settings.stock_url}/items/{sku}", timeout=5).json()
"""),
    _py("hashes that are no passwords", "", """
import hashlib
def etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
def hash_password(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
"""),
    _py("a verified token and named origins", "", """
import jwt
def user_of(token, key):
    return jwt.decode(token, key, algorithms=["HS256"])["sub"]
app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example.com"], allow_credentials=True)
"""),
    _py("secrets from the environment", "", """
import os
JWT_SECRET = os.environ["JWT_SECRET"]
PASSWORD_FIELD = "password_confirmation"
TOKEN_URL = "https://auth.example.com/token"
API_KEY_HEADER = "X-Api-Key"
password_error = "The password is wrong or has expired."
secret_name = "projects/shop/secrets/stripe"
"""),
    _py("an old weakness elsewhere in the file", "", """
def find(session, name):
    return session.execute(text(f"select * from customers where name = '{name}'"))

def count(session):
    return session.execute(text("select count(*) from orders")).scalar_one()
""", """
def find(session, name):
    return session.execute(text(f"select * from customers where name = '{name}'"))
"""),
    Case("a package with a reason", "",
         {"pyproject.toml": '[project]\nname = "shop"\ndependencies = ["fastapi", "Phone_Numbers[lite]>=8"]\n'},
         {"pyproject.toml": '[project]\nname = "shop"\ndependencies = ["fastapi"]\n'},
         {"phone-numbers": "numbers of customers are checked"}),
    _py("a test with a made-up password", "", """
def test_login(client):
    done = client.post("/login", json={"password": "correct horse battery staple"})
    assert done.status_code == 200
""", path="tests/test_login.py"),
    _js("SQL with parameters in Node", "", """
app.get('/orders', async (req, res) => {
  const rows = await pool.query('SELECT * FROM orders WHERE status = $1', [req.query.status]);
  const more = await sql`SELECT * FROM orders WHERE id = ${req.params.id}`;
  const all = await prisma.$queryRaw`SELECT * FROM users WHERE name = ${req.query.name}`;
  logger.query(`orders of ${req.query.status}`);
  res.json([rows, more, all]);
});
"""),
    _js("named fields in Node", "", """
router.post('/users', async (req, res) => {
  const { name, email } = req.body;
  const parsed = schema.parse(req.body);
  const user = await prisma.user.create({ data: { name, email } });
  await User.create(parsed);
  await User.findOne({ where: { email: String(req.body.email) } });
  res.status(201).json(user);
});
"""),
    _js("files and redirects that are fixed in Node", "", """
router.get('/files/:name', (req, res) => res.sendFile(path.join(UPLOADS, path.basename(req.params.name))));
router.get('/avatars/:name', (req, res) => res.sendFile(req.params.name, { root: AVATARS }));
router.post('/orders', async (req, res) => { const order = await place(req.body); res.redirect(303, `/orders/${order.id}`); });
router.get('/rates/:code', async (req, res) => res.json(await (await fetch(`https://rates.example.com/${req.params.code}`)).json()));
"""),
    _js("a verified token in Node", "", """
const auth = (req, res, next) => {
  const payload = jwt.verify(req.headers.authorization, process.env.JWT_SECRET, { algorithms: ['HS256'] });
  req.user = payload; next();
};
app.use(cors({ origin: ['https://shop.example.com'], credentials: true }));
const digest = crypto.createHash('sha256').update(body).digest('hex');
"""),
    _js("a NestJS controller with a DTO", "", """
@Controller('users')
export class UsersController {
  @Post()
  create(@Body() dto: CreateUserDto) { return this.users.create(dto); }
  @Get(':id')
  one(@Param('id', ParseIntPipe) id: number) { return this.repo.query('SELECT 1 WHERE id = $1', [id]); }
}
""", "src/users.controller.ts"),
)  # fmt: skip
