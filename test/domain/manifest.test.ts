import { describe, expect, test } from 'vitest'
import { manifestText } from '../../src/domain/archive.ts'
import type { Manifest } from '../../src/domain/archive.ts'
import { largestManifestBytes, packageOf, readManifest } from '../../src/domain/manifest.ts'

const place = { accountId: '0b5f6c1e-0000-4000-8000-000000000001', recordingId: '0b5f6c1e-0000-4000-8000-000000000002' }
const prefix = `${place.accountId}/${place.recordingId}`
const video = {
  codec: 'h264',
  profile: 'High',
  level: 31,
  pixelFormat: 'yuv420p',
  widthPx: 320,
  heightPx: 180,
  framesPerSecond: 29.97,
  interlaced: false,
  hdr: false,
  rotationDegrees: 0,
}
const media = {
  container: 'mov,mp4',
  durationMs: 1500,
  sizeBytes: 10,
  video,
  audio: { codec: 'aac', profile: 'LC', channels: 2, sampleRateHz: 48_000 },
  streamCount: 2,
  title: null,
  notes: ['dropped 1 attachment'],
}
const original = {
  name: 'original.mp4',
  kind: 'original',
  key: `${prefix}/original.mp4`,
  contentType: 'video/mp4',
  sizeBytes: 10,
  sha256: 'a'.repeat(64),
}
const poster = { ...original, name: 'poster.jpg', kind: 'poster', key: `${prefix}/renditions/x/poster.jpg` }
const good: Manifest = {
  version: 1,
  ...place,
  recorder: 'Hall "A"\n',
  owner: 'ada@example.org',
  title: 'Ünïcode 🎓',
  description: '',
  tags: ['a'],
  depositPath: 'hall/2026/a.mp4',
  acceptedAt: '2026-11-25T10:00:00.000Z',
  retainUntil: null,
  media,
  files: [original, poster],
}

test('what was sealed is read back, field by field', () => {
  const reading = readManifest(manifestText(good), place)
  expect(reading).toMatchObject({
    ok: true,
    manifest: { ...good, original, acceptedAtMs: Date.parse(good.acceptedAt) },
  })
  const kept = readManifest(manifestText({ ...good, owner: null, retainUntil: '2030-01-01T00:00:00.000Z' }), place)
  expect(kept).toMatchObject({ ok: true, manifest: { owner: null, retainUntilMs: Date.UTC(2030, 0, 1) } })
})

const other = '0b5f6c1e-0000-4000-8000-00000000000f'
const json = (change: object) => JSON.stringify({ ...good, ...change })
const file = (change: object) => json({ files: [original, { ...poster, ...change }] })

