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
_JAVA = """
package com.shop;
import static org.junit.jupiter.api.Assertions.*;
import org.junit.jupiter.api.*;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
class CartTest {
  @Test void adds() { System.out.println("<?xml version='1.0'?>"); assertEquals(2, 1 + 1); }
  @Test void sums() { assertEquals(3, 1 + 1); }
  @Test void breaks() { throw new IllegalStateException("no shop"); }
  @Test @Disabled("later") void later() { }
  @ParameterizedTest @ValueSource(ints = {1, 2}) void each(int n) { assertTrue(n > 0); }
  @Nested class Inner { @Test void deep() { } }
}
"""
#: With the versions that Debian 12 packages: it is the one Maven repository that can be had without Maven's own.
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>com.shop</groupId><artifactId>shop</artifactId><version>1</version>
  <properties><maven.compiler.release>17</maven.compiler.release></properties>
  <dependencies><dependency>
    <groupId>org.junit.jupiter</groupId><artifactId>junit-jupiter</artifactId><version>debian</version><scope>test</scope>
  </dependency></dependencies>
  <build><plugins>
    <plugin><artifactId>maven-surefire-plugin</artifactId><version>2.22.3</version></plugin>
    <plugin><artifactId>maven-compiler-plugin</artifactId><version>3.10.1</version></plugin>
    <plugin><artifactId>maven-resources-plugin</artifactId><version>3.3.0</version></plugin>
  </plugins></build>
</project>
"""
FILES["maven"] = {"pom.xml": _POM, "src/test/java/com/shop/CartTest.java": _JAVA}
FILES["gradle"] = {
    "build.gradle": """
apply plugin: 'java'
repositories { maven { url '/usr/share/maven-repo' } }
dependencies { testCompile 'junit:junit:4.x' }
""",
    "settings.gradle": "rootProject.name = 'shop'\n",
    "src/test/java/com/shop/CartTest.java": """
package com.shop;
import static org.junit.Assert.*;
import org.junit.*;
public class CartTest {
  @Test public void adds() { assertEquals(2, 1 + 1); }
  @Test public void sums() { assertEquals(3, 1 + 1); }
  @Test @Ignore("later") public void later() { }
}
""",
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
_CLASS = "src/test/java/com/shop/CartTest.java"
OUTCOMES["maven"] = {
    f"{_CLASS}::adds": "passed",
    f"{_CLASS}::sums": "failed",
    f"{_CLASS}::breaks": "error",
    f"{_CLASS}::later": "skipped",
    f"{_CLASS}::each{{int}}[1]": "passed",
    f"{_CLASS}::each{{int}}[2]": "passed",
    f"{_CLASS}::Inner::deep": "passed",
}
OUTCOMES["gradle"] = {f"{_CLASS}::adds": "passed", f"{_CLASS}::sums": "failed", f"{_CLASS}::later": "skipped"}
#: How the ids end of a test that passes alone and of one that fails alone.
SINGLE = {name: ("adds", "sums (all of it)") for name in ("node", "jest", "vitest", "mocha")} | {
    "go": ("TestRoot", "TestSums"),
    "maven": ("adds", "sums"),
    "gradle": ("adds", "sums"),
}
TESTS = {name: [path for path in files if "test" in path] for name, files in FILES.items()}
PROGRAM = {"go": "go", "maven": "mvn", "gradle": "gradle"}
