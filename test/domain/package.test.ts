import { describe, expect, it } from 'vitest'
import { decidePackage, describeUnprocessed, isPackageText } from '../../src/domain/package.ts'
import type { PackageEntry } from '../../src/domain/package.ts'
import { castFiles, sessionFiles, smilOf } from '../media/archives.ts'

const entry = (path: string, data = 'bytes', cut = false): PackageEntry => ({
  path,
  directory: path.endsWith('/'),
  sizeBytes: data.length,
  text: isPackageText(path) ? { text: data, cut } : null,
})
const cast = castFiles().map(({ name, data }) => entry(String(name), String(data)))
const session = sessionFiles().map(({ name, data }) => entry(name, data))
const without = (entries: readonly PackageEntry[], part: string) => entries.filter(({ path }) => !path.includes(part))
const withSmil = (text: string, cut = false) => [...without(cast, 'cours.smil'), entry('cours/cours.smil', text, cut)]
const withInfo = (text: string, cut = false) => [...without(session, 'info'), entry('8812/info.json', text, cut)]
const manifest = (...files: unknown[]) =>
  JSON.stringify({ id: 'a', name: 'n', sessionId: '2_MX4', partnerId: 1, files })
const openTok = [
  entry('manifest.json', manifest({ filename: 'a.webm', streamId: 's', size: '5' }, { filename: 'a-1.webm' })),
  entry('a.webm'),
  entry('a-1.webm'),
]
const numbered = ['1.webm', '2.ogg', '3.webm', '4.ogg'].map((path) => entry(path))
const roles = ['agent video', 'agent audio', 'user video', 'user audio'].map((role) => role.split(' '))
const told = [
  entry(
    'info.json',
    JSON.stringify({
      session: 's',
      streams: roles.map(([who, kind], at) => ({ who, kind, file: numbered[at]?.path })),
    }),
  ),
  ...numbered,
]
const mapped = [
  entry(
    'info.json',
    JSON.stringify({
      session: 's',
      streams: Object.fromEntries(roles.map((role, at) => [role.join('_'), numbered[at]?.path])),
    }),
  ),
  ...numbered,
]

describe('a whole package', () => {
  it.each<[string, readonly PackageEntry[], string]>([
    ['an AudioVideoCast', cast, 'audiovideocast'],
    [
      'one with its SMIL at the top',
      cast.map((one) => ({ ...one, path: one.path.replace('cours/', '') })).slice(1),
      'audiovideocast',
    ],
    [
      'one with entries of a packing program',
      [...cast, entry('__MACOSX/cours/._cours.smil'), entry('cours/.DS_Store')],
      'audiovideocast',
    ],
    ['one with a video', withSmil(smilOf('<video src="audio.mp3"/>')), 'audiovideocast'],
    [
      'one with percent signs for a space',
      [entry('c/cours.smil', smilOf('<audio src="a%20b.mp3"/>')), entry('c/a b.mp3')],
      'audiovideocast',
    ],
    [
      'one whose file name has percent signs',
      [entry('c/cours.smil', smilOf('<audio src="a%20b.mp3"/>')), entry('c/a%20b.mp3')],
      'audiovideocast',
    ],
    ['one with an XML byte order mark', withSmil(`\uFEFF${smilOf('<audio src="./audio.mp3"/>')}`), 'audiovideocast'],
    [
      'one whose accents are written in two ways',
      [entry('c/cours.smil', smilOf('<audio src="\u00e9.mp3"/>')), entry('c/e\u0301.mp3')],
      'audiovideocast',
    ],
    ['a session', session, 'session'],
    ['one whose info comes last', session.toReversed(), 'session'],
    [
      'one of another recorder',
      [
        entry('i.json', '{"session":{"id":7}}'),
        ...['77_Agent_Video.mjr', '77_Agent_Audio.mjr', '77_User_Video.mjr', '77_User_Audio.mjr'].map((path) =>
          entry(path),
        ),
      ],
      'session',
    ],
    ['one with a second JSON', [entry('8812/a.json', '[1]'), ...session], 'session'],
    ['one by Vonage', openTok, 'session'],
    ['one whose info has a plain id', withInfo('{"id": "8812"}'), 'session'],
    ['one whose info says which stream is which', told, 'session'],
    ['one whose info maps streams to files', mapped, 'session'],
  ])('%s', (_name, entries, what) => {
    const verdict = decidePackage(entries)
    expect(verdict).toMatchObject({ kind: 'whole', what })
    expect(describeUnprocessed(verdict as Extract<typeof verdict, { kind: 'whole' }>)).toMatch(
      what === 'session'
        ? /a session package and it is whole \(\d+ files\)/
        : /an AudioVideoCast package and it is whole/,
    )
  })

  it.each<[string, readonly PackageEntry[]]>([
    ['text', [entry('notes.txt')]],
    ['a program', [entry('package.json', '{"name":"x"}'), entry('index.js')]],
    ['media without a folder', [entry('lecture.mp4')]],
    ['a JSON with an id', [entry('a.json', '{"id":"x"}')]],
    ['media in two folders', [entry('a/lecture.mp4'), entry('b/lecture.mp4')]],
    ['another package', [entry('a/lecture.zip')]],
    ['names of objects', [entry('__proto__.json', '{"__proto__":{"sessionId":"x"}}'), entry('constructor')]],
  ])('that holds %s is none that is known', (_name, entries) => {
    const verdict = decidePackage(entries)
    expect(verdict).toEqual({ kind: 'unknown', files: entries.length })
    expect(describeUnprocessed({ kind: 'unknown', files: 1 })).toContain('whole (1 file), but it is neither')
  })
})

