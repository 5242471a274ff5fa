import type { ErrorCode } from './errors.ts'
import { pathProblem, shownPath } from './package-paths.ts'
import { readXml } from './xml.ts'
import type { SmallText, XmlElement } from './xml.ts'

/** The file that makes a package an AudioVideoCast. */
export const smilName = 'cours.smil'

/** What speaks against a SMIL. */
export interface SmilProblem {
  readonly code: Extract<ErrorCode, 'incomplete_package' | 'smil_src' | 'xml_doctype' | 'xml_depth' | 'xml_size'>
  readonly reason: string
}

const refusals = {
  xml_doctype: 'declares entities or has an internal document type',
  xml_depth: 'nests its elements too deep',
  xml_size: 'is longer than 1 MiB',
} as const

/**
 * What speaks against a SMIL, or `null`: every file it names must lie below its own folder and be there. Its media is the
 * first `<audio>`, else the first `<video>`; its slides are all `<img>`.
 * @param isThere whether a file beside the SMIL is there and holds something
 * @source Esup-Pod's AudioVideoCast recorder
 */
export function judgeSmil(text: SmallText | null, isThere: (src: string) => boolean): SmilProblem | null {
  const answer = text === null ? null : readXml(text)
  if (answer?.kind === 'refused') return { code: answer.code, reason: `${smilName} ${refusals[answer.code]}.` }
  if (answer?.kind !== 'elements') {
    const where = answer === null ? '' : ` (at character ${answer.atCharacter + 1})`
    return { code: 'incomplete_package', reason: `${smilName} cannot be read as SMIL${where}.` }
  }
  const sources = answer.elements.flatMap((element) => [...element.attributes].filter(isSource).map(([, src]) => src))
  const outside = sources.find(leadsOut)
  if (outside !== undefined) {
    return { code: 'smil_src', reason: `${smilName} names ${shownPath(outside)}, which is no file of the package.` }
  }
  return missingPart(answer.elements, isThere)
}

function missingPart(elements: readonly XmlElement[], isThere: (src: string) => boolean): SmilProblem | null {
  const media = elements.find(isNamed('audio')) ?? elements.find(isNamed('video'))
  const incomplete = (reason: string): SmilProblem => ({ code: 'incomplete_package', reason })
  if (media === undefined) return incomplete(`${smilName} names no audio and no video.`)
  for (const element of [media, ...elements.filter(isNamed('img'))]) {
    const src = [...element.attributes].find(isSource)?.[1] ?? ''
    if (src === '') return incomplete(`${smilName} has an element <${element.name}> that names no file.`)
    if (isThere(src) || isThere(percentDecoded(src))) continue
    const what = element === media ? 'media' : 'slide'
    return incomplete(`The AudioVideoCast package is not whole. Missing: the ${what} ${shownPath(src)}.`)
  }
  return null
}

function isNamed(name: string): (element: XmlElement) => boolean {
  return (element) => localName(element.name) === name
}

function isSource([name]: readonly [string, string]): boolean {
  return localName(name) === 'src'
}

function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1).toLowerCase()
}

/** True for everything but a plain path downwards, as it is written and as its percent signs would be read. */
function leadsOut(src: string): boolean {
  return [src, percentDecoded(src)].some(
    (path) => path !== '' && (pathProblem(path) !== null || /^\s*[a-z][a-z0-9+.-]*:/i.test(path)),
  )
}

function percentDecoded(src: string): string {
  try {
    return decodeURIComponent(src)
  } catch {
    return src
  }
}
