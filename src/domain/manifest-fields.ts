/** The fields of one object, each read once and checked. */
export type Fields = ReturnType<typeof readFields>

/** Reads the fields of one object; what is wrong with them is added to `problems`. */
export function readFields(object: Readonly<Record<string, unknown>>, where: string, problems: string[]) {
  const read = new Set<string>()
  const problem = (name: string, wanted: string) => {
    problems.push(`${where}${name} is ${brief(object[name])}, not ${wanted}`)
  }
  const take = (name: string): unknown => {
    read.add(name)
    return Object.hasOwn(object, name) ? object[name] : undefined
  }
  const text = (name: string, longest: number, { filled = false } = {}): string => {
    const value = take(name)
    if (isText(value, longest) && !(filled && value.trim() === '')) return value
    problem(name, `a text of at most ${longest} characters${filled ? ', and not empty' : ''}`)
    return ''
  }
  const whole = (name: string): number => {
    const value = take(name)
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
    problem(name, 'a whole number')
    return 0
  }
  return {
    text,
    whole,
    textOrNull: (name: string, longest: number) => (take(name) === null ? null : text(name, longest)),
    wholeOrNull: (name: string) => (take(name) === null ? null : whole(name)),
    numberOrNull(name: string): number | null {
      const value = take(name)
      if (value === null || (typeof value === 'number' && Number.isFinite(value))) return value
      problem(name, 'a number')
      return null
    },
    flag(name: string): boolean {
      const value = take(name)
      if (typeof value === 'boolean') return value
      problem(name, 'true or false')
      return false
    },
    texts(name: string, most: number, longest: number): readonly string[] {
      const value = take(name)
      if (Array.isArray(value) && value.length <= most) {
        const items: readonly unknown[] = value
        const found = items.filter((item): item is string => isText(item, longest))
        if (found.length === items.length) return found
      }
      problem(name, `a list of at most ${most} texts`)
      return []
    },
    nothingElse(besides: readonly string[] = []) {
      const unknown = Object.keys(object).find((name) => !read.has(name) && !besides.includes(name))
      if (unknown !== undefined) problems.push(`${where}${brief(unknown)} is no field of version 1`)
    },
  }
}

/** A NUL or half a surrogate pair has no place in the database. */
function isText(value: unknown, longest: number): value is string {
  return typeof value === 'string' && value.length <= longest && !value.includes('\0') && !/\p{Surrogate}/u.test(value)
}

/** True for an object with fields. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A value as a reason may show it: short, whatever it is. */
export function brief(value: unknown): string {
  if (value === undefined) return 'missing'
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object' && value !== null) return 'an object'
  const text = JSON.stringify(value) ?? typeof value
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}
