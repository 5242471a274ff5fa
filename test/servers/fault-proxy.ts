import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'

/**
 * How a network fails. `flip` belongs only where the protocol notices it (SSH's MAC, TLS, checksums of S3): SMTP and
 * Postgres without TLS take every byte on trust, and what is wrong there is what TLS is for, not what a worker can see.
 */
export type ProxyFaultKind =
  /** Refuses the connection with a reset. Only at connect. */
  | 'drop'
  /** Passes nothing on, in either direction, for a while; then goes on as if nothing had been. */
  | 'stall'
  /** Resets both sides at a byte of the request (`up`) or of the answer (`down`). */
  | 'cut'
  /** Passes bytes on slowly for the rest of the call. */
  | 'slow'
  /** Turns one bit over. */
  | 'flip'
  /** The server's side is gone; the client's stays open, swallows everything and never answers. */
  | 'half_open'
  /** The whole request arrives; the connection is cut as the answer begins: done, but reported failed. */
  | 'lose_answer'

/** Towards the server, or back. */
export type Direction = 'up' | 'down'

/** One fault to come. It begins with a call; its byte counts from that call's first byte in its direction. */
export interface ProxyFault {
  readonly kind: ProxyFaultKind
  /** Calls that still go well before it, over all connections. A connection's beginning is a call of its own. */
  after?: number
  readonly direction?: Direction
  readonly byte?: number
  readonly stallMs?: number
  readonly bytesPerSecond?: number
}

/**
 * Random faults. By `rate`, each call decides for itself whether and how it fails. By `everyMs`, where calls cannot be
 * told apart (HTTP/2 carries many at once), a random open connection is hurt at that pace.
 */
export interface ProxyPlan {
  readonly kinds: readonly ProxyFaultKind[]
  readonly rate?: number
  readonly everyMs?: number
  /** Longest stall; each is a random part of it. */
  readonly stallMs?: number
  readonly bytesPerSecond?: number
}

/** What was done to whom. */
export interface ProxyEvent {
  readonly atMs: number
  readonly connection: number
  readonly call: number
  readonly kind: ProxyFaultKind
  readonly direction: Direction
  /** Counted from the call's first byte. */
  readonly byte: number
}

/** A proxy in front of one server. */
export interface FaultProxy {
  readonly name: string
  readonly port: number
  /** Faults to come, in order, for the next calls. They come before the plan's. */
  readonly faults: ProxyFault[]
  readonly log: readonly ProxyEvent[]
  /** Calls seen so far, to say which share of them failed. */
  readonly calls: number
  readonly openConnections: number
  setPlan(plan: ProxyPlan | null): void
  /** No fault from here on, and stalls end. A half-open connection stays what it is: nobody mends one but its client. */
  heal(): void
  /** Resets every connection. */
  cutAll(): void
  stop(): Promise<void>
}

interface Armed extends ProxyFault {
  readonly direction: Direction
  /** `null` = decided when the first bytes of its direction come, by `part`. */
  at: number | null
  readonly part: number
  /** It waits for its byte through later calls; a fault of the plan passes with its call. */
  readonly lasting: boolean
}

interface Link {
  readonly number: number
  readonly client: Socket
  readonly server: Socket
  call: number
  speaker: Direction
  /** Bytes of the present call. */
  readonly passed: Record<Direction, number>
  armed: Armed | null
  slow: number | null
  halfOpen: boolean
  /** Nothing passes before this settles. */
  gate: Promise<unknown>
}

interface Inside {
  readonly name: string
  readonly seed: number
  readonly faults: ProxyFault[]
  readonly log: ProxyEvent[]
  readonly links: Set<Link>
  plan: ProxyPlan | null
  healed: AbortController
  calls: number
  connections: number
}

/**
 * Starts a proxy. A call is a burst of the client after the server had last spoken, which holds for Postgres, SMTP,
 * SFTP and HTTP/1; the connect is call 0. The same seed does the same to the same call of the same connection.
 */
