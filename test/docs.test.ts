import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Client, Connection } from '@temporalio/client'
import type { Command } from 'commander'
import { pino } from 'pino'
import { expect, inject, test } from 'vitest'
import { createApp } from '../src/api/app.ts'
import { openStoreBook } from '../src/api/media-source.ts'
import { createMetrics } from '../src/api/metrics.ts'
import { openPipeline } from '../src/api/pipeline.ts'
import { createProgram } from '../src/cli/program.ts'
import { openTerminal } from '../src/cli/terminal.ts'
import { loadConfig, settings } from '../src/config.ts'
import type { Setting } from '../src/config.ts'
import { openDatabase } from '../src/db/connect.ts'
import { isErrorCode } from '../src/domain/errors.ts'
import { roles } from '../src/domain/permissions.ts'
import { recordingEdges } from '../src/domain/recording.ts'
import { productSearchAttributes } from '../src/workflows/search-attributes.ts'

const root = new URL('..', import.meta.url).pathname
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`),
]
const read = (page: string) => readFileSync(join(root, page), 'utf8')
/** Lines that a backslash continues are one line. */
const everything = pages
  .map(read)
  .join('\n')
  .replaceAll(/\\\n\s*/g, '')

/** The text below one heading, up to the next of the same or a higher level. */
function section(page: string, heading: string): string {
  const text = read(page)
  const start = text.indexOf(`\n## ${heading}\n`)
  if (start === -1) throw new Error(`${page} has no section "${heading}"`)
  const end = text.indexOf('\n## ', start + 1)
  return text.slice(start, end === -1 ? undefined : end)
}

/** The cells of every table row in a text, without headings and rules. */
function rows(text: string): string[][] {
  const lines = text.split('\n').map((line) =>
    line.startsWith('|')
      ? line
          .slice(1, line.lastIndexOf('|'))
          .split('|')
          .map((cell) => cell.trim())
      : null,
  )
  return lines.filter((cells, index): cells is string[] => {
    const isRule = (row: string[] | null | undefined) => row?.every((cell) => /^:?-+:?$/.test(cell)) === true
    return cells !== null && !isRule(cells) && !isRule(lines[index + 1])
  })
}

const codeSpans = (text: string) => [...text.matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? '')

/** What GitHub makes of a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')
}

/** Links of one page that lead nowhere. */
function brokenLinks(page: string, text: string): string[] {
  const prose = text.replaceAll(/^```[\s\S]*?^```/gm, '')
  const targets = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '')
  return targets.filter((target) => {
    if (target.startsWith('https:')) return false
    const [path = '', anchor] = target.split('#')
    const file = path === '' ? page : join(dirname(page), path)
    if (!existsSync(join(root, file))) return true
    const anchors = [...(file === page ? text : read(file)).matchAll(/^#+ (.*)$/gm)].map((match) =>
      anchorOf(match[1] ?? ''),
    )
    return anchor !== undefined && !anchors.includes(anchor)
  })
}

test.each(pages)('every link inside the project resolves: %s', (page) => {
  expect(brokenLinks(page, read(page))).toEqual([])
})

test('a link that leads nowhere is seen', () => {
  const text =
    '# Here\n[a](missing.md) [b](#there) [c](README.md#start) [d](#here) [e](../README.md)\n```\n[f](no)\n```\n'
  expect(brokenLinks('docs/api.md', text)).toEqual(['missing.md', '#there', 'README.md#start'])
})

test('the table of settings is the list of settings', () => {
  const shown = (setting: Setting) =>
    setting.fallback === null
      ? 'required'
      : setting.fallback === ''
        ? 'none'
        : `\`${setting.fallback.replace(tmpdir(), '<tmp>')}\``
  expect(rows(section('README.md', 'Settings'))).toEqual(
    settings.map((setting) => [`\`${setting.name}\``, setting.meaning, shown(setting)]),
  )
})

const program = createProgram({ env: {}, terminal: openTerminal() })

function leaves(command: Command, path: string): string[] {
  return command.commands.length === 0
    ? [path]
    : command.commands.flatMap((child) => leaves(child, `${path} ${child.name()}`))
}

/** `reelkeep ...` as it is written in prose and examples: null where it fits the program, else what does not. */
function misfit(line: string): string | null {
  const words: readonly string[] = line.match(/"[^"]*"|'[^']*'|\S+/g) ?? []
  let command = program
  for (const word of words) {
    const child = command.commands.find((one) => one.name() === word)
    if (child === undefined) break
    command = child
  }
  if (command === program || command.commands.length > 0) return line
  const given = words.slice(words.indexOf(command.name()) + 1)
  // A bare name only mentions the command.
  return given.length === 0 ? null : misuse(command, given, line)
}

function misuse(command: Command, given: readonly string[], line: string): string | null {
  const find = (word: string) => [...command.options, ...program.options].find((option) => option.long === word)
  const unknown = given.find((word) => word.startsWith('--') && find(word) === undefined)
  if (unknown !== undefined) return `${line}: ${unknown}`
  const missing = command.options.find((option) => option.mandatory && !given.includes(option.long ?? ''))
  if (missing !== undefined) return `${line}: ${missing.long} is missing`
  const isValue = (index: number) => find(given[index - 1] ?? '')?.required === true
  const count = given.filter((word, index) => !word.startsWith('--') && !isValue(index)).length
  const wanted = command.registeredArguments.filter((argument) => argument.required).length
  return count === wanted ? null : `${line}: ${count} arguments, not ${wanted}`
}

