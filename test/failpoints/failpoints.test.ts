import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { failpoints } from '../../src/failpoints/names.ts'

const root = new URL('../../', import.meta.url).pathname

function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(ending))
    .map((file) => join(folder, file))
}

const called = filesBelow('src', '.ts').flatMap((file) =>
  [...readFileSync(join(root, file), 'utf8').matchAll(/^ *await failpoint\('([^']+)'/gm)].map(
    (match) => match[1] ?? '',
  ),
)

test('the list names every failpoint of the code, and each stands in one place', () => {
  expect(called.toSorted()).toEqual(Object.keys(failpoints).toSorted())
  expect(called.length).toBeGreaterThanOrEqual(60)
})

test('nothing of them is in what is shipped', { timeout: 240_000 }, () => {
  const built = spawnSync(process.execPath, ['scripts/run.mjs', 'build'], { cwd: root, encoding: 'utf8' })
  expect(built.stderr + built.stdout).not.toContain('failed')
  expect(built.status).toBe(0)
  expect(existsSync(join(root, 'dist/src/failpoints'))).toBe(false)
  const files = filesBelow('dist/src', '.js')
  expect(files.length).toBeGreaterThan(100)
  expect(files.filter((file) => /failpoint/.test(readFileSync(join(root, file), 'utf8')))).toEqual([])
})
