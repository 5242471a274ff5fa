import type { Random } from '../chaos/random.ts'
import { extensions, mediaKinds } from './media.ts'
import type { MediaKind, Originals } from './media.ts'
import type { Abilities } from './uploader.ts'

/** What the product does with an upload; `being read` lasts as long as it does. */
export type Moment = 'complete' | 'being read' | 'accepted'

/** What an uploader does, and how long after what it did before. */
export interface Step {
  readonly afterSeconds: number
  /** It waits for the product to get there first. */
  readonly once?: Moment
  readonly act: Act
}

/** One thing an uploader does. `content` counts what the story has to upload; the first where it is not named. */
export type Act =
  | { readonly kind: 'send'; readonly to: number; readonly from?: number; readonly content?: number }
  | {
      readonly kind: 'restart' | 'second client' | 'first client' | 'cut' | 'finish' | 'rename' | 'old time' | 'remove'
    }
  | { readonly kind: 'reserve'; readonly sizeBytes: number }
  | { readonly kind: 'truncate'; readonly sizeBytes: number }
  | { readonly kind: 'sidecar'; readonly suffix: '.sha256' | '.md5' | '.done' }

/** What stands under the final name when the story is over. */
export type End = 'whole' | 'broken' | 'absent'

/** One upload from its first byte to whatever becomes of it. */
export interface Story {
  readonly title: string
  readonly path: string
  /** Differs from `path` where it is renamed at the end. */
  readonly uploadPath: string
  /** Everything that its uploader means as a whole file, in order. Nothing else may ever be accepted. */
  readonly contents: readonly Buffer[]
  readonly steps: readonly Step[]
  readonly ends: End
}

/** What a story gets by chance. */
export interface Draw {
  /** The bytes in full. */
  readonly size: number
  readonly otherSize: number
  readonly grownSize: number
  /** Two places to break off. */
  readonly cut: number
  readonly later: number
  readonly otherCut: number
  /** A place to break off that leaves a hole behind it longer than any frame. */
  readonly hole: number
  /** Up to three minutes. */
  stall(): number
  suffix(): '.sha256' | '.md5'
}

/** One thing that happens to uploads. */
export interface Family {
  readonly title: string
  readonly ends: End
  readonly needs?: keyof Abilities
  /** Its file has holes for a while: silence in a WAV is no damage. */
  readonly holes?: true
  readonly temporary?: true
  readonly steps: (draw: Draw) => Step[]
}

const step = (afterSeconds: number, act: Act, once?: Step['once']): Step => ({
  afterSeconds,
  act,
  ...(once === undefined ? {} : { once }),
})
const send = (to: number, afterSeconds = 0, content = 0): Step => step(afterSeconds, { kind: 'send', to, content })
const simply = (kind: 'restart' | 'cut' | 'finish' | 'rename' | 'old time' | 'remove', afterSeconds = 0): Step =>
  step(afterSeconds, { kind })
const cutAt = (to: number, content = 0): Step[] => [send(to, 0, content), simply('cut')]
const whole = (size: number, afterSeconds = 0, content = 0): Step[] => [
  send(size, afterSeconds, content),
  simply('finish'),
]
const anew = (size: number, afterSeconds: number, content = 0): Step[] => [
  simply('restart', afterSeconds),
  ...whole(size, 0, content),
]

