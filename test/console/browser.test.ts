import { once } from 'node:events'
import { serve } from '@hono/node-server'
import { chromium } from 'playwright-core'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { addProblem, addRecording, openSample } from './sample.ts'
import type { Sample } from './sample.ts'

let sample: Sample
let server: ReturnType<typeof serve>
let browser: Browser
let base: string

beforeAll(async () => {
  sample = await openSample()
  server = serve({ fetch: sample.app.fetch, port: 0, hostname: '127.0.0.1' })
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  base = `http://127.0.0.1:${address.port}`
  browser = await chromium.launch({
    executablePath: inject('chromiumPath'),
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  })
})
afterAll(async () => {
  await browser.close()
  server.close()
  await sample.close()
})

/** A signed-in page that fails the test where the browser complains (a blocked script, style or image among others). */
async function withPage(path: string, options: BrowserContextOptions, work: (page: Page) => Promise<void>) {
  const context = await browser.newContext(options)
  const complaints: string[] = []
  try {
    const page = await context.newPage()
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
    page.on('pageerror', (error) => complaints.push(error.message))
    await page.goto(`${base}${path}`)
    // Typed without a click: the field has the focus. A busy machine gives it a moment later.
    await page.locator('input[name=key]:focus').waitFor()
    await page.keyboard.type(sample.account.adaKey)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${base}${path}`)
    await work(page)
    expect(complaints).toEqual([])
  } finally {
    await context.close()
  }
}

test('signed in by keyboard, a list follows what happens without being reloaded', async () => {
  const id = await addRecording(sample.db, sample.account, {
    state: 'encoding',
    progressPercent: 10,
    title: 'Live one',
  })
  await withPage('/', {}, async (page) => {
    expect(await page.locator('progress').getAttribute('value')).toBe('10')
    await page.evaluate('window.sameDocument = true')
    await sample.db.asAccount(sample.account.id, (tx) =>
      tx.updateTable('recordings').set({ progress_percent: 73 }).where('id', '=', id).execute(),
    )
    await page.locator('progress[value="73"]').waitFor({ timeout: 10_000 })
    expect(await page.evaluate('window.sameDocument')).toBe(true)
  })
})

test('typed words survive while the recording goes on, and a double click counts once', async () => {
  const id = await addRecording(sample.db, sample.account, { state: 'encoding', progressPercent: 1 })
  await withPage(`/recordings/${id}`, {}, async (page) => {
    await page.getByText('Place a hold…').click()
    const form = page.getByRole('form', { name: 'Place a hold' })
    await form.getByLabel('Reason').fill('Appeal')
    await sample.db.asAccount(sample.account.id, (tx) =>
      tx.updateTable('recordings').set({ progress_percent: 2 }).where('id', '=', id).execute(),
    )
    await page.locator('progress[value="2"]').waitFor({ timeout: 10_000 })
    expect(await form.getByLabel('Reason').inputValue()).toBe('Appeal')
    await form.getByRole('button').dblclick()
    await page.getByText('The hold stands').waitFor()
    const given = sample.asked.commands.filter((command) => command.recordingId === id)
    expect(given.length).toBeGreaterThan(0)
    expect(new Set(given.map(({ request }) => request.requestId)).size).toBe(1)
    expect(given.at(0)?.request.command).toEqual({ kind: 'hold', reason: 'Appeal' })
  })
})

test('everything works without JavaScript, and fits a phone', async () => {
  const id = await addRecording(sample.db, sample.account, { state: 'awaiting_claim', title: 'x'.repeat(120) })
  await addProblem(sample.db, sample.account, id, ['retry'])
  const phone = { viewport: { width: 360, height: 740 }, javaScriptEnabled: false }
  await withPage('/claims', phone, async (page) => {
    for (const path of ['/', `/recordings/${id}`, '/attention', '/deposits', '/recorders', '/claims']) {
      await page.goto(`${base}${path}`)
      const right = await page.locator('main').evaluate((main) => main.ownerDocument.documentElement.scrollWidth)
      expect(right, path).toBeLessThanOrEqual(360)
    }
    const card = page.locator(`#claim-${id}`)
    await card.getByLabel('Title').first().fill('Named on the phone')
    await card.getByRole('button', { name: 'Claim', exact: true }).click()
    await page.getByText('Claimed: it is yours now.').waitFor()
    expect(sample.asked.commands.at(-1)?.request.command).toEqual({ kind: 'claim', title: 'Named on the phone' })
  })
})
