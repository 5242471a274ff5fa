import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { safeReturn } from '../../src/api/console/links.ts'
import { addAccount, addHold, addProblem, addQuarantined, addRecorder, addRecording, openSample } from './sample.ts'
import type { Sample, SampleAccount } from './sample.ts'

type Who = keyof SampleAccount['cookies']
const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(2)> & ünïcode`

let sample: Sample

beforeAll(async () => {
  sample = await openSample()
})
afterAll(() => sample.close())
beforeEach(() => {
  sample.asked.commands.length = 0
  sample.asked.jumps.length = 0
})

async function get(path: string, who: Who | null = 'ada', headers: Record<string, string> = {}) {
  const cookie = who === null ? {} : { Cookie: sample.account.cookies[who] }
  const response = await sample.app.request(path, { headers: { ...cookie, ...headers } })
  const html = await response.text()
  if (html !== '' && (response.headers.get('Content-Type') ?? '').startsWith('text/html')) expectCleanHtml(html)
  return { status: response.status, html, headers: response.headers }
}

async function post(
  path: string,
  fields: Record<string, string>,
  who: Who | null = 'ada',
  headers: Record<string, string> = {},
) {
  const response = await sample.app.request(path, {
    method: 'POST',
    headers: {
      ...(who === null ? {} : { Cookie: sample.account.cookies[who] }),
      'Content-Type': 'application/x-www-form-urlencoded',
      'Sec-Fetch-Site': 'same-origin',
      ...headers,
    },
    body: new URLSearchParams({ requestId: randomUUID(), ...fields }).toString(),
  })
  return { status: response.status, html: await response.text(), headers: response.headers }
}

/** The first group of a pattern that must be there, as a browser reads it. */
function find(html: string, pattern: RegExp): string {
  const found = pattern.exec(html)?.[1]
  if (found === undefined) throw new Error(`${pattern} is not in the page`)
  return found.replaceAll('&amp;', '&')
}

function cut(html: string, from: string, to: string): string {
  const start = html.indexOf(from)
  if (start < 0) throw new Error(`${from} is not in the page`)
  return html.slice(start, html.indexOf(to, start))
}

/** What the policy `default-src 'self'` would block must not be in any page. */
function expectCleanHtml(html: string) {
  const tags = html.match(/<[a-z][^>]*>/gi) ?? []
  for (const tag of tags) {
    const names = tag.replaceAll(/"[^"]*"/g, '""')
    expect(names, tag).not.toMatch(/\sstyle\s*=/i)
    expect(names, tag).not.toMatch(/\son[a-z]+\s*=/i)
    expect(names, tag).not.toMatch(/\shx-on|javascript:/i)
    if (/^<script/i.test(tag)) expect(tag).toMatch(/\ssrc="\/assets\//)
    expect(tag).not.toMatch(/^<style/i)
  }
  expect(html).toMatch(/<script src="\/assets\/htmx\.min\.js" defer=""><\/script>|http-equiv="refresh"/)
}

describe('signing in', () => {
  test('everybody else is sent to sign in, and comes back to the page they asked for', async () => {
    const answer = await get('/recordings/x?a=1', null)
    expect(answer.status).toBe(303)
    expect(answer.headers.get('Location')).toBe(`/sign-in?next=${encodeURIComponent('/recordings/x?a=1')}`)
    const form = await get('/sign-in?next=/claims', null)
    expect(form.html).toContain('autofocus')
    expect(form.html).toContain('name="next" value="/claims"')
    const done = await post('/sign-in', { key: sample.account.adaKey, next: '/claims' }, null)
    expect(done.status).toBe(303)
    expect(done.headers.get('Location')).toBe('/claims')
    expect(done.headers.get('Set-Cookie')).toMatch(/HttpOnly.*SameSite=Strict/)
  })

  test('a wrong key is told in words, and starts no session', async () => {
    const answer = await post('/sign-in', { key: 'rk_wrong' }, null)
    expect(answer.status).toBe(401)
    expect(answer.html).toContain('not known')
    expect(answer.headers.get('Set-Cookie')).toBeNull()
  })

  test('a key in an address is not taken', async () => {
    const answer = await get(`/sign-in?key=${sample.account.adaKey}`, null)
    expect(answer.headers.get('Set-Cookie')).toBeNull()
    expect(answer.html).not.toContain(sample.account.adaKey)
  })

  test('a form of another site changes nothing', async () => {
    const id = await addRecording(sample.db, sample.account, { state: 'awaiting_claim' })
    const answer = await post(`/recordings/${id}/commands`, { kind: 'claim' }, 'ada', {
      'Sec-Fetch-Site': 'cross-site',
    })
    expect(answer.status).toBe(403)
    expect(answer.html).toContain('another site')
    expect(sample.asked.commands).toEqual([])
    expect(
      (await post('/sign-in', { key: sample.account.adaKey }, null, { 'Sec-Fetch-Site': 'cross-site' })).status,
    ).toBe(403)
    expect((await post('/sign-out', {}, 'ada', { 'Sec-Fetch-Site': 'cross-site' })).status).toBe(403)
  })

  test('a link in a mail, which comes without the strict cookie, is asked for once more', async () => {
    const answer = await get('/claims', null, { 'Sec-Fetch-Site': 'cross-site' })
    expect(answer.status).toBe(200)
    expect(answer.html).toContain('content="0;url=/claims"')
    expect((await get('/claims', null, { 'Sec-Fetch-Site': 'same-origin' })).status).toBe(303)
  })

  test('signing out ends the session', async () => {
    const other = await addAccount(sample.db, `Leavers ${randomUUID()}`)
    const headers = { Cookie: other.cookies.olga }
    expect((await sample.app.request('/', { headers })).status).toBe(200)
    await sample.app.request('/sign-out', { method: 'POST', headers: { ...headers, 'Sec-Fetch-Site': 'same-origin' } })
    expect((await sample.app.request('/', { headers })).status).toBe(303)
  })

  test.each([
    ['/claims?a=1#x', '/claims?a=1#x'],
    ['//evil.example', '/'],
    ['/\\evil.example', '/'],
    ['https://evil.example', '/'],
    ['javascript:alert(1)', '/'],
    ['/\t/evil.example', '/'],
    ['/%0a/evil', '/%0a/evil'],
    ['/.//evil.example', '/'],
    ['/sign-out', '/'],
    ['', '/'],
    [undefined, '/'],
  ])('after signing in, %s leads to %s', (asked, goes) => {
    expect(safeReturn(asked)).toBe(goes)
  })
})

describe('recordings', () => {
  test('a row says state, progress, and what happens next, when, and why', async () => {
    const id = await addRecording(sample.db, sample.account, {
      title: 'Row with everything',
      state: 'encoding',
      ownerId: sample.account.people.olga,
      progressPercent: 42,
      waitingFor: 'The encode is running',
      nextStep: 'it is archived',
      nextInMs: 2 * 3_600_000 + 5000,
    })
    const { html, headers } = await get('/?text=Row+with')
    expect(html).toContain(`href="/recordings/${id}"`)
    expect(html).toContain('Olga Owner')
    expect(html).toContain('Encoding')
    expect(html).toMatch(/<progress value="42" max="100"/)
    expect(html).toContain('The encode is running')
    expect(html).toContain('it is archived')
    expect(html).toMatch(/<time datetime="\d{4}-\d\d-\d\dT[^"]+Z">\d{1,2} [A-Z][a-z]{2} \d{4}, \d\d:\d\d UTC<\/time>/)
    expect(html).toContain('(in 2 h)')
    expect(headers.get('Content-Security-Policy')).toContain("default-src 'self'")
    expect(headers.get('Cache-Control')).toBe('no-store')
  })

  test('a hostile title is text wherever it stands', async () => {
    const id = await addRecording(sample.db, sample.account, { title: hostile, state: 'awaiting_claim' })
    await addProblem(sample.db, sample.account, id, ['retry'])
    for (const path of ['/?text=%3Cscript', `/recordings/${id}`, '/claims', '/attention']) {
      const { html } = await get(path)
      expect(html, path).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
      expect(html, path).not.toContain('<script>alert')
      expect(html, path).not.toContain('<img src=x')
    }
    const search = await get(`/?text=${encodeURIComponent('"><script>alert(3)</script>')}`)
    expect(search.html).not.toContain('<script>alert(3)')
  })

  test('pages follow each other without gap or repetition', async () => {
    const account = await addAccount(sample.db, `Pages ${randomUUID()}`)
    for (let n = 0; n < 27; n++) await addRecording(sample.db, account, { state: 'accepted', acceptedAgoMs: n * 1000 })
    const titles = async (path: string) => {
      const response = await sample.app.request(path, { headers: { Cookie: account.cookies.ada } })
      const html = await response.text()
      return { ids: [...html.matchAll(/id="recording-([0-9a-f-]+)"/g)].map((match) => match[1]), html }
    }
    const first = await titles('/?state=accepted')
    const older = find(first.html, /href="(\/\?[^"]*before=[^"]+)"/)
    const second = await titles(older)
    expect(first.ids.length + second.ids.length).toBe(27)
    expect(new Set([...first.ids, ...second.ids]).size).toBe(27)
    expect(second.html).not.toContain('before=eyJ0IjowfQ')
    expect((await sample.app.request('/?before=nonsense', { headers: { Cookie: account.cookies.ada } })).status).toBe(
      400,
    )
  })

  test('a part that shows everything already gets an empty answer; after a change, itself and only itself', async () => {
    const { html } = await get('/')
    const url = find(html, /hx-get="([^"]+part=recordings[^"]+)"/)
    const asPart = { 'HX-Request': 'true' }
    expect((await get(url, 'ada', asPart)).status).toBe(204)
    await addRecording(sample.db, sample.account, { title: 'Just arrived', state: 'accepted', acceptedAgoMs: 0 })
    const response = await sample.app.request(url, { headers: { Cookie: sample.account.cookies.ada, ...asPart } })
    const part = await response.text()
    expect(part).toMatch(/^<div id="recordings"/)
    expect(part).toContain('Just arrived')
    expect(part).not.toContain('<html')
  })

  test('a refreshing part whose session is over sends the browser to sign in', async () => {
    const answer = await get('/?part=recordings&seen=x', null, { 'HX-Request': 'true' })
    expect(answer.status).toBe(204)
    expect(answer.headers.get('HX-Redirect')).toBe('/sign-in')
  })
})

describe('one recording', () => {
  test('shows player, plan with reasons, copies per site, files and timeline', async () => {
    const id = await addRecording(sample.db, sample.account, { ownerId: sample.account.people.olga })
    const { html } = await get(`/recordings/${id}`)
    expect(html).toContain(`<source src="/api/v1/recordings/${id}/media/720p.mp4" type="video/mp4"/>`)
    expect(html).toContain(`poster="/api/v1/recordings/${id}/media/poster.jpg"`)
    expect(html).toContain('hls/master.m3u8')
    expect(html).toContain('Recordings are kept for two years (rule default, 2 y)')
    expect(html).toContain('second-site')
    expect(html).toContain('riverside')
    expect(html).toContain('8 verified')
    expect(html).toContain('1 piece of the stream')
    expect(html).toContain('Accepted')
  })

  test('says of every copy when it was last checked, and of what is not good since when and why', async () => {
    const id = await addRecording(sample.db, sample.account, { ownerId: sample.account.people.olga })
    expect(cut((await get(`/recordings/${id}`)).html, 'id="copies-title"', '</section>')).toContain('not yet')
    const since = new Date('2026-03-01T10:00:00Z')
    const mark = (storeId: string, change: { check_result: 'ok' | 'failed' | 'could_not_run'; check_note?: string }) =>
      sample.db.asAccount(sample.account.id, (tx) =>
        tx
          .updateTable('copies')
          .set({ checked_at: new Date(), check_since: since, ...change })
          .where('recording_id', '=', id)
          .where('store_id', '=', storeId)
          .execute(),
      )
    await mark(sample.account.primaryId, { check_result: 'ok' })
    await mark(sample.account.backupId, { check_result: 'could_not_run', check_note: '<b>away</b>' })
    const html = cut((await get(`/recordings/${id}`)).html, 'id="copies-title"', '</section>')
    expect(html).toContain('Good, ')
    expect(html).toContain('Could not run, ')
    expect(html).toContain('1 Mar 2026, 10:00 UTC')
    expect(html).toContain('&lt;b&gt;away&lt;/b&gt;')
    expect(html).toContain('8 could not be checked')
  })

  test('another account, no id and no such recording look the same', async () => {
    const other = await addAccount(sample.db, `Strangers ${randomUUID()}`)
    const theirs = await addRecording(sample.db, other, { title: 'Not yours' })
    const answers = [
      await get(`/recordings/${theirs}`),
      await get(`/recordings/${randomUUID()}`),
      await get('/recordings/nothing'),
    ]
    for (const answer of answers) {
      expect(answer.status).toBe(404)
      expect(answer.html).toContain('There is nothing here')
      expect(answer.html).not.toContain('Not yours')
    }
    expect((await get('/')).html).not.toContain('Not yours')
    expect((await post(`/recordings/${theirs}/commands`, { kind: 'claim' })).status).toBe(404)
    expect(
      (await post(`/recordings/${theirs}/describe`, { was: '', title: 'x', description: '', tags: '' })).status,
    ).toBe(404)
    expect((await post(`/recordings/${theirs}/fast-forward`, { days: '7' })).status).toBe(404)
    expect(sample.asked).toEqual({ commands: [], checks: [], jumps: [] })
  })

  test('buttons follow role and state, and what is not possible says why', async () => {
    const id = await addRecording(sample.db, sample.account, {
      state: 'disposition_requested',
      requestedBy: sample.account.people.max,
    })
    const asOther = await get(`/recordings/${id}`, 'ada')
    expect(asOther.html).toMatch(/<input type="hidden" name="planHash" value="[0-9a-f]{64}"/)
    expect(asOther.html).toContain('<button class="danger">Approve deletion</button>')
    const asRequester = await get(`/recordings/${id}`, 'max')
    expect(asRequester.html).toMatch(
      /<button disabled="" title="You requested this deletion; another person has to approve it\.">/,
    )
    const asViewer = await get(`/recordings/${id}`, 'vera')
    expect(asViewer.html).not.toContain('name="kind"')
    expect(asViewer.html).toContain('This key may only read')
  })

  test('a hold is shown with its reason, and who may releases it', async () => {
    const id = await addRecording(sample.db, sample.account)
    await addHold(sample.db, sample.account, id)
    expect((await get(`/recordings/${id}`, 'ada')).html).toContain('Release the hold')
    const asOwner = (await get(`/recordings/${id}`, 'olga')).html
    expect(asOwner).toContain('Appeal 2026/17')
    expect(asOwner).not.toContain('value="release"')
  })

  test('a form becomes the command, with the id it was rendered with', async () => {
    const id = await addRecording(sample.db, sample.account, { state: 'awaiting_claim' })
    const requestId = randomUUID()
    const answer = await post(`/recordings/${id}/commands`, { kind: 'claim', title: 'Mine now', requestId }, 'olga')
    expect(answer.status).toBe(303)
    expect(answer.headers.get('Location')).toBe(`/recordings/${id}?done=claim`)
    expect(sample.asked.commands).toHaveLength(1)
    expect(sample.asked.commands.at(0)?.recordingId).toBe(id)
    expect(sample.asked.commands.at(0)?.request).toMatchObject({
      command: { kind: 'claim', title: 'Mine now' },
      requestId: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    await post(`/recordings/${id}/commands`, { kind: 'claim', title: 'Mine now', requestId }, 'olga')
    await post(`/recordings/${id}/commands`, { kind: 'claim', title: 'Mine now', requestId }, 'ada')
    const [first, again, others] = sample.asked.commands.map(({ request }) => request.requestId)
    expect(again).toBe(first)
    expect(others, 'the same form id of another person').not.toBe(first)
    expect((await get(`/recordings/${id}?done=claim`)).html).toContain('role="status"')
    expect((await get(`/recordings/${id}?done=<b>`)).html).not.toContain('role="status"')
  })

  test('an extension by date travels in milliseconds', async () => {
    const id = await addRecording(sample.db, sample.account, { ownerId: sample.account.people.olga })
    await post(`/recordings/${id}/commands`, { kind: 'extend', until: '2031-01-31', reason: 'Exam' }, 'olga')
    expect(sample.asked.commands.at(0)?.request.command).toEqual({
      kind: 'extend',
      untilMs: Date.UTC(2031, 0, 31),
      reason: 'Exam',
    })
  })

  test('a refused command and a form with holes are pages in words, and give no command', async () => {
    const id = await addRecording(sample.db, sample.account)
    const early = await post(`/recordings/${id}/commands`, { kind: 'requestDeletion', reason: 'space' }, 'ada')
    expect(early.status).toBe(409)
    expect(early.html).toContain('Retention ends on')
    expectCleanHtml(early.html)
    const noReason = await post(`/recordings/${id}/commands`, { kind: 'hold', reason: '' }, 'ada')
    expect(noReason.status).toBe(400)
    expect(noReason.html).toContain('reason')
    expect(
      (await post(`/recordings/${id}/commands`, { kind: 'hold', reason: 'x', requestId: 'y' }, 'ada')).status,
    ).toBe(400)
    expect((await post(`/recordings/${id}/commands`, { kind: 'explode' }, 'ada')).status).toBe(400)
    expect((await post(`/recordings/${id}/commands`, { kind: 'hold', reason: 'x' }, 'vera')).status).toBe(403)
    expect(sample.asked.commands).toEqual([])
  })

  test('a command leads back only to pages of this console', async () => {
    const id = await addRecording(sample.db, sample.account, { state: 'awaiting_claim' })
    const answer = await post(`/recordings/${id}/commands`, { kind: 'claim', back: '/.//evil.example/' })
    expect(answer.headers.get('Location')).toBe('/?done=claim')
  })

  test('title, description and tags are edited; an edit over somebody else’s is refused', async () => {
    const id = await addRecording(sample.db, sample.account, { ownerId: sample.account.people.olga })
    const was = find((await get(`/recordings/${id}`, 'olga')).html, /name="was" value="([^"]+)"/)
    const change = { was, title: 'Better title', description: 'Two\nlines', tags: 'topology, winter 2026, topology' }
    expect((await post(`/recordings/${id}/describe`, change, 'olga')).headers.get('Location')).toBe(
      `/recordings/${id}?done=describe`,
    )
    const { html } = await get(`/recordings/${id}`, 'olga')
    expect(html).toContain('<h1>Better title</h1>')
    expect(html).toContain('topology, winter 2026')
    expect((await post(`/recordings/${id}/describe`, change, 'olga')).status).toBe(303)
    const stale = await post(`/recordings/${id}/describe`, { ...change, title: 'Other' }, 'olga')
    expect(stale.status).toBe(412)
    expect((await post(`/recordings/${id}/describe`, change, 'max')).status).toBe(403)
    expect((await get(`/recordings/${id}`, 'max')).html).not.toContain('name="was"')
  })

  test('its moved clock is shown, and only administrators move it', async () => {
    const id = await addRecording(sample.db, sample.account, { clockOffsetMs: 365 * 86_400_000 })
    const { html } = await get(`/recordings/${id}`)
    expect(html).toContain('clock is 1 y ahead')
    expect(html).toContain('+1 year')
    expect((await get(`/recordings/${id}`, 'olga')).html).not.toContain('+1 year')
    expect((await post(`/recordings/${id}/fast-forward`, { days: '365' }, 'olga')).status).toBe(403)
    expect((await post(`/recordings/${id}/fast-forward`, { days: '365' })).status).toBe(303)
    expect(sample.asked.jumps).toEqual([{ recordingId: id, durationMs: 365 * 86_400_000 }])
  })

  test('once purged, the certificate is linked, nothing is played, and nothing asks for changes', async () => {
    const id = await addRecording(sample.db, sample.account, {
      state: 'purged',
      requestedBy: sample.account.people.olga,
    })
    const { html } = await get(`/recordings/${id}`)
    expect(html).toContain(`/api/v1/recordings/${id}/certificate`)
    expect(html).not.toContain('<video')
    expect(html).not.toContain('hx-get')
    expect(html).toContain('8 deleted')
  })

  test('nothing is played or handed out of the trash', async () => {
    const id = await addRecording(sample.db, sample.account, {
      state: 'trashed',
      requestedBy: sample.account.people.olga,
    })
    const { html } = await get(`/recordings/${id}`)
    expect(html).toContain('It is in the trash')
    expect(html).not.toContain('/media/')
    expect(html).not.toContain('/files/')
    expect(html).toContain('Undo deletion</button>')
    expect(html).toMatch(/Can be undone until.*\(in 1[34] d/s)
  })

  test('a running encode does not swap the form somebody types in', async () => {
    const id = await addRecording(sample.db, sample.account, {
      state: 'encoding',
      progressPercent: 10,
      ownerId: sample.account.people.olga,
    })
    const { html } = await get(`/recordings/${id}`)
    const url = (part: string) => find(html, new RegExp(`hx-get="([^"]+part=${part}[^"]+)"`))
    await sample.db.asAccount(sample.account.id, (tx) =>
      tx.updateTable('recordings').set({ progress_percent: 11 }).where('id', '=', id).execute(),
    )
    const asPart = { 'HX-Request': 'true' }
    expect((await get(url('actions'), 'ada', asPart)).status).toBe(204)
    expect((await get(url('player'), 'ada', asPart)).status).toBe(204)
    const status = await sample.app.request(url('status'), {
      headers: { Cookie: sample.account.cookies.ada, ...asPart },
    })
    expect(await status.text()).toContain('11 %')
  })
})

describe('waiting to be claimed', () => {
  test('each can be named, claimed, handed on, or deleted instead, by those who may', async () => {
    const managed = await sample.db.asAccount(sample.account.id, (tx) =>
      addRecorder(tx, sample.account.inboxId, 'Studio A', 'manager', sample.account.people.max),
    )
    const id = await addRecording(sample.db, sample.account, {
      state: 'awaiting_claim',
      recorderId: managed,
      title: 'Managed one',
    })
    const card = (html: string) => cut(html, `id="claim-${id}"`, '</li>')
    const asManager = card((await get('/claims', 'max')).html)
    for (const kind of ['claim', 'assign', 'notMine', 'requestDeletion'])
      expect(asManager).toContain(`name="kind" value="${kind}"`)
    expect(asManager).toContain('Olga Owner')
    const asUser = card((await get('/claims', 'olga')).html)
    expect(asUser).not.toContain('name="kind"')
    expect(asUser).toContain('This recorder has a manager')
  })

  test('twelve to a page, newest first', async () => {
    const account = await addAccount(sample.db, `Claims ${randomUUID()}`)
    for (let n = 0; n < 13; n++)
      await addRecording(sample.db, account, { state: 'awaiting_claim', acceptedAgoMs: n * 60_000, title: `Nr ${n}.` })
    await addRecording(sample.db, account, { state: 'claimed', acceptedAgoMs: 0, title: 'Taken' })
    const html = await (await sample.app.request('/claims', { headers: { Cookie: account.cookies.ada } })).text()
    expect(html.match(/id="claim-/g)).toHaveLength(12)
    expect(html.indexOf('Nr 0.')).toBeLessThan(html.indexOf('Nr 1.'))
    expect(html).not.toContain('Nr 12.')
    expect(html).not.toContain('Taken')
    expect(html).toContain('before=')
  })

  test.each(['/record/add_recording/', '/mediacourses_add/', '/record/add_recording'])(
    'the mail’s link %s leads to the recording',
    async (link) => {
      const path = `lecture-hall-1/Überblick & 100% ${randomUUID()}.mp4`
      const id = await addRecording(sample.db, sample.account, { state: 'awaiting_claim', path })
      const ask = (mediapath: string) =>
        get(`${link}?mediapath=${encodeURIComponent(mediapath)}&course_title=x&recorder=${sample.account.recorderId}`)
      for (const mediapath of [path, path.slice(path.indexOf('/') + 1), `/srv/ftp/${path}`])
        expect((await ask(mediapath)).headers.get('Location')).toBe(`/recordings/${id}`)
      expect((await ask(path.slice(-12))).headers.get('Location')).toBe('/claims')
      expect((await ask('')).headers.get('Location')).toBe('/claims')
    },
  )
})

describe('attention, deposits, recorders', () => {
  test('a problem says reason, attempts, since when, and what happens by itself', async () => {
    const id = await addRecording(sample.db, sample.account, { state: 'archiving', title: 'Parked' })
    await addProblem(sample.db, sample.account, id, ['retry', 'skip', 'give_up'])
    const { html } = await get('/attention', 'max')
    const box = cut(html, `id="problem-${id}"`, '</section>')
    expect(box).toContain('the disk is full')
    expect(box).toContain('store_full')
    expect(box).toContain('<dd>7</dd>')
    expect(box).toMatch(/\(in 2[45] min\)/)
    expect(box).toContain('value="retry"')
    expect(box).toContain('value="give_up"')
    await post(`/recordings/${id}/commands`, { kind: 'resolve', option: 'retry', back: '/attention' }, 'max')
    expect(sample.asked.commands.at(0)?.request.command).toEqual({ kind: 'resolve', option: 'retry' })
    const asOwner = (await get('/attention', 'olga')).html
    expect(asOwner).toContain('Resolving a problem needs the role')
  })

  test('a quarantined deposit is shown with its reason, and tried again by who may', async () => {
    const id = await addQuarantined(sample.db, sample.account, 'lecture-hall-1/<b>cut</b>.mp4')
    for (const path of ['/attention', '/deposits?state=quarantined']) {
      const { html } = await get(path)
      expect(html).toContain('&lt;b&gt;cut&lt;/b&gt;.mp4')
      expect(html).toContain('the upload was cut off')
    }
    const answer = await post(
      `/recordings/${id}/commands`,
      { kind: 'resolve', option: 'retry', back: '/attention' },
      'max',
    )
    expect(answer.headers.get('Location')).toBe('/attention?done=resolve')
    expect(sample.asked.commands).toHaveLength(1)
    expect((await get('/attention', 'olga')).html).not.toContain(`/recordings/${id}/commands`)
  })

  test('recorders are listed for all, set up by operators', async () => {
    expect((await get('/recorders', 'olga')).html).not.toContain('Set up a recorder')
    expect((await get('/recorders')).html).toContain('Set up a recorder')
    const fields = {
      name: 'Aula',
      description: '',
      inboxId: sample.account.inboxId,
      directory: 'aula',
      assignment: 'automatic',
      managerId: '',
      defaultOwnerId: sample.account.people.olga,
    }
    expect((await post('/recorders', fields, 'olga')).status).toBe(403)
    expect((await post('/recorders', { ...fields, directory: '../x' })).status).toBe(400)
    expect((await post('/recorders', fields)).headers.get('Location')).toBe('/recorders?done=recorder')
    const taken = await post('/recorders', fields)
    expect(taken.status).toBe(409)
    expect(taken.html).toContain('Another recorder')
    expect((await get('/recorders')).html).toContain('Aula')
  })
})

test('style, script and icon come from this server, with a name for what they are', async () => {
  for (const [path, type] of [
    ['/assets/style.css', 'text/css'],
    ['/assets/htmx.min.js', 'text/javascript'],
    ['/assets/icon.svg', 'image/svg+xml'],
  ] as const) {
    const answer = await get(path, null)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('Content-Type')).toContain(type)
    expect((await get(path, null, { 'If-None-Match': answer.headers.get('ETag') ?? '' })).status).toBe(304)
  }
})