describe('refused, with the reason', () => {
  test.each<[string, string, RegExp]>([
    ['nothing', '', /no JSON object|not a JSON object/],
    ['half of it', manifestText(good).slice(0, 200), /not a JSON object/],
    ['a list', '[]', /not a JSON object/],
    ['null', 'null', /not a JSON object/],
    ['an empty object', '{}', /version is missing/],
    ['another version', json({ version: 2 }), /version is 2/],
    ['a version that only looks like one', json({ version: '1' }), /version is "1"/],
    ["another account's id", json({ accountId: other }), /another one's folder/],
    ["another recording's id", json({ recordingId: other }), /another one's folder/],
    ['a field nobody knows', json({ policy: {} }), /"policy" is no field/],
    ['__proto__', `{"__proto__":{"version":1},${manifestText(good).slice(1)}`, /"__proto__" is no field/],
    ['__proto__ instead of fields', `{"__proto__":${manifestText(good).trim()}}`, /version is missing/],
    [
      '__proto__ in a file',
      JSON.stringify(good).replace('"poster.jpg"', '"poster.jpg","__proto__":{}'),
      /"__proto__" is no/,
    ],
    ['a NUL in the title', json({ title: 'a\u0000b' }), /title is/],
    ['half a surrogate pair', json({ title: 'a\ud800' }), /title is/],
    ['a title of a million letters', json({ title: 'x'.repeat(1_000_000) }), /title is "x+…/],
    ['tags that are no texts', json({ tags: [1] }), /tags is a list/],
    ['tags that are a text', json({ tags: 'a' }), /tags is "a"/],
    ['an owner that is an object', json({ owner: { email: 'x' } }), /owner is an object/],
    ['an owner with a line of his own', json({ owner: 'a@b.c\r\nBcc: x@y.z' }), /owner is/],
    ['no recorder', json({ recorder: ' ' }), /recorder is/],
    ['a day instead of an instant', json({ acceptedAt: '2026-11-25' }), /acceptedAt is/],
    ['the 31st of February', json({ acceptedAt: '2026-02-31T00:00:00.000Z' }), /acceptedAt is/],
    ['a year far away', json({ retainUntil: '+275760-09-13T00:00:00.000Z' }), /retainUntil is/],
    ['no files', json({ files: [] }), /files is a list of 0/],
    ['files that are an object', json({ files: { length: 1 } }), /files is an object/],
    ['a file that is a text', json({ files: ['x'] }), /files\[0\]/],
    ['no original', json({ files: [poster] }), /no original/],
    ['two originals', file({ kind: 'original', name: 'original.mov', key: `${prefix}/original.mov` }), /more than one/],
    ['an original of another name', json({ files: [{ ...original, name: 'x.mp4' }] }), /no original has such/],
    ['an original at another key', json({ files: [{ ...original, key: `${prefix}/x.mp4` }] }), /no original has such/],
    ['a kind nobody knows', file({ kind: 'constructor' }), /kind is "constructor"/],
    ['the manifest itself as a file', file({ kind: 'manifest' }), /kind is "manifest"/],
    ["the manifest's own key", file({ key: `${prefix}/manifest.json` }), /manifest's own/],
    ["the manifest's own name", file({ name: 'manifest.json' }), /manifest's own/],
    ['a name twice', file({ name: original.name }), /named twice/],
    ['a key twice', file({ key: original.key }), /named twice/],
    ['a key outside', file({ key: `${place.accountId}/${other}/original.mp4` }), /not below its own folder/],
    ['a key that climbs out', file({ key: `${prefix}/../../secret` }), /not below its own folder/],
    ['an absolute key', file({ key: `/${prefix}/x` }), /not below its own folder/],
    ['a key with a backslash', file({ key: `${prefix}/..\\x` }), /not below its own folder/],
    ['a key that only begins alike', file({ key: `${prefix}0/x` }), /not below its own folder/],
    ['an empty segment', file({ key: `${prefix}//x` }), /not below its own folder/],
    ['a name that climbs out', file({ name: '../x' }), /no plain name/],
    ['a name with a line feed', file({ name: 'a\nb' }), /no plain name/],
    ['a page instead of a picture', file({ contentType: 'text/html' }), /contentType is/],
    ['a picture that runs', file({ contentType: 'image/svg+xml' }), /contentType is/],
    ['a header of its own', file({ contentType: 'image/png\r\nSet-Cookie: x' }), /contentType is/],
    ['a negative size', file({ sizeBytes: -1 }), /sizeBytes is -1/],
    ['half a byte', file({ sizeBytes: 0.5 }), /sizeBytes is 0.5/],
    ['a size as text', file({ sizeBytes: '10' }), /sizeBytes is "10"/],
    [
      'a size beyond counting',
      json({ files: [original] }).replace('"sizeBytes":10,"sha', '"sizeBytes":1e300,"sha'),
      /sizeBytes is 1e\+300/,
    ],
    ['an upper-case hash', file({ sha256: 'A'.repeat(64) }), /no SHA-256/],
    ['a short hash', file({ sha256: 'a'.repeat(63) }), /no SHA-256/],
    ['media that is a text', json({ media: 'x' }), /media is "x"/],
    [
      'media without a picture or a word about it',
      json({ media: { ...media, video: undefined } }),
      /media.video is missing/,
    ],
    ['a picture with more in it', json({ media: { ...media, video: { ...video, x: 1 } } }), /"x" is no field/],
    ['a picture of text', json({ media: { ...media, video: { ...video, widthPx: 'wide' } } }), /widthPx is "wide"/],
  ])('%s', (_name, text, reason) => {
    const reading = readManifest(text, place)
    expect(reading).toMatchObject({ ok: false, reason: expect.stringMatching(reason) })
    expect(reading.ok ? '' : reading.reason).toHaveProperty('length', expect.any(Number))
    expect(reading.ok ? 0 : reading.reason.length).toBeLessThan(400)
  })

  test('depth as far as it may be read: refused, not a crash', () => {
    const deep = '['.repeat(largestManifestBytes / 2) + ']'.repeat(largestManifestBytes / 2)
    expect(readManifest(deep, place)).toMatchObject({ ok: false })
    expect(readManifest(`{"media":${deep}}`, place)).toMatchObject({ ok: false })
    expect(readManifest('{"a":'.repeat(150_000), place)).toMatchObject({ ok: false })
  })
  test('nothing of a hostile manifest reaches prototypes', () => {
    readManifest('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}', place)
    expect('polluted' in {}).toBe(false)
  })
})

test.each<[string, boolean]>([
  [`${prefix}/manifest.json`, true],
  [`${prefix}/renditions/1/x.mp4`, true],
  [prefix, false],
  [`${place.accountId}/manifest.json`, false],
  [`${place.accountId.toUpperCase()}/${place.recordingId}/manifest.json`, false],
  [`x/${prefix}/manifest.json`, false],
  [`${place.accountId}/../${place.recordingId}/manifest.json`, false],
])('the folder of a recording is known by its two ids: %s', (key, known) => {
  expect(packageOf(key)).toEqual(known ? place : null)
})
