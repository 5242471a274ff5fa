import { execFileSync } from 'node:child_process'
import { mkdirSync, statSync } from 'node:fs'
import { serve } from '@hono/node-server'
import { chromium } from 'playwright-core'
import { inject, test } from 'vitest'
import { openStore } from '../../src/storage/open.ts'
import { addHold, addProblem, addQuarantined, addRecorder, addRecording, openSample } from './sample.ts'

test('shots', { timeout: 120_000 }, async () => {
  const dir = '/tmp/console-shots/store'
  mkdirSync(dir, { recursive: true })
  const ff = inject('ffmpegPath')
  execFileSync(ff, [
    '-y',
    '-loglevel',
    'error',
    '-f',
    'lavfi',
    '-i',
    'testsrc2=size=640x360:rate=10:duration=3',
    '-pix_fmt',
    'yuv420p',
    '-c:v',
    'libx264',
    `${dir}/720p.mp4`,
  ])
  execFileSync(ff, ['-y', '-loglevel', 'error', '-i', `${dir}/720p.mp4`, '-frames:v', '1', `${dir}/poster.jpg`])
  const store = openStore(`file://${dir}`, () => '')
  const sample = await openSample({
    async openCopy(accountId, recordingId, fileId) {
      const name = await sample.db.asAccount(
        accountId,
        async (tx) =>
          (await tx.selectFrom('files').select('name').where('id', '=', fileId).executeTakeFirstOrThrow()).name,
      )
      const key = name === 'poster.jpg' ? name : '720p.mp4'
      const info = await store.stat(key)
      return info === null ? null : { store, key, info }
    },
    close: async () => undefined,
  })
  const a = sample.account
  const { olga, max } = a.people
  const day = 86_400_000
  const enc = await addRecording(sample.db, a, {
    title: 'Human Anatomy II: the shoulder joint',
    state: 'encoding',
    ownerId: olga,
    progressPercent: 42,
    waitingFor: 'The encode is running on a worker',
    nextStep: 'the result is checked and archived',
    acceptedAgoMs: 300_000,
  })
  const claim = await addRecording(sample.db, a, {
    title: 'lecture-hall-1_2026-11-20_0815',
    state: 'awaiting_claim',
    waitingFor: 'Somebody has to claim it',
    nextStep: 'administrators are told',
    nextInMs: 13 * day,
    acceptedAgoMs: 3_600_000,
    path: 'lecture-hall-1/2026-11-20/lecture-hall-1_2026-11-20_0815.mp4',
  })
  const studio = await sample.db.asAccount(a.id, (tx) => addRecorder(tx, a.inboxId, 'Studio A', 'manager', max))
  await addRecording(sample.db, a, {
    title: '<script>alert(1)</script> Ünïcode & "quotes"',
    state: 'awaiting_claim',
    recorderId: studio,
    waitingFor: 'Its manager has to claim or assign it',
    nextStep: 'a reminder is sent',
    nextInMs: 3 * day,
    media: {
      container: 'matroska,webm',
      durationMs: 65_000,
      sizeBytes: 1,
      video: {
        codec: 'vp9',
        profile: null,
        level: null,
        pixelFormat: 'yuv420p',
        widthPx: 640,
        heightPx: 480,
        framesPerSecond: 25,
        interlaced: false,
        hdr: false,
        rotationDegrees: 0,
      },
      audio: null,
      streamCount: 1,
      title: null,
      notes: [],
    },
  })
  const kept = await addRecording(sample.db, a, {
    ownerId: olga,
    acceptedAgoMs: 40 * day,
    waitingFor: 'The end of its retention',
    nextStep: 'the owner is reminded',
    nextInMs: 660 * day,
    clockOffsetMs: 365 * day,
  })
  await addHold(sample.db, a, kept)
  const disp = await addRecording(sample.db, a, {
    title: 'Inaugural speech 2024',
    state: 'disposition_requested',
    ownerId: olga,
    requestedBy: max,
    acceptedAgoMs: 731 * day,
    waitingFor: 'Another person has to approve its deletion',
    nextStep: 'the request is repeated',
    nextInMs: 14 * day,
  })
  const bad = await addRecording(sample.db, a, {
    title: 'Thermodynamics, lecture 11',
    state: 'archiving',
    ownerId: olga,
    waitingFor: 'A person has to decide',
    nextStep: 'it is tried again',
    nextInMs: 25 * 60_000,
  })
  await addProblem(sample.db, a, bad, ['retry', 'skip', 'give_up'])
  const purged = await addRecording(sample.db, a, {
    title: 'Old colloquium',
    state: 'purged',
    requestedBy: olga,
    ownerId: olga,
    acceptedAgoMs: 900 * day,
    waitingFor: 'Nothing: its life is over',
    nextStep: '',
  })
  await addQuarantined(sample.db, a, 'lecture-hall-1/2026-11-21/upload that was cut off.mp4')
  for (const name of ['poster.jpg', '720p.mp4', 'original.mp4'])
    await sample.db.asAccount(a.id, (tx) =>
      tx
        .updateTable('recordings')
        .set({})
        .where('id', '=', kept)
        .returning('id')
        .execute()
        .catch(() => []),
    )
  const { Client } = await import('pg')
  const client = new Client(sample.fresh.adminUrl)
  await client.connect()
  for (const name of ['poster.jpg', '720p.mp4'])
    await client.query('update files set size_bytes = $1 where name = $2', [statSync(`${dir}/${name}`).size, name])
  await client.query(
    "insert into files (account_id, recording_id, kind, name, key, content_type, size_bytes, sha256) values ($1, $2, 'original', 'original.mp4', 'x', 'video/mp4', $3, 'x')",
    [a.id, claim, statSync(`${dir}/720p.mp4`).size],
  )
  await client.end()
  const server = serve({ fetch: sample.app.fetch, port: 0, hostname: '127.0.0.1' })
  await new Promise((resolve) => setTimeout(resolve, 200))
  const base = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  const browser = await chromium.launch({
    executablePath: inject('chromiumPath'),
    args: ['--no-sandbox', '--headless', '--disable-gpu', '--disable-background-networking'],
  })
  const pages = {
    list: '/',
    kept: `/recordings/${kept}?done=hold`,
    disp: `/recordings/${disp}`,
    bad: `/recordings/${bad}`,
    enc: `/recordings/${enc}`,
    purged: `/recordings/${purged}`,
    claims: '/claims',
    attention: '/attention',
    deposits: '/deposits',
    recorders: '/recorders',
    missing: '/recordings/nothing',
  }
  for (const [width, scheme] of [
    [1280, 'light'],
    [360, 'dark'],
  ] as const) {
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme })
    const page = await context.newPage()
    page.on('console', (message) => console.log(width, page.url(), message.text()))
    page.on('pageerror', (error) => console.log('PAGEERROR', error.message))
    await page.goto(`${base}/claims`)
    await page.screenshot({ path: `/tmp/console-shots/${width}-signin.png` })
    await page.fill('[name=key]', a.adaKey)
    await page.click('main button')
    console.log('after sign in', page.url())
    for (const [name, path] of Object.entries(pages)) {
      await page.goto(base + path, { waitUntil: 'load' })
      await page.waitForTimeout(name === 'list' ? 3600 : 500)
      const overflow = await page.evaluate(() => (globalThis as any).document.documentElement.scrollWidth)
      if (overflow > width) console.log('OVERFLOW', name, width, overflow)
      await page.screenshot({ path: `/tmp/console-shots/${width}-${name}.png`, fullPage: true })
    }
    await page.goto(`${base}/recordings/${disp}`)
    for (const summary of await page.locator('summary').all()) await summary.click()
    await page.screenshot({ path: `/tmp/console-shots/${width}-open.png`, fullPage: true })
    await context.close()
  }
  await browser.close()
  server.close()
  await sample.close()
})