/** Everything that happens to uploads. */
export const families: readonly Family[] = [
  { title: 'cut, never resumed', ends: 'broken', steps: ({ cut }) => cutAt(cut) },
  {
    title: 'cut and resumed in place',
    ends: 'whole',
    steps: ({ cut, size, stall }) => [...cutAt(cut), ...whole(size, stall())],
  },
  {
    title: 'cut twice and resumed',
    ends: 'whole',
    steps: ({ cut, later, size, stall }) => [
      ...cutAt(cut),
      send(later, stall()),
      simply('cut'),
      ...whole(size, stall()),
    ],
  },
  {
    title: 'cut, then uploaded again from the start',
    ends: 'whole',
    steps: ({ cut, size, stall }) => [...cutAt(cut), ...anew(size, stall())],
  },
  {
    title: 'stalled and gone on',
    ends: 'whole',
    steps: ({ cut, later, size, stall }) => [send(cut), send(later, stall()), ...whole(size, stall())],
  },
  {
    title: 'renamed after a cut upload was resumed',
    ends: 'whole',
    temporary: true,
    steps: ({ cut, size, stall }) => [...cutAt(cut), ...whole(size, stall()), simply('rename', 1)],
  },
  {
    title: 'cut and renamed all the same, then uploaded again',
    ends: 'whole',
    needs: 'visible',
    temporary: true,
    steps: ({ cut, size, stall }) => [...cutAt(cut), simply('rename', stall()), ...anew(size, stall())],
  },
  {
    title: 'overwritten by another file after it was accepted',
    ends: 'whole',
    steps: ({ size, otherCut, otherSize, stall }) => [
      ...whole(size),
      step(stall(), { kind: 'restart' }, 'accepted'),
      send(otherCut, 0, 1),
      ...whole(otherSize, stall(), 1),
    ],
  },
  {
    title: 'cut, then another file under its name',
    ends: 'whole',
    steps: ({ cut, otherSize, stall }) => [...cutAt(cut), ...anew(otherSize, stall(), 1)],
  },
  {
    title: 'truncated before it was read',
    ends: 'broken',
    steps: ({ cut, size }) => [...whole(size), step(0, { kind: 'truncate', sizeBytes: cut }, 'complete')],
  },
  {
    title: 'truncated before it was read, then uploaded again',
    ends: 'whole',
    steps: ({ cut, size, stall }) => [
      ...whole(size),
      step(0, { kind: 'truncate', sizeBytes: cut }, 'complete'),
      ...anew(size, stall()),
    ],
  },
  {
    title: 'overwritten while it was read',
    ends: 'whole',
    steps: ({ size, otherCut, otherSize, stall }) => [
      ...whole(size),
      step(0, { kind: 'restart' }, 'being read'),
      send(otherCut, 0, 1),
      ...whole(otherSize, stall(), 1),
    ],
  },
  {
    title: 'truncated after it was accepted',
    ends: 'broken',
    steps: ({ cut, size, stall }) => [...whole(size), step(stall(), { kind: 'truncate', sizeBytes: cut }, 'accepted')],
  },
  {
    title: 'grown after it was complete',
    ends: 'whole',
    needs: 'visible',
    steps: ({ size, grownSize }) => [
      ...whole(size),
      step(0, { kind: 'send', from: size, to: grownSize, content: 2 }, 'complete'),
      simply('finish'),
    ],
  },
  {
    title: 'grown after it was accepted',
    ends: 'whole',
    needs: 'visible',
    steps: ({ size, grownSize, stall }) => [
      ...whole(size),
      step(stall(), { kind: 'send', from: size, to: grownSize, content: 2 }, 'accepted'),
      simply('finish'),
    ],
  },
  {
    title: 'given the old time of its source at the end',
    ends: 'whole',
    needs: 'times',
    steps: ({ cut, size, stall }) => [...cutAt(cut), ...whole(size, stall()), simply('old time')],
  },
  {
    title: 'given another time after it was accepted',
    ends: 'whole',
    needs: 'times',
    steps: ({ size, stall }) => [...whole(size), step(stall(), { kind: 'old time' }, 'accepted')],
  },
  {
    title: 'its checksum first',
    ends: 'whole',
    steps: ({ cut, size, stall, suffix }) => [
      step(0, { kind: 'sidecar', suffix: suffix() }),
      send(cut, stall()),
      simply('cut'),
      ...whole(size, stall()),
    ],
  },
  {
    title: 'cut, with the checksum of the whole beside it',
    ends: 'broken',
    steps: ({ cut, stall, suffix }) => [...cutAt(cut), step(stall(), { kind: 'sidecar', suffix: suffix() })],
  },
  {
    title: 'cut and said to be done, then uploaded again',
    ends: 'whole',
    steps: ({ cut, size, stall }) => [
      ...cutAt(cut),
      step(stall(), { kind: 'sidecar', suffix: '.done' }),
      ...anew(size, stall()),
    ],
  },
  {
    title: 'uploaded, then its checksum',
    ends: 'whole',
    steps: ({ cut, size, stall, suffix }) => [
      send(cut),
      ...whole(size, stall()),
      step(1, { kind: 'sidecar', suffix: suffix() }),
    ],
  },
  {
    title: 'sent by two clients at once',
    ends: 'whole',
    needs: 'visible',
    holes: true,
    steps: ({ cut, later, size, hole, stall }) => [
      send(later),
      step(stall(), { kind: 'second client' }),
      simply('restart'),
      send(Math.min(cut, hole)),
      step(1, { kind: 'first client' }),
      step(0, { kind: 'send', from: later, to: size }),
      simply('cut'),
      step(stall(), { kind: 'second client' }),
      step(0, { kind: 'send', from: Math.min(cut, hole), to: size }),
      simply('finish'),
    ],
  },
  {
    title: 'removed after a cut',
    ends: 'absent',
    needs: 'visible',
    steps: ({ cut, stall }) => [...cutAt(cut), simply('remove', stall())],
  },
  {
    title: 'removed before it was read',
    ends: 'absent',
    steps: ({ size }) => [...whole(size), step(0, { kind: 'remove' }, 'complete')],
  },
  {
    title: 'reserved, stalled and gone on',
    ends: 'whole',
    needs: 'anywhere',
    holes: true,
    steps: ({ hole, size, stall }) => [
      step(0, { kind: 'reserve', sizeBytes: size }),
      send(hole, stall()),
      ...whole(size, stall()),
    ],
  },
  {
    title: 'reserved, cut and resumed',
    ends: 'whole',
    needs: 'anywhere',
    holes: true,
    steps: ({ hole, size, stall }) => [
      step(0, { kind: 'reserve', sizeBytes: size }),
      ...cutAt(hole),
      ...whole(size, stall()),
    ],
  },
  {
    title: 'reserved, its writer dead',
    ends: 'broken',
    needs: 'anywhere',
    holes: true,
    steps: ({ hole, size }) => [step(0, { kind: 'reserve', sizeBytes: size }), ...cutAt(hole)],
  },
  {
    title: 'its last block first',
    ends: 'whole',
    needs: 'anywhere',
    holes: true,
    steps: ({ hole, size, stall }) => [
      step(0, { kind: 'send', from: hole, to: size }),
      simply('cut'),
      step(stall(), { kind: 'send', from: 0, to: hole }),
      simply('finish'),
    ],
  },
]