describe('a package that lacks', () => {
  it.each<[string, readonly PackageEntry[], string]>([
    ['everything', [], 'holds no files'],
    [
      'everything but what packing programs add',
      [entry('__MACOSX/x'), entry('a/.DS_Store'), entry('a/', '')],
      'holds no files',
    ],
    ['the info', without(session, 'info'), 'Missing: info file'],
    ['the agent video', without(session, 'agent-video'), 'Missing: agent video.'],
    ['the agent audio', without(session, 'agent-audio'), 'Missing: agent audio.'],
    ['the user video', without(session, 'user-video'), 'Missing: user video.'],
    ['the user audio', without(session, 'user-audio'), 'Missing: user audio.'],
    [
      'a stream that is empty',
      [...without(session, 'user-audio'), entry('8812/user-audio.webm', '')],
      'Missing: user audio.',
    ],
    [
      'a stream that is a folder',
      [...without(session, 'user-audio'), entry('8812/user-audio.webm/')],
      'Missing: user audio.',
    ],
    ['all streams', session.slice(0, 1), 'Missing: agent video, agent audio, user video, user audio.'],
    ['an info that is JSON', withInfo('{"sessionId": '), '"8812/info.json" cannot be read'],
    ['an info of a session', withInfo('{"sessionId": "", "session": null}'), 'Missing: info file'],
    ['an info that is an object', withInfo('["sessionId"]'), 'Missing: info file'],
    ['an info below 1 MiB', withInfo('{"sessionId": "8812"}', true), 'Missing: info file'],
    ['an info but in __proto__', withInfo('{"__proto__": {"sessionId": "8812"}}'), 'Missing: info file'],
    ['an info that is not 100,000 deep', withInfo('['.repeat(100_000)), 'Missing: info file'],
    ['a file that its info describes', without(told, '4.ogg'), 'Missing: "4.ogg".'],
    ['a file that its info maps', without(mapped, '1.webm'), 'Missing: "1.webm".'],
    [
      'a stream that its info never speaks of',
      [entry('i.json', '{"session":"s","streams":{"agent_video":"1.webm"}}'), ...numbered],
      'Missing: agent audio, user video, user audio.',
    ],
    [
      'all that a manifest does not list',
      [entry('m.json', manifest())],
      'Missing: agent video, agent audio, user video, user audio.',
    ],
    ['a file of a Vonage manifest', without(openTok, '-1'), 'Missing: "a-1.webm".'],
    [
      'what a hostile manifest names',
      [entry('m.json', manifest({ filename: '../../etc/passwd' }, { filename: 7 }, null)), entry('a.webm')],
      'Missing: "../../etc/passwd".',
    ],
    [
      'many files of a manifest',
      [entry('m.json', manifest(...Array.from({ length: 500 }, (_, at) => ({ filename: `${at}.webm` }))))],
      'and 490 more.',
    ],
    ['cours.smil', without(cast, 'cours.smil'), 'Missing: cours.smil.'],
    ['cours.smil at the top', [entry('audio.mp3'), entry('1.png')], 'Missing: cours.smil.'],
    ['cours.smil beside slides', [entry('x/1.png')], 'Missing: cours.smil.'],
    ['the media that the SMIL names', without(cast, 'audio.mp3'), 'Missing: the media "audio.mp3".'],
    ['a slide', without(cast, '2.png'), 'Missing: the slide "slides/2.png".'],
    [
      'a slide by its case',
      [...without(cast, '2.png'), entry('cours/slides/2.PNG')],
      'Missing: the slide "slides/2.png".',
    ],
    [
      'a slide that is not empty',
      [...without(cast, '2.png'), entry('cours/slides/2.png', '')],
      'Missing: the slide "slides/2.png".',
    ],
    ['a SMIL with media', withSmil(smilOf('<img src="slides/1.png"/>')), 'names no audio and no video'],
    ['a SMIL with a src', withSmil(smilOf('<audio/>')), '<audio> that names no file'],
    ['a SMIL that is not empty', withSmil(''), 'cannot be read as SMIL'],
    ['a SMIL that is XML', withSmil('audio.mp3'), 'cannot be read as SMIL'],
    ['a SMIL that is whole', withSmil('<smil><body><audio src="audio.mp3"/>'), 'cannot be read as SMIL'],
    [
      'one part of its second SMIL',
      [...cast, entry('b/cours.smil', smilOf('<audio src="b.mp3"/>'))],
      'Missing: the media "b.mp3".',
    ],
  ])('%s is incomplete and says so', (_name, entries, words) => {
    const verdict = decidePackage(entries)
    expect(verdict).toMatchObject({
      kind: 'unfit',
      code: 'incomplete_package',
      message: expect.stringContaining(words),
    })
    expect(verdict).toMatchObject({
      message: expect.stringMatching(/Upload the whole package again; the source is kept\.$/),
    })
  })
})