export async function startFaultProxy(options: {
  to: { host: string; port: number }
  seed: number
  name: string
}): Promise<FaultProxy> {
  const inside: Inside = {
    name: options.name,
    seed: options.seed,
    faults: [],
    log: [],
    links: new Set(),
    plan: null,
    healed: new AbortController(),
    calls: 0,
    connections: 0,
  }
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => accept(inside, options.to, client))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port')
  let pacing: NodeJS.Timeout | undefined
  const pace = () => {
    clearTimeout(pacing)
    const everyMs = inside.plan?.everyMs
    if (everyMs === undefined) return
    const beats = inside.log.length + inside.connections
    pacing = setTimeout(
      () => {
        hurtOne(inside)
        pace()
      },
      everyMs * (0.5 + draw(inside, 'pace', beats)(0)),
    )
  }
  const cutAll = () => {
    for (const link of inside.links) cut(link)
  }
  const setPlan = (plan: ProxyPlan | null) => {
    inside.plan = plan
    pace()
  }
  return {
    name: options.name,
    port: address.port,
    faults: inside.faults,
    log: inside.log,
    get calls() {
      return inside.calls
    },
    get openConnections() {
      return inside.links.size
    },
    setPlan,
    heal() {
      inside.faults.length = 0
      setPlan(null)
      for (const link of inside.links) {
        link.armed = null
        link.slow = null
      }
      inside.healed.abort()
      inside.healed = new AbortController()
    },
    cutAll,
    async stop() {
      setPlan(null)
      inside.healed.abort()
      cutAll()
      server.close()
      await once(server, 'close')
    },
  }
}

function accept(inside: Inside, to: { host: string; port: number }, client: Socket): void {
  inside.connections += 1
  const number = inside.connections
  client.on('error', () => undefined)
  const armed = armCall(inside, number, 0)
  if (armed?.kind === 'drop') {
    note(inside, { number, call: 0, passed: { up: 0, down: 0 } }, armed)
    client.resetAndDestroy()
    return
  }
  const server = connect({ ...to, allowHalfOpen: true, noDelay: true })
  server.on('error', () => undefined)
  const passed = { up: 0, down: 0 }
  const link: Link = {
    number,
    client,
    server,
    call: 0,
    speaker: 'down',
    passed,
    armed,
    slow: null,
    halfOpen: false,
    gate: Promise.resolve(),
  }
  inside.links.add(link)
  begin(inside, link)
  void Promise.all([pump(inside, link, 'up'), pump(inside, link, 'down')]).finally(() => inside.links.delete(link))
}

/** What a fault does as soon as its call begins; the others wait for their byte. */
function begin(inside: Inside, link: Link): void {
  const { armed } = link
  if (armed === null) return
  if (armed.kind === 'stall') {
    note(inside, link, armed)
    link.gate = pause(armed.stallMs ?? 1000, undefined, { signal: inside.healed.signal }).catch(() => undefined)
    link.armed = null
  } else if (armed.kind === 'half_open') {
    note(inside, link, armed)
    link.halfOpen = true
    link.server.destroy()
    link.armed = null
  } else if (armed.kind === 'slow') {
    note(inside, link, armed)
    link.slow = armed.bytesPerSecond ?? 10_000
    link.armed = null
  }
}

async function pump(inside: Inside, link: Link, direction: Direction): Promise<void> {
  const [from, to] = direction === 'up' ? [link.client, link.server] : [link.server, link.client]
  try {
    for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      if (direction === 'up') hear(inside, link)
      else link.speaker = 'down'
      await link.gate
      if (link.halfOpen) continue
      const bytes = harm(inside, link, direction, chunk)
      link.passed[direction] += chunk.length
      if (bytes.length > 0) await pass(inside, link, bytes, to)
      if (bytes.length < chunk.length) cut(link)
    }
    // A client that gave up on a half-open connection has nothing left to end.
    if (link.halfOpen && direction === 'up') link.client.destroy()
    else if (!link.halfOpen) to.end()
  } catch {
    if (!link.halfOpen || direction === 'up') cut(link)
  }
}

/** A client's burst after the server spoke is a new call, with a fate of its own. */
function hear(inside: Inside, link: Link): void {
  if (link.speaker === 'up') return
  link.speaker = 'up'
  if (link.halfOpen) return
  link.call += 1
  if (link.armed?.lasting === true) {
    inside.calls += 1
    return
  }
  link.slow = null
  link.passed.up = 0
  link.passed.down = 0
  link.armed = armCall(inside, link.number, link.call)
  begin(inside, link)
}

