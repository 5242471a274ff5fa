import { describe, expect, it } from 'vitest'
import { readXml } from '../../src/domain/xml.ts'

const read = (text: string) => readXml({ text, cut: false })
const shown = (text: string) => {
  const answer = read(text)
  return answer.kind === 'elements'
    ? answer.elements.map(({ name, attributes }) => [name, Object.fromEntries(attributes)])
    : answer
}

describe('readXml', () => {
  it('reads elements and attributes in document order', () => {
    const text = `<?xml version="1.0"?><!-- <no/> --><a x = '1' y="&lt;&#233;&quot;">t<b:c\n/><![CDATA[<no/>]]></a>\n<!-- end -->`
    expect(shown(text)).toEqual([
      ['a', { x: '1', y: '<\u00e9"' }],
      ['b:c', {}],
    ])
  })

  it('names of objects are only names', () => {
    const answer = read('<__proto__ polluted="1" __proto__="2" constructor="3"><toString/></__proto__>')
    expect(answer).toMatchObject({ kind: 'elements' })
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })

  it.each([
    ['nothing', '', 0],
    ['text alone', 'hello', 5],
    ['text before', 'x<a/>', 0],
    ['text behind', '<a/>x', 5],
    ['two roots', '<a/><b/>', 4],
    ['an end without a beginning', '</a>', 0],
    ['crossed ends', '<a><b></a></b>', 6],
    ['no end', '<a>', 3],
    ['a tag that breaks off', '<a', 0],
    ['no name', '< a/>', 0],
    ['a value without quotes', '<a x=1/>', 3],
    ['a name without a value', '<a x/>', 3],
    ['an attribute twice', '<a x="1" x="2"/>', 9],
    ['no space between attributes', '<a x="1"y="2"/>', 8],
    ['< in a value', '<a x="<"/>', 3],
    ['an entity nobody knows', '<a x="&x;"/>', 3],
    ['an entity without end', '<a x="&amp"/>', 3],
    ['a reference to NUL', '<a x="&#0;"/>', 3],
    ['a reference to half a character', '<a x="&#xd800;"/>', 3],
    ['a reference beyond all characters', '<a x="&#x110000;"/>', 3],
    ['a comment without end', '<a/><!--', 4],
    ['a slash in a tag', '<a / b="1">', 3],
  ])('%s is malformed', (_name, text, at) => {
    expect(read(text)).toEqual({ kind: 'malformed', atCharacter: at })
  })

  it('answers in one pass whatever the text (seeded)', () => {
    const pieces = [
      '<',
      '>',
      '/',
      '!',
      '?',
      '--',
      '<!--',
      ']]>',
      '<![CDATA[',
      '<!DOCTYPE',
      '[',
      '"',
      "'",
      '=',
      '&',
      ';',
      ' ',
      'a',
      '\0',
      '\uD800',
    ]
    let seed = 20_260_101
    const next = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
      return seed % below
    }
    for (let round = 0; round < 5000; round++) {
      const text = Array.from({ length: next(40) }, () => pieces[next(pieces.length)]).join('')
      for (const cut of [true, false]) expect(readXml({ text, cut }).kind).toMatch(/^(elements|refused|malformed)$/)
    }
    for (const piece of pieces) expect(read(`<a ${piece.repeat(200_000)}`).kind).not.toBe('elements')
  }, 60_000)
})
