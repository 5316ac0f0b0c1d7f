"""The same few tests for each runner, and what they come to: one good, one bad, one left out, one file that cannot be read."""

PACKAGE = '{{"name": "shop", "scripts": {{"test": "{}"}}}}\n'
_BODY = """
describe('cart', () => {
  test('adds', () => { expect(1 + 1).toBe(2) })
  test('sums (all of it)', () => { expect(1 + 1).toBe(3) })
  test.skip('later', () => {})
  test.todo('discounts')
  test.each([1, 2])('each %i', (n) => { expect(n).toBeGreaterThan(0) })
})
test('alone', () => {})
"""
_BAD = "throw new Error('cannot be loaded')\n"
FILES: dict[str, dict[str, str]] = {
    "node": {
        "package.json": PACKAGE.format("node --test"),
        "cart.test.js": """
const test = require('node:test')
const assert = require('node:assert')
test.describe('cart', () => {
  test('adds', () => { assert.equal(1 + 1, 2) })
  test('sums (all of it)', () => { assert.equal(1 + 1, 3) })
  test.skip('later', () => {})
  test.todo('discounts')
})
test('parent', async (t) => { await t.test('child', () => {}) })
""",
        "bad.test.js": _BAD,
    },
    "jest": {
        "package.json": PACKAGE.format("NODE_ENV=test jest --watchAll"),
        "cart.test.js": _BODY,
        "bad.test.js": _BAD,
    },
    "vitest": {
        "package.json": PACKAGE.format("node -e 0 && npx vitest"),
        "cart.test.mjs": "import { describe, test, expect } from 'vitest'" + _BODY,
        "bad.test.mjs": _BAD,
    },
    "mocha": {
        "package.json": PACKAGE.format("mocha"),
        "test/cart.js": """
const assert = require('node:assert')
describe('cart', () => {
  it('adds', () => { assert.equal(1 + 1, 2) })
  it('sums (all of it)', () => { assert.equal(1 + 1, 3) })
  it.skip('later', () => {})
  it('discounts')
  describe('hooks', () => { before(() => { throw new Error('no shop') }); it('never', () => {}) })
})
it('alone', () => {})
""",
    },
    "go": {
        "go.mod": "module example.com/shop\n\ngo 1.19\n",
        "cart/cart_test.go": """package cart

import "testing"

func TestAdds(t *testing.T) { t.Run("two", func(t *testing.T) {}); t.Run("many", func(t *testing.T) {}) }
func TestSums(t *testing.T) { t.Error("wrong sum") }
func TestLater(t *testing.T) { t.Skip("later") }
""",
        "root_test.go": 'package shop\n\nimport "testing"\n\nfunc TestRoot(t *testing.T) {}\n',
        "broken/broken_test.go": 'package broken\n\nimport "testing"\n\nfunc TestBroken(t *testing.T) { nowhere() }\n',
    },
}
_CART = {"adds": "passed", "sums (all of it)": "failed", "later": "skipped", "discounts": "skipped"}
_EACH = {"each 1": "passed", "each 2": "passed"}
OUTCOMES: dict[str, dict[str, str]] = {
    "node": {
        "bad.test.js": "failed",
        **{f"cart.test.js::cart::{name}": outcome for name, outcome in _CART.items()},
        "cart.test.js::parent::child": "passed",
        "cart.test.js::parent": "passed",
    },
    "jest": {
        "bad.test.js": "error",
        **{f"cart.test.js::cart::{name}": outcome for name, outcome in {**_CART, **_EACH}.items()},
        "cart.test.js::alone": "passed",
    },
    "vitest": {
        "bad.test.mjs": "error",
        **{f"cart.test.mjs::cart::{name}": outcome for name, outcome in {**_CART, **_EACH}.items()},
        "cart.test.mjs::alone": "passed",
    },
    "mocha": {
        **{f"test/cart.js::cart {name}": outcome for name, outcome in _CART.items()},
        'test/cart.js::cart hooks "before all" hook for "never"': "failed",
        "test/cart.js::alone": "passed",
    },
    "go": {
        "broken": "error",
        "cart::TestAdds": "passed",
        "cart::TestAdds/two": "passed",
        "cart::TestAdds/many": "passed",
        "cart::TestSums": "failed",
        "cart::TestLater": "skipped",
        ".::TestRoot": "passed",
    },
}
#: How the ids end of a test that passes alone and of one that fails alone.
SINGLE = {name: ("adds", "sums (all of it)") for name in ("node", "jest", "vitest", "mocha")} | {
    "go": ("TestRoot", "TestSums")
}
TESTS = {name: [path for path in files if "test" in path] for name, files in FILES.items()}
PROGRAM = {"go": "go"}