/** Longer than any frame of the originals: within the last frame nothing but a checksum tells zeros from sound. */
const leastHoleBytes = 2048

/** The story with this number. Families and kinds of media take turns, so that each meets each; the rest is drawn. */
export function planStory(
  number: number,
  random: Random,
  { abilities, originals }: { abilities: Abilities; originals: Originals },
  directory: string,
): Story {
  const possible = families.filter(({ needs }) => needs === undefined || abilities[needs])
  const family = possible[number % possible.length]!
  const kinds = mediaKinds.filter((kind) => kind !== 'wav' || family.holes !== true)
  const kind = kinds[(number + Math.floor(number / possible.length)) % kinds.length]!
  // Uploads in parts need bytes for more than one part.
  const filling = abilities.visible || !fillable.has(kind) ? 0 : random.whole(6, 12) * 1024 ** 2
  const first = Buffer.concat([originals.make(kind, 2 * number), filling === 0 ? Buffer.alloc(0) : fill(kind, filling)])
  const other = originals.make(kind, 2 * number + 1, 'second')
  const grown = Buffer.concat([first, tail(kind, number)])
  const [cut, later] = [random.whole(1, first.length - 1), random.whole(1, first.length - 1)].sort((a, b) => a - b)
  const path = `${directory}/${number}-${family.title.replaceAll(/\W+/g, '-')}.${extensions[kind]}`
  const unseen = !abilities.visible && family.ends === 'broken' && !family.title.startsWith('truncated')
  return {
    title: `${number} (${kind}, ${family.title})`,
    path,
    uploadPath: family.temporary === true ? `${path}.part` : path,
    contents: [first, other, grown],
    steps: family.steps({
      size: first.length,
      otherSize: other.length,
      grownSize: grown.length,
      cut: cut!,
      later: later!,
      otherCut: random.whole(1, other.length - 1),
      hole: random.whole(1, first.length - leastHoleBytes),
      stall: () => random.whole(1, 180),
      suffix: () => random.pick(['.sha256', '.md5']),
    }),
    ends: unseen ? 'absent' : family.ends,
  }
}

const fillable: ReadonlySet<MediaKind> = new Set(['mp4', 'mp4-end', 'mkv', 'webm'])

/** An element that players skip, of any length, to stand behind a file. */
function fill(kind: MediaKind, sizeBytes: number): Buffer {
  const element = Buffer.alloc(sizeBytes, 'x')
  if (kind === 'mp4' || kind === 'mp4-end') {
    element.writeUInt32BE(sizeBytes)
    element.write('free', 4)
  } else {
    // A Void with a length of eight bytes.
    element.set([0xec, 0x01, 0, 0, 0])
    element.writeUInt32BE(sizeBytes - 9, 5)
  }
  return element
}

/** What may follow the end of a file that is whole without it. */
function tail(kind: MediaKind, number: number): Buffer {
  const mark = String(number).padStart(8, '0')
  if (kind === 'mp3') return Buffer.from(`TAG${mark}`.padEnd(128, ' '), 'latin1')
  if (kind === 'mkv' || kind === 'webm') return Buffer.from(`\xec\x88${mark}`, 'latin1')
  if (kind === 'avi' || kind === 'wav') return Buffer.from(`JUNK\x08\0\0\0${mark}`, 'latin1')
  return Buffer.from(`\0\0\0\x10free${mark}`, 'latin1')
}
