/**
 * The records of a pax header, each `<length> <key>=<value>` and a line feed, or `null` where they do not add up. A value may
 * hold line feeds: reading it line by line would find records that are none.
 * @source POSIX pax interchange format
 */
export function readPax(content: Buffer): ReadonlyMap<string, string> | null {
  const records = new Map<string, string>()
  for (let at = 0; at < content.length;) {
    const space = content.indexOf(0x20, at)
    const digits = space === -1 ? '' : content.toString('latin1', at, Math.min(space, at + 8))
    if (!/^[1-9]\d{0,6}$/.test(digits)) return null
    const end = at + Number(digits)
    const equals = content.indexOf(0x3d, space)
    if (end > content.length || content[end - 1] !== 0x0a || equals === -1 || equals >= end) return null
    records.set(content.toString('utf8', space + 1, equals), content.toString('utf8', equals + 1, end - 1))
    at = end
  }
  return records
}