const laughs = `<!DOCTYPE smil [<!ENTITY a "ha">${Array.from({ length: 9 }, (_, at) => `<!ENTITY b${at} "${'&a;'.repeat(10)}">`).join('')}]>\n`

describe('a SMIL with', () => {
  it.each<[string, string, string]>([
    ['a billion laughs', smilOf('<audio src="audio.mp3"/>&b8;', laughs), 'xml_doctype'],
    ['an external entity', smilOf('&x;', '<!DOCTYPE smil [<!ENTITY x SYSTEM "file:///etc/passwd">]>'), 'xml_doctype'],
    [
      'a parameter entity',
      smilOf('', '<!DOCTYPE smil [<!ENTITY % p SYSTEM "http://127.0.0.1/x"> %p;]>'),
      'xml_doctype',
    ],
    ['an internal subset behind a public id', smilOf('', '<!DOCTYPE smil PUBLIC "a>b" "c" [ ]>'), 'xml_doctype'],
    ['an entity outside a document type', smilOf('', '<!ENTITY x "y">'), 'xml_doctype'],
    ['a document type in small letters', smilOf('', '<!doctype smil [ ]>'), 'xml_doctype'],
    ['200,000 nested tags', `${'<a>'.repeat(200_000)}${'</a>'.repeat(200_000)}`, 'xml_depth'],
    ['200,000 tags that never end', '<a>'.repeat(200_000), 'xml_depth'],
    ['65 levels', `${'<a>'.repeat(65)}${'</a>'.repeat(65)}`, 'xml_depth'],
    ['../', smilOf('<audio src="../audio.mp3"/>'), 'smil_src'],
    ['../ as entities', smilOf('<audio src="&#46;&#x2e;/audio.mp3"/>'), 'smil_src'],
    ['../ as percent signs', smilOf('<audio src="%2e%2e/audio.mp3"/>'), 'smil_src'],
    ['../ further down', smilOf('<audio src="audio.mp3"/><img src="slides/../../x.png"/>'), 'smil_src'],
    ['an absolute path', smilOf('<audio src="/etc/passwd"/>'), 'smil_src'],
    ['file:', smilOf('<audio src="file:///etc/passwd"/>'), 'smil_src'],
    ['http:', smilOf('<audio src="http://127.0.0.1/x"/>'), 'smil_src'],
    ['HTTPS:', smilOf('<audio src="HTTPS://127.0.0.1/x"/>'), 'smil_src'],
    ['another host', smilOf('<audio src="//127.0.0.1/x"/>'), 'smil_src'],
    ['a space before file:', smilOf('<audio src=" file:/etc/passwd"/>'), 'smil_src'],
    ['data:', smilOf('<audio src="data:audio/mp3,x"/>'), 'smil_src'],
    ['concat:', smilOf('<audio src="concat:a|b"/>'), 'smil_src'],
    ['a drive', smilOf('<audio src="C:\\x.mp3"/>'), 'smil_src'],
    ['a backslash', smilOf('<audio src="..\\x.mp3"/>'), 'smil_src'],
    ['a NUL as percent sign', smilOf('<audio src="audio.mp3%00.txt"/>'), 'smil_src'],
    ['a bad src of another element', smilOf('<audio src="audio.mp3"/><ref src="file:/etc/passwd"/>'), 'smil_src'],
    ['a bad src behind a prefix', smilOf('<x:audio xlink:src="file:/etc/passwd"/>'), 'smil_src'],
    ['a bad src in capitals', smilOf('<AUDIO SRC="file:/etc/passwd"/>'), 'smil_src'],
  ])('%s is refused', (_name, text, code) => {
    const verdict = decidePackage(withSmil(text.slice(0, 1024 ** 2), text.length > 1024 ** 2))
    expect(verdict).toMatchObject({ kind: 'unfit', code })
    expect(verdict).toMatchObject({ message: expect.stringMatching(/^cours\.smil .*\. Pack it again .*kept\.$/) })
  })

  it('a text of 5 MB is too large, wherever it is cut', () => {
    for (const text of [
      smilOf('x'.repeat(1024 ** 2)),
      '<smil>',
      '<smil><audio src="audio',
      '<!-- x',
      '<smil/>',
      '<!DOC',
      '',
    ]) {
      expect(decidePackage(withSmil(text, true)), text.slice(0, 30)).toMatchObject({ code: 'xml_size' })
    }
  })

  it('a plain document type and 64 levels is fine', () => {
    const deep = `${'<par>'.repeat(62)}<audio src="audio.mp3"/>${'</par>'.repeat(62)}`
    expect(decidePackage(withSmil(smilOf(deep, '<!DOCTYPE smil>\n')))).toMatchObject({ kind: 'whole' })
  })
})
