/** The beginning of a small text file inside a package. */
export interface SmallText {
  readonly text: string
  /** True where the file goes on beyond what is ever looked at. */
  readonly cut: boolean
}

/** One element, as its opening tag says it. Names and values come from outside. */
export interface XmlElement {
  readonly name: string
  readonly attributes: ReadonlyMap<string, string>
}

/** What a text holds, or the first thing that speaks against it, read from its beginning. */
export type XmlAnswer =
  | { readonly kind: 'elements'; readonly elements: readonly XmlElement[] }
  | { readonly kind: 'refused'; readonly code: 'xml_doctype' | 'xml_depth' | 'xml_size' }
  | { readonly kind: 'malformed'; readonly atCharacter: number }

const deepest = 64

type Token =
  | { readonly kind: 'skip'; readonly end: number }
  | { readonly kind: 'open'; readonly end: number; readonly element: XmlElement; readonly empty: boolean }
  | { readonly kind: 'close'; readonly end: number; readonly name: string }
  | { readonly kind: 'doctype' }
  | { readonly kind: 'unfinished' }
  | { readonly kind: 'malformed'; readonly at: number }

/**
 * The elements of an XML text in document order, as far as their tags. Total: whatever the text, it answers, in one pass
 * and without recursion. Nothing is ever resolved: a document type may be named, but not declare anything.
 */
export function readXml({ text, cut }: SmallText): XmlAnswer {
  const elements: XmlElement[] = []
  const open: string[] = []
  const malformed = (atCharacter: number): XmlAnswer => ({ kind: 'malformed', atCharacter })
  let at = text.startsWith('\uFEFF') ? 1 : 0
  for (;;) {
    const tag = text.indexOf('<', at)
    if (tag === -1) break
    if (open.length === 0 && text.slice(at, tag).trim() !== '') return malformed(at)
    const token = readToken(text, tag)
    if (token.kind === 'doctype') return { kind: 'refused', code: 'xml_doctype' }
    if (token.kind === 'malformed') return malformed(token.at)
    if (token.kind === 'unfinished') return cut ? { kind: 'refused', code: 'xml_size' } : malformed(tag)
    if (token.kind === 'close' && open.pop() !== token.name) return malformed(tag)
    if (token.kind === 'open') {
      if (open.length === 0 && elements.length > 0) return malformed(tag)
      elements.push(token.element)
      if (!token.empty) open.push(token.element.name)
      if (open.length > deepest) return { kind: 'refused', code: 'xml_depth' }
    }
    at = token.end
  }
  if (cut) return { kind: 'refused', code: 'xml_size' }
  if (elements.length === 0 || open.length > 0 || text.slice(at).trim() !== '') return malformed(text.length)
  return { kind: 'elements', elements }
}

function readToken(text: string, at: number): Token {
  if (text.startsWith('<!--', at)) return skipTo(text, '-->', at + 4)
  if (text.startsWith('<![CDATA[', at)) return skipTo(text, ']]>', at + 9)
  if (text.startsWith('<?', at)) return skipTo(text, '?>', at + 2)
  if (text.startsWith('<!', at)) return readDoctype(text, at)
  if (text.startsWith('</', at)) {
    const end = text.indexOf('>', at)
    if (end === -1) return { kind: 'unfinished' }
    return { kind: 'close', end: end + 1, name: text.slice(at + 2, end).trimEnd() }
  }
  return readOpening(text, at)
}

function skipTo(text: string, ending: string, from: number): Token {
  const end = text.indexOf(ending, from)
  return end === -1 ? { kind: 'unfinished' } : { kind: 'skip', end: end + ending.length }
}

/** `<!DOCTYPE smil PUBLIC "..." "...">` is passed over, never resolved; everything that could declare something is not. */
function readDoctype(text: string, at: number): Token {
  const word = '<!DOCTYPE'
  const given = text.slice(at, at + word.length)
  if (given !== word) return word.startsWith(given) ? { kind: 'unfinished' } : { kind: 'doctype' }
  for (let here = at + word.length; here < text.length; here++) {
    const character = text[here]
    if (character === '>') return { kind: 'skip', end: here + 1 }
    if (character === '[' || character === '<') return { kind: 'doctype' }
    if (character !== '"' && character !== "'") continue
    here = text.indexOf(character, here + 1)
    if (here === -1) break
  }
  return { kind: 'unfinished' }
}

function readOpening(text: string, at: number): Token {
  const nameEnd = endOfName(text, at + 1)
  const name = text.slice(at + 1, nameEnd)
  const attributes = new Map<string, string>()
  let here = nameEnd
  for (;;) {
    const spaced = pastSpace(text, here)
    if (spaced >= text.length) return { kind: 'unfinished' }
    if (name === '') return { kind: 'malformed', at }
    const empty = text[spaced] === '/'
    if (empty && spaced + 1 >= text.length) return { kind: 'unfinished' }
    const end = empty ? spaced + 1 : spaced
    if (text[end] === '>') return { kind: 'open', end: end + 1, element: { name, attributes }, empty }
    if (empty || spaced === here) return { kind: 'malformed', at: spaced }
    const attribute = readAttribute(text, spaced)
    if (attribute === null) return { kind: 'unfinished' }
    if (attribute.value === null || attributes.has(attribute.name)) return { kind: 'malformed', at: spaced }
    attributes.set(attribute.name, attribute.value)
    here = attribute.end
  }
}

interface Attribute {
  readonly name: string
  /** `null` where it is not well-formed. */
  readonly value: string | null
  readonly end: number
}

function readAttribute(text: string, at: number): Attribute | null {
  const nameEnd = endOfName(text, at)
  const name = text.slice(at, nameEnd)
  const equals = pastSpace(text, nameEnd)
  const start = pastSpace(text, equals + 1)
  if (equals >= text.length || start >= text.length) return null
  const quote = text[start]
  if (name === '' || text[equals] !== '=' || (quote !== '"' && quote !== "'")) return { name, value: null, end: at }
  const end = text.indexOf(quote, start + 1)
  return end === -1 ? null : { name, value: decodeValue(text.slice(start + 1, end)), end: end + 1 }
}

const entities: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
])

function decodeValue(raw: string): string | null {
  if (raw.includes('<')) return null
  const [first = '', ...rest] = raw.split('&')
  const parts = [first]
  for (const part of rest) {
    const end = part.slice(0, 12).indexOf(';')
    const character = end === -1 ? null : decodeReference(part.slice(0, end))
    if (character === null) return null
    parts.push(character, part.slice(end + 1))
  }
  return parts.join('')
}

function decodeReference(reference: string): string | null {
  const number = /^#(?:x([0-9a-f]{1,6})|([0-9]{1,7}))$/i.exec(reference)
  if (number === null) return entities.get(reference) ?? null
  const code = number[1] === undefined ? Number(number[2]) : Number.parseInt(number[1], 16)
  const isCharacter = code > 0 && code <= 0x10_ffff && !(code >= 0xd800 && code <= 0xdfff)
  return isCharacter ? String.fromCodePoint(code) : null
}

const spaces = new Set([' ', '\t', '\r', '\n'])
const endsName = new Set([...spaces, '=', '/', '>', '<', '"', "'", '&'])

function endOfName(text: string, from: number): number {
  let at = from
  while (at < text.length && !endsName.has(text[at] ?? '')) at += 1
  return at
}

function pastSpace(text: string, from: number): number {
  let at = from
  while (at < text.length && spaces.has(text[at] ?? '')) at += 1
  return at
}
