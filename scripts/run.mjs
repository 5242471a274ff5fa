// Behind `npm start`, `npm test`, `npm run bench` and `.ci/run`: makes everything ready, then becomes the program asked for.
import { become, becomeTypeScript, checkNode, ensureBuilt, ensurePackages, fail } from './bootstrap.mjs'

const [task, ...args] = process.argv.slice(2)

checkNode()
ensurePackages({ development: task !== 'up' })

switch (task) {
  case 'packages':
    break
  case 'build':
    ensureBuilt()
    break
  case 'up':
    ensureBuilt()
    await become('dist/src/cli.js', ['up', ...args])
    break
  case 'test':
    await become('node_modules/vitest/vitest.mjs', ['run', ...args])
    break
  case 'chaos':
    await becomeTypeScript('test/chaos/main.ts', args)
    break
  case 'bench':
    ensureBuilt()
    await become('dist/bench/main.js', args)
    break
  default:
    fail('Usage: node scripts/run.mjs up|test|chaos|bench|build|packages [arguments]', 2)
}