test('every command that is written somewhere exists, with its options', () => {
  const inSpans = codeSpans(everything).filter((span) => span.startsWith('reelkeep '))
  const inBlocks = everything
    .split('\n')
    .flatMap(
      (line) => /(?:^|\s)(?:reelkeep|dist\/src\/cli\.js) ([a-z].*)$/.exec(line.replace(/ {2,}\(.*/, ''))?.[1] ?? [],
    )
  const written = [
    ...inSpans.map((span) => span.slice('reelkeep '.length)),
    ...inBlocks.filter((line) => !line.includes('`')),
  ]
  expect(written.length).toBeGreaterThan(20)
  expect(written.map(misfit).filter((problem) => problem !== null)).toEqual([])
  expect(misfit('explode --now')).not.toBeNull()
  expect(misfit('hold ID --cause x')).toBe('hold ID --cause x: --cause')
  expect(misfit('hold ID')).toBe('hold ID: --reason is missing')
  expect(misfit('hold --reason x')).toBe('hold --reason x: 0 arguments, not 1')
})

test('every command is in the README', () => {
  const table = codeSpans(section('README.md', 'Command line'))
  expect(
    leaves(program, 'reelkeep').filter((leaf) => !table.some((span) => span === leaf || span.startsWith(`${leaf} `))),
  ).toEqual([])
})

test('the picture of the life has exactly the edges of the domain', () => {
  const drawn = [...section('README.md', 'The life of a recording').matchAll(/^ {2}(\w+) --> (\w+)/gm)].map(
    (match) => `${match[1]}>${match[2]}`,
  )
  const allowed = Object.entries(recordingEdges).flatMap(([from, tos]) => tos.map((to) => `${from}>${to}`))
  expect(drawn.toSorted()).toEqual(allowed.toSorted())
})

test('every role is explained', () => {
  expect(rows(section('README.md', 'Roles')).map(([role]) => role)).toEqual(roles.map((role) => `\`${role}\``))
})

test('every error code that operators read about exists', () => {
  const tables = [
    section('docs/operations.md', 'Codes and what mends them'),
    section('docs/operations.md', 'Needs attention'),
  ]
  const codes = tables
    .flatMap((text) => codeSpans(text))
    .filter((span) => /^[a-z]+(_[a-z]+)+$/.test(span) && span !== 'give_up')
  expect(codes.length).toBeGreaterThan(20)
  expect(codes.filter((code) => !isErrorCode(code))).toEqual([])
})

test('every path of the API that is written somewhere exists', async () => {
  // Nothing is connected before its first use: the description needs neither server.
  const config = loadConfig({
    DATABASE_URL: 'postgres://127.0.0.1:1/none',
    TEMPORAL_ADDRESS: '127.0.0.1:1',
    SIGNING_KEY_FILE: '-',
  })
  const log = pino({ level: 'silent' })
  const db = openDatabase(config.databaseUrl)
  const pipeline = openPipeline(config.temporal)
  const stores = openStoreBook({ db, resolveSecret: config.resolveSecret, log })
  try {
    const app = createApp({ db, pipeline, stores, config, log, metrics: createMetrics(), signingKeys: [] })
    const described: { paths: Record<string, unknown> } = JSON.parse(await (await app.request('/openapi.json')).text())
    const patterns = Object.keys(described.paths).map(
      (path) => new RegExp(`^${path.replaceAll(/\{\w+\}/g, '([^/]+|hls/[^/]+)')}$`),
    )
    const written = [...everything.matchAll(/\/api\/v1\/[\w/{}$.-]+/g)].map(([path]) =>
      path.replaceAll(/\$ID|\{\w+\}/g, 'x').replace(/\.$/, ''),
    )
    expect(written.length).toBeGreaterThan(10)
    expect(written.filter((path) => !patterns.some((pattern) => pattern.test(path)))).toEqual([])
  } finally {
    await Promise.all([stores.close(), pipeline.close(), db.close()])
  }
})

test('the page on the Temporal UI names the search attributes as they are', () => {
  const shown = rows(section('docs/temporal-ui.md', 'Search attributes')).map(([name = '', type]) => [
    name.slice(1, -1),
    type,
  ])
  expect(Object.fromEntries(shown)).toEqual(productSearchAttributes)
})

test.skipIf(process.env['REELKEEP_TEST_NO_SERVERS'] === '1')(
  'Temporal accepts the query of every saved view',
  async () => {
    const views = rows(section('docs/temporal-ui.md', 'Saved views'))
    expect(views.length).toBeGreaterThan(5)
    const connection = await Connection.connect({ address: inject('temporalAddress') })
    try {
      const { workflow } = new Client({ connection, namespace: inject('temporalNamespace') })
      for (const [name, query = ''] of views) {
        const { count } = await workflow.count(query.slice(1, -1))
        expect(count, name).toBeGreaterThanOrEqual(0)
      }
      await expect(workflow.count('Colour = "red"')).rejects.toThrow()
    } finally {
      await connection.close()
    }
  },
)

test('nothing in the documentation names a machine of ours or a package registry', () => {
  expect(everything.match(/\/root\/|\/home\/|\/work\/|\/tmp\/|npmjs|pypi\.|registry\./gi) ?? []).toEqual([])
})
