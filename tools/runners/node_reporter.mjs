// Runs in the box as a data: URL that `node --test` loads: one JSON line a case, in the process that starts the test files.
import path from 'node:path'

export default async function * (source) {
  const suites = []
  for await (const { type, data } of source) {
    if (type === 'test:start') {
      suites.length = data.nesting
      suites.push(data.name)
    }
    if (type !== 'test:pass' && type !== 'test:fail') continue
    const error = data.details?.error
    // What fails only because of something inside it would count twice; a suite is no test.
    if (error?.failureType === 'subtestsFailed') continue
    if (type === 'test:pass' && data.details?.type === 'suite') continue
    // Node 20 reports what a name pattern left out.
    if (data.skip === 'test name does not match pattern') continue
    const file = data.file ? path.relative(process.cwd(), data.file) : ''
    const names = [...suites.slice(0, data.nesting), data.name]
    const whole = names.length === 1 && path.resolve(names[0]) === data.file
    const skipped = data.skip !== undefined || data.todo !== undefined
    yield JSON.stringify({
      id: (whole ? [file] : [file, ...names]).filter(Boolean).join('::'),
      outcome: skipped ? 'skipped' : type === 'test:pass' ? 'passed' : 'failed',
      seconds: (data.details?.duration_ms ?? 0) / 1000,
      message: error ? String(error.cause?.stack ?? error.cause ?? error.message).slice(0, 4000) : ''
    }) + '\n'
  }
  yield JSON.stringify({ end: true }) + '\n'
}
