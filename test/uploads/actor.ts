import { createHash } from 'node:crypto'
import { sha256 } from '../activities/ingest-fixture.ts'
import type { Act, Moment, Step, Story } from './stories.ts'
import type { Place, Uploader } from './uploader.ts'
import type { Sighting } from './verdict.ts'

/** Where an uploader that keeps the times of its sources sets them. */
const oldTime = new Date('2001-02-03T04:05:06Z')

/** Plays one story: each step at its second, and after it a look at what really stands under the final name. */
export class Actor {
  readonly story: Story
  readonly sightings: Sighting[] = []
  /** Ids of recordings its uploads became, and when. */
  readonly acceptedAt = new Map<string, number>()
  /** When it did something for the last time. */
  lastSecond = 0
  readonly #place: Place
  readonly #steps: Step[]
  readonly #clients: { readonly uploader: Uploader; sent: number }[] = []
  #client = 0
  #name: string
  #zeroMs = 0

  constructor(story: Story, place: Place) {
    this.story = story
    this.#place = place
    this.#steps = [...story.steps]
    this.#name = story.uploadPath
  }

  get isOver(): boolean {
    return this.#steps.length === 0
  }

  /** Its first step is due at this second of a clock that stood at `zeroMs` when all stories began. */
  begin(zeroMs: number, second: number): void {
    this.#zeroMs = zeroMs
    this.lastSecond = second
  }

  /** True while it acts by the clock, or what it did last may still be on its way in. */
  isBusy(second: number): boolean {
    const [next] = this.#steps
    return (next !== undefined && next.once === undefined) || second < this.lastSecond + 60
  }

  /** Does everything that is due until this second. */
  async advance(second: number): Promise<void> {
    for (;;) {
      const [next] = this.#steps
      if (next === undefined || next.once !== undefined || this.lastSecond + next.afterSeconds > second) return
      this.#steps.shift()
      await this.#perform(next.act, this.lastSecond + next.afterSeconds)
    }
  }

  /** The product got to this moment: what waited for it goes on, at once where nothing else is said. */
  async reach(moment: Moment, second: number): Promise<void> {
    const [next] = this.#steps
    if (next?.once !== moment) return
    this.#steps[0] = { afterSeconds: next.afterSeconds, act: next.act }
    this.lastSecond = second
    await this.advance(second)
  }

  async readHash(): Promise<string | null> {
    const bytes = await this.#place.read(this.story.path)
    return bytes === null ? null : sha256(bytes)
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map(({ uploader }) => uploader.close()))
  }

  async #perform(act: Act, second: number): Promise<void> {
    try {
      await this.#do(act)
    } catch (error) {
      throw new Error(`${this.story.title} could not ${act.kind} at ${second} s`, { cause: error })
    }
    // The server's own clock stands still compared with the story's: two writes would seem to be of one moment.
    if (act.kind === 'send' || act.kind === 'restart' || act.kind === 'reserve' || act.kind === 'truncate')
      await this.#place.stamp(this.#name, new Date(this.#zeroMs + second * 1000))
    this.lastSecond = second
    this.sightings.push({ atSecond: second, sha256: await this.readHash() })
  }

  async #do(act: Act): Promise<void> {
    const { contents, path } = this.story
    const client = (this.#clients[this.#client] ??= { uploader: this.#place.connect(), sent: 0 })
    const { uploader } = client
    switch (act.kind) {
      case 'send': {
        await uploader.send(this.#name, contents[act.content ?? 0]!, act.from ?? client.sent, act.to)
        client.sent = act.to
        return
      }
      case 'restart':
        await uploader.restart(this.#name)
        client.sent = 0
        return
      case 'reserve':
        return uploader.reserve(this.#name, act.sizeBytes)
      case 'cut':
        return uploader.cut()
      case 'finish':
        return uploader.finish()
      case 'rename':
        await uploader.rename(this.#name, path)
        this.#name = path
        return
      case 'sidecar':
        return uploader.put(path + act.suffix, Buffer.from(sidecarText(act.suffix, contents[0]!, path)))
      case 'truncate':
        return uploader.truncate(this.#name, contents[0]!, act.sizeBytes)
      case 'old time':
        return uploader.setTime(this.#name, oldTime)
      case 'remove':
        return uploader.remove(this.#name)
      case 'first client':
      case 'second client':
        this.#client = act.kind === 'first client' ? 0 : 1
    }
  }
}

function sidecarText(suffix: '.sha256' | '.md5' | '.done', content: Buffer, path: string): string {
  if (suffix === '.done') return ''
  const hash = createHash(suffix === '.md5' ? 'md5' : 'sha256').update(content)
  return `${hash.digest('hex')}  ${path.slice(path.lastIndexOf('/') + 1)}\n`
}
