/** Deeper nesting than any request of ours has. */
const deepest = 32

/**
 * Why a JSON text that parses is still refused: a key given twice (parsers disagree which one counts, so a check and
 * the work could see different requests), or nesting without end. `null` = fine.
 * @source RFC 8259 section 4: "the behavior of software that receives such an object is unpredictable"
 */
export function findJsonTrick(text: string): string | null {
  const levels: { keys: Set<string> | null; awaitsKey: boolean }[] = []
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],]/gs)) {
    const level = levels.at(-1)
    if (token === '{' || token === '[') {
      if (levels.length === deepest) return `It is nested deeper than ${deepest} levels.`
      levels.push({ keys: token === '{' ? new Set() : null, awaitsKey: token === '{' })
    } else if (token === '}' || token === ']') levels.pop()
    else if (level?.keys === undefined || level.keys === null) continue
    else if (token === ',') level.awaitsKey = true
    else if (level.awaitsKey) {
      const key = String(JSON.parse(token))
      if (level.keys.has(key)) return `The key ${JSON.stringify(key.slice(0, 100))} is given twice.`
      level.keys.add(key)
      level.awaitsKey = false
    }
  }
  return null
}
