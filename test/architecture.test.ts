import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { expect, test } from 'vitest'

const root = new URL('../src/', import.meta.url).pathname
/** Which folders a folder may import from (itself is always allowed). Root files may import anything; nobody imports them. */
const arrows: Record<string, readonly string[]> = {
  domain: [],
  failpoints: [],
  storage: ['domain', 'failpoints'],
  media: ['domain', 'failpoints'],
  db: ['domain', 'failpoints'],
  notify: ['domain', 'failpoints'],
  activities: ['domain', 'storage', 'media', 'db', 'notify', 'failpoints'],
  workflows: ['domain'],
  api: ['domain', 'db', 'storage', 'workflows/messages.ts', 'workflows/names.ts'],
  dev: ['domain', 'db', 'storage', 'media', 'activities', 'workflows/search-attributes.ts', 'workflows/names.ts'],
  cli: ['domain', 'storage', 'media', 'dev', 'db'],
}
/** Types may also come from here. */
const typeArrows: Record<string, readonly string[]> = {
  activities: ['workflows/messages.ts'],
  workflows: ['activities/index.ts'],
  api: ['config.ts', 'log.ts'],
  dev: ['config.ts', 'api'],
  cli: ['api'],
}
/** Root files that set-up code may call. */
const rootFiles: Record<string, readonly string[]> = {
  dev: ['migrate.ts', 'schedules.ts', 'config.ts'],
  cli: ['migrate.ts', 'config.ts', 'schedules.ts'],
}
/** One importer per vendor. */
const vendors: Record<string, readonly RegExp[]> = {
  '@aws-sdk': [/^storage\/s3/],
  'ssh2-sftp-client': [/^storage\/sftp/],
  'fluent-ffmpeg': [/^media\/ffmpeg\.ts$/],
  yauzl: [/^media\/zip-package\.ts$/],
  tar: [/^media\/tar-package\.ts$/],
  nodemailer: [/^notify\/email\.ts$/],
  pg: [/^db\/connect\.ts$/, /^migrate\.ts$/],
  '@temporalio/client': [/^api\/pipeline\.ts$/, /^schedules\.ts$/],
  '@temporalio/worker': [/^worker\.ts$/, /^activities\/failure-interceptor\.ts$/],
  '@temporalio/workflow': [/^workflows\//],
  '@temporalio/activity': [/^activities\//, /^failpoints\//],
}

interface Import {
  readonly file: string
  readonly target: string
  readonly typeOnly: boolean
}

export function importsOf(file: string, text: string): Import[] {
  return [...text.matchAll(/^(?:import|export)\s+(type\s+)?(?:[^'"]*?\sfrom\s+)?['"]([^'"]+)['"]/gm)].map((match) => ({
    file,
    target: match[2]?.startsWith('.') === true ? relative(root, join(root, dirname(file), match[2])) : (match[2] ?? ''),
    typeOnly: match[1] !== undefined,
  }))
}

export function offences(imports: readonly Import[]): string[] {
  return imports.filter(isOffence).map(({ file, target }) => `${file} imports ${target}`)
}

function isOffence({ file, target, typeOnly }: Import): boolean {
  const from = file.includes('/') ? (file.split('/')[0] ?? '') : ''
  const vendor = Object.entries(vendors).find(([name]) => target === name || target.startsWith(`${name}/`))
  if (vendor !== undefined) return !vendor[1].some((pattern) => pattern.test(file))
  if (from === 'domain' && !/\.tsx?$/.test(target)) return true
  if (from === '' || !/\.tsx?$/.test(target) || target.startsWith('..')) return false
  const to = target.includes('/') ? (target.split('/')[0] ?? '') : target
  const allowed = [
    from,
    ...(arrows[from] ?? []),
    ...(rootFiles[from] ?? []),
    ...(typeOnly ? (typeArrows[from] ?? []) : []),
  ]
  return !allowed.includes(to) && !allowed.includes(target)
}

function sources(): Import[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.tsx?$/.test(file))
    .flatMap((file) => importsOf(file, readFileSync(join(root, file), 'utf8')))
}

test('imports follow the arrows, and every vendor has one importer', () => {
  expect(offences(sources())).toEqual([])
})

test('the settings come from config.ts; only the bootstrap looks at the environment itself', () => {
  const readers = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
    (file) => /\.tsx?$/.test(file) && /process\.env/.test(readFileSync(join(root, file), 'utf8')),
  )
  expect(readers.filter((file) => file !== 'config.ts' && !/^(dev|cli)\//.test(file) && file !== 'cli.ts')).toEqual([])
})

test.each([
  ['domain/plan.ts', "import { readFile } from 'node:fs'"],
  ['storage/local.ts', "import { x } from '../db/connect.ts'"],
  ['workflows/recording.ts', "import { createActivities } from '../activities/index.ts'"],
  ['api/app.ts', "import { S3Client } from '@aws-sdk/client-s3'"],
  ['domain/package.ts', "import { Header } from 'tar'"],
  ['media/tar-package.ts', "import { openPromise } from 'yauzl'"],
  ['db/files.ts', "import { loadConfig } from '../config.ts'"],
])('a planted offence is seen: %s', (file, line) => {
  expect(offences(importsOf(file, line))).toHaveLength(1)
})
