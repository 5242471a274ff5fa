import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { expect, test } from 'vitest'

const home = new URL('.', import.meta.url).pathname
/** What reads a database, a bucket and Temporal; none of it is the product's. */
const drivers = ['pg', '@aws-sdk/client-s3', '@temporalio/client']

/** Everything a file pulls in by any kind of import that leads out of the oracle. */
export function strangers(file: string, text: string): string[] {
  const targets = [
    ...text.matchAll(/\b(?:from|import|require|import\.meta\.resolve)\s*\(?\s*['"`]([^'"`]+)['"`]/g),
    ...text.matchAll(/\bnew URL\(\s*['"`]([^'"`]+)['"`]/g),
  ].map((match) => match[1] ?? '')
  return targets.filter((target) => {
    if (target.startsWith('.')) return relative(home, join(home, dirname(file), target)).startsWith('..')
    return !drivers.includes(target) && !(target.startsWith('node:') && builtinModules.includes(target.slice(5)))
  })
}

/** Tests, and the world they break, may also know the test servers. */
function isJudging(file: string): boolean {
  return file.endsWith('.ts') && !file.endsWith('.test.ts') && file !== 'sane-world.ts'
}

test('the oracle shares no code with what it judges', () => {
  const files = readdirSync(home, { recursive: true, encoding: 'utf8' }).filter(isJudging)
  expect(files).toContain('promises/01-uploads.ts')
  const found = files.flatMap((file) =>
    strangers(file, readFileSync(join(home, file), 'utf8')).map((target) => `${file} imports ${target}`),
  )
  expect(found).toEqual([])
  expect(readFileSync(join(home, 'sane-world.ts'), 'utf8')).not.toContain('/src/')
})

test.each([
  ['judge.ts', "import { planText } from '../../src/domain/plan.ts'"],
  ['judge.ts', "import type { Schema } from '../../src/db/schema.ts'"],
  ['promises/01-uploads.ts', "export { sameFile } from '../../../src/domain/ingest.ts'"],
  ['promises/01-uploads.ts', "const { sameFile } = await import('../../../src/domain/ingest.ts')"],
  ['places.ts', "import '../setup/world.ts'"],
  ['places.ts', "const url = new URL('../../dist/src/storage/local.js', import.meta.url)"],
  ['database.ts', "import { sql } from 'kysely'"],
])('a planted import is seen: %s, %s', (file, line) => {
  expect(strangers(file, line)).toHaveLength(1)
})