/** The bytes that go on: all of them, changed ones, or fewer, after which the connection is cut. */
function harm(inside: Inside, link: Link, direction: Direction, chunk: Buffer): Buffer {
  const { armed } = link
  if (armed === null || armed.direction !== direction) return chunk
  // Small messages are hit where they are; a body, a few chunks deep.
  armed.at ??= Math.floor(armed.part * chunk.length * (chunk.length < 16_384 ? 1 : 3))
  const offset = armed.kind === 'lose_answer' ? 0 : armed.at - link.passed[direction]
  if (offset < 0 || offset >= chunk.length) return chunk
  link.armed = null
  note(inside, link, armed, link.passed[direction] + offset)
  if (armed.kind !== 'flip') return chunk.subarray(0, offset)
  const flipped = Buffer.from(chunk)
  flipped[offset] = (flipped[offset] ?? 0) ^ 0x10
  return flipped
}

async function pass(inside: Inside, link: Link, bytes: Buffer, to: Socket): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const piece = link.slow === null ? bytes.subarray(at) : bytes.subarray(at, at + Math.ceil(link.slow / 10))
    at += piece.length
    if (to.destroyed) throw new Error('the other side is gone')
    if (!to.write(piece)) await Promise.race([once(to, 'drain'), once(to, 'close')])
    if (link.slow !== null) await pause(100, undefined, { signal: inside.healed.signal }).catch(() => undefined)
  }
}

function cut(link: Link): void {
  link.client.resetAndDestroy()
  link.server.resetAndDestroy()
}

/** The fault of this call, or none: scripted ones first, then by the plan. */
function armCall(inside: Inside, connection: number, call: number): Armed | null {
  inside.calls += 1
  const scripted = takeScripted(inside, call === 0)
  if (scripted !== null) {
    const fallback: Direction = scripted.kind === 'lose_answer' ? 'down' : 'up'
    const lasting = scripted.byte !== undefined
    return { ...scripted, direction: scripted.direction ?? fallback, at: scripted.byte ?? null, part: 0, lasting }
  }
  const { plan } = inside
  const random = draw(inside, connection, call)
  if (plan?.rate === undefined || random(0) >= plan.rate) return null
  const atConnect: readonly ProxyFaultKind[] = ['drop', 'stall', 'half_open']
  const kinds = plan.kinds.filter((kind) => (call === 0 ? atConnect.includes(kind) : kind !== 'drop'))
  const kind = kinds[Math.floor(random(1) * kinds.length)]
  if (kind === undefined) return null
  return {
    kind,
    direction: kind === 'lose_answer' || random(2) < 0.5 ? 'down' : 'up',
    at: null,
    part: random(3),
    lasting: false,
    stallMs: Math.ceil(random(4) * (plan.stallMs ?? 1000)),
    bytesPerSecond: plan.bytesPerSecond ?? 20_000,
  }
}

function takeScripted({ faults }: Inside, atConnect: boolean): ProxyFault | null {
  const [first] = faults
  if (first === undefined) return null
  if ((first.after ?? 0) > 0) {
    first.after = (first.after ?? 0) - 1
    return null
  }
  if (first.kind === 'drop' && !atConnect) return null
  faults.shift()
  return first
}

/** By pace: one open connection is cut, stalled or left half-open. */
function hurtOne(inside: Inside): void {
  const { plan } = inside
  const links = [...inside.links].filter((link) => !link.halfOpen)
  const random = draw(inside, 'pace', inside.log.length)
  const link = links[Math.floor(random(0) * links.length)]
  const kind = plan?.kinds[Math.floor(random(1) * plan.kinds.length)]
  if (link === undefined || plan === null || kind === undefined) return
  const stallMs = Math.ceil(random(2) * (plan.stallMs ?? 1000))
  const armed: Armed = { kind, direction: 'down', at: null, part: 0, lasting: false, stallMs }
  link.armed = armed
  if (kind === 'cut') {
    link.armed = null
    note(inside, link, armed)
    cut(link)
  } else begin(inside, link)
}

function note(
  inside: Inside,
  link: Pick<Link, 'number' | 'call' | 'passed'>,
  { kind, direction }: Armed,
  byte = link.passed[direction],
): void {
  inside.log.push({ atMs: Date.now(), connection: link.number, call: link.call, kind, direction, byte })
}

/** Random numbers in [0, 1) that depend on nothing but seed, proxy, connection and call. */
function draw({ seed, name }: Inside, connection: number | string, call: number): (index: number) => number {
  const bytes = createHash('sha256').update(`${seed}/${name}/${connection}/${call}`).digest()
  return (index) => bytes.readUInt32BE(index * 4) / 2 ** 32
}
