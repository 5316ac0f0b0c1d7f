// Runs in the box, in the repository's own Node, as the text of `node -e`: loads the application as its start script does,
// up to the point where it would listen, and writes down what it serves. TypeScript is turned into JavaScript file by file
// with the repository's own compiler. Needs no network, and imports nothing of this program.
'use strict'
const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')
const Module = require('node:module')

const given = JSON.parse(fs.readFileSync(process.argv[1], 'utf8'))
const root = process.cwd()
const faults = []
let done = false

function write(found) {
  if (done) return
  done = true
  fs.writeFileSync(given.out, JSON.stringify({ faults, ...found }))
  process.exit(0)
}

function fail(error) {
  const said = String((error && error.message) || error)
  faults.push({ where: given.entry, said, trace: String((error && error.stack) || said) })
  write({})
}

function installed(name) {
  return require(require.resolve(name, { paths: [root] }))
}

function typescript() {
  let compiler
  try {
    compiler = installed('typescript')
  } catch {
    return
  }
  const place = compiler.findConfigFile(root, compiler.sys.fileExists)
  const config = place ? compiler.readConfigFile(place, compiler.sys.readFile).config || {} : {}
  const written = compiler.convertCompilerOptionsFromJson(config.compilerOptions || {}, root).options
  const compilerOptions = {
    ...written,
    module: compiler.ModuleKind.CommonJS,
    moduleResolution: compiler.ModuleResolutionKind.Node10,
    esModuleInterop: written.esModuleInterop ?? false,
    experimentalDecorators: true,
    emitDecoratorMetadata: true,
    declaration: false,
    sourceMap: false,
    inlineSourceMap: true,
    noEmit: false,
  }
  for (const suffix of ['.ts', '.tsx', '.mts', '.cts']) {
    require.extensions[suffix] = (module, file) => {
      const text = fs.readFileSync(file, 'utf8')
      module._compile(compiler.transpileModule(text, { compilerOptions, fileName: file }).outputText, file)
    }
  }
  const usual = Module._resolveFilename
  const base = written.baseUrl || root
  Module._resolveFilename = function (request, ...rest) {
    try {
      return usual.call(this, request, ...rest)
    } catch (error) {
      for (const place of aliased(request, written.paths || {}, base)) {
        try {
          return usual.call(this, place, ...rest)
        } catch {
          continue
        }
      }
      // With ECMAScript modules the source names the file that the compiler would write.
      if (/^\.{1,2}\/.*\.js$/.test(request)) return usual.call(this, request.replace(/\.js$/, '.ts'), ...rest)
      throw error
    }
  }
}

function* aliased(request, paths, base) {
  for (const [pattern, places] of Object.entries(paths)) {
    const [head, tail] = pattern.split('*')
    if (tail === undefined ? request !== pattern : !(request.startsWith(head) && request.endsWith(tail))) continue
    const middle = request.slice(head.length, request.length - (tail || '').length)
    for (const one of places) yield path.resolve(base, one.replace('*', middle))
  }
  if (!request.startsWith('.') && !path.isAbsolute(request)) yield path.resolve(base, request)
}

// ---- NestJS: its own generator ----

function nest() {
  const { NestApplication } = installed('@nestjs/core')
  const { DocumentBuilder, SwaggerModule } = installed('@nestjs/swagger')
  const usual = SwaggerModule.createDocument
  // What the decorators call bearer and basic is only said in a configuration: the application's, where it makes one.
  let config = new DocumentBuilder().addBearerAuth().addBasicAuth().build()
  SwaggerModule.createDocument = function (app, its, ...rest) {
    config = its
    return usual.call(this, app, its, ...rest)
  }
  NestApplication.prototype.listen = async function () {
    try {
      await this.init()
      write({ framework: 'NestJS', document: usual.call(SwaggerModule, this, config) })
    } catch (error) {
      fail(error)
    }
    return new Promise(() => {})
  }
}

// ---- Express: the routes of its routers ----

const METHODS = ['get', 'put', 'post', 'delete', 'patch']
const mounted = new WeakMap()
let latest = null

function express() {
  const library = installed('express')
  const router = library.Router
  // The prototype of routers: a function in Express 4, a class in Express 5.
  const owner = Object.prototype.hasOwnProperty.call(router, 'use') ? router : router.prototype || router
  const usual = owner.use
  owner.use = function (first, ...rest) {
    const before = this.stack.length
    const made = usual.call(this, first, ...rest)
    const places = typeof first === 'function' ? ['/'] : [].concat(first).filter((one) => typeof one === 'string')
    for (const layer of this.stack.slice(before)) mounted.set(layer, places)
    return made
  }
  const use = library.application.use
  library.application.use = function (...rest) {
    latest = latest || this
    return use.apply(this, rest)
  }
  library.application.listen = function () {
    write({ framework: 'Express', routes: routesOf(this) })
  }
  http.Server.prototype.listen = function () {
    const [app] = this.listeners('request')
    write({ framework: 'Express', routes: routesOf(app) })
    return this
  }
}

function routesOf(app) {
  const found = []
  walk(stackOf(app), '', found)
  return found
}

function stackOf(app) {
  const router = app && (app._router || (app.lazyrouter ? null : app.router) || app)
  return (router && router.stack) || []
}

function walk(stack, prefix, found) {
  for (const layer of stack) {
    if (layer.route) {
      const methods = layer.route.methods || {}
      for (const place of [].concat(layer.route.path)) {
        for (const method of METHODS.every((one) => methods[one]) ? ['any'] : Object.keys(methods)) {
          found.push({ method: method.toUpperCase(), path: joined(prefix, template(String(place))) })
        }
      }
    } else if (layer.handle) {
      for (const place of mounted.get(layer) || ['/']) walk(stackOf(layer.handle), joined(prefix, template(place)), found)
    }
  }
}

function template(place) {
  return place.replace(/:(\w+)(\([^)]*\))?\??/g, '{$1}')
}

function joined(prefix, place) {
  return `${prefix}/${place}`.replace(/\/+/g, '/').replace(/(.)\/$/, '$1')
}

// ---- as the start script does ----

process.on('uncaughtException', fail)
process.on('unhandledRejection', fail)
try {
  typescript()
  if (given.framework === 'NestJS') nest()
  else express()
  const main = path.resolve(root, given.entry)
  process.argv = [process.argv[0], main]
  const module = require(main)
  if (given.framework === 'Express') {
    const app = [module, module && module.app, module && module.default, latest].find(
      (one) => typeof one === 'function' && stackOf(one).length,
    )
    // What listens later (after a connection was made) is waited for as long as the box allows.
    if (app) write({ framework: 'Express', routes: routesOf(app) })
  }
} catch (error) {
  fail(error)
}
