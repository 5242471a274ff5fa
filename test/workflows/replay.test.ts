import { readdirSync, readFileSync } from 'node:fs'
import { Worker } from '@temporalio/worker'
import { expect, test } from 'vitest'
import { bundleWorkflows } from '../setup/world.ts'

const folder = new URL('./histories/', import.meta.url)
const histories = readdirSync(folder).filter((name) => name.endsWith('.json'))

test('there are histories of every kind of life', () => {
  for (const kind of ['whole-life', 'unclaimed', 'parked', 'rebuilt', 'called-off', 'remade', 'owed'])
    expect(histories.some((name) => name.startsWith(kind))).toBe(true)
})

test.each(histories)('a life of an earlier version goes on in this one: %s', async (name) => {
  const history: unknown = JSON.parse(readFileSync(new URL(name, folder), 'utf8'))
  await Worker.runReplayHistory({ workflowBundle: await bundleWorkflows() }, history)
})

test('a rest of an earlier version, which went on resting where a run was nearly full, goes on in this one', async () => {
  const text = readFileSync(new URL('unclaimed-v1-end.json', folder), 'utf8')
  const began = /"workflowTaskStartedEventAttributes": \{/g
  expect(text.match(began)?.length).toBeGreaterThan(10)
  const full: unknown = JSON.parse(text.replaceAll(began, '$& "suggestContinueAsNew": true,'))
  await Worker.runReplayHistory({ workflowBundle: await bundleWorkflows() }, full)
})

test('a life that went another way is noticed', async () => {
  const text = readFileSync(new URL(histories[0] ?? '', folder), 'utf8')
  const other: unknown = JSON.parse(text.replaceAll('"loadFacts"', '"loadFiction"'))
  await expect(Worker.runReplayHistory({ workflowBundle: await bundleWorkflows() }, other)).rejects.toThrow(
    /[Nn]ondeterminism/,
  )
})
