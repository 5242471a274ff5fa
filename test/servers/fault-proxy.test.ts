import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startFaultProxy } from './fault-proxy.ts'
import type { FaultProxy, ProxyFaultKind } from './fault-proxy.ts'

/** Answers each line with `got:` and the line; remembers what arrived. */
let server: Server
const arrived: string[] = []
const open = new Set<Socket>()
let proxy: FaultProxy

beforeAll(async () => {
  server = createServer((socket) => {
    open.add(socket)
    socket.on('error', () => undefined).on('close', () => open.delete(socket))
    let held = ''
    socket.setEncoding('utf8').on('data', (text: string) => {
      held += text
      for (let end = held.indexOf('\n'); end >= 0; end = held.indexOf('\n')) {
        arrived.push(held.slice(0, end))
        socket.write(`got:${held.slice(0, end)}\n`)
        held = held.slice(end + 1)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterAll(() => server.close())
beforeEach(async () => {
  arrived.length = 0
  const { port } = server.address() as AddressInfo
  proxy = await startFaultProxy({ to: { host: '127.0.0.1', port }, seed: 1, name: 'echo' })
})
afterEach(() => proxy.stop())

interface Caller {
  readonly socket: Socket
  /** Sends a line and returns the answer; what else came, or `cut`, or `silence` after this long. */
  ask(line: string, forMs?: number): Promise<string>
}

function call(): Caller {
  const socket = connect(proxy.port, '127.0.0.1')
  let [heard, over] = ['', false]
  socket.on('error', () => (over = true)).on('close', () => (over = true))
  socket.setEncoding('latin1').on('data', (text: string) => (heard += text))
  return {
    socket,
    async ask(line, forMs = 10_000) {
      heard = ''
      socket.write(`${line}\n`)
      const untilMs = Date.now() + forMs
      while (!heard.endsWith('\n')) {
        if (over) return `${heard}cut`
        if (Date.now() > untilMs) return 'silence'
        await pause(5)
      }
      return heard.trim()
    },
  }
}

describe('a proxy that fails on purpose', () => {
  it('passes everything on while nothing is planned, large answers and ends included', async () => {
    const caller = call()
    const large = 'x'.repeat(3_000_000)
    expect(await caller.ask('hello')).toBe('got:hello')
    expect(await caller.ask(large)).toBe(`got:${large}`)
    caller.socket.end()
    await once(caller.socket, 'close')
    expect(proxy.log).toEqual([])
    expect(proxy.calls).toBe(3)
  })

  it('drop: refused at connect, the server never hears of it', async () => {
    proxy.faults.push({ kind: 'drop' })
    expect(await call().ask('one')).toBe('cut')
    expect(await call().ask('two')).toBe('got:two')
    expect(arrived).toEqual(['two'])
    expect(proxy.log).toMatchObject([{ kind: 'drop', connection: 1, call: 0 }])
  })

  it('stall: nothing for a while, then everything', async () => {
    proxy.faults.push({ kind: 'stall', after: 1, stallMs: 400 })
    const caller = call()
    expect(await caller.ask('one', 150)).toBe('silence')
    expect(arrived).toEqual([])
    expect(await caller.ask('two')).toBe('got:one\ngot:two')
  })

  it('heal ends a stall at once', async () => {
    proxy.faults.push({ kind: 'stall', stallMs: 3_600_000 })
    const caller = call()
    expect(await caller.ask('one', 100)).toBe('silence')
    proxy.heal()
    expect(await caller.ask('two')).toBe('got:one\ngot:two')
  })

  it('cut: at this byte of the request, or of the answer', async () => {
    proxy.faults.push({ kind: 'cut', after: 1, direction: 'up', byte: 2 })
    expect(await call().ask('one')).toBe('cut')
    expect(arrived).toEqual([])
    proxy.faults.push({ kind: 'cut', after: 2, direction: 'down', byte: 6 })
    const caller = call()
    expect(await caller.ask('first')).toBe('got:first')
    expect(await caller.ask('second')).toBe('got:secut')
    expect(arrived).toEqual(['first', 'second'])
    expect(proxy.log.map(({ direction, byte }) => [direction, byte])).toEqual([
      ['up', 2],
      ['down', 6],
    ])
  })

  it('slow: a trickle for the rest of the call, full speed for the next', async () => {
    proxy.faults.push({ kind: 'slow', after: 1, bytesPerSecond: 100 })
    const caller = call()
    const begunMs = Date.now()
    expect(await caller.ask('y'.repeat(50))).toBe(`got:${'y'.repeat(50)}`)
    expect(Date.now() - begunMs).toBeGreaterThan(400)
    expect(await caller.ask('z'.repeat(100_000))).toHaveLength(100_004)
  })

  it('flip: one bit, in the request or in the answer', async () => {
    proxy.faults.push({ kind: 'flip', after: 1, direction: 'up', byte: 0 })
    proxy.faults.push({ kind: 'flip', direction: 'down', byte: 4 })
    const caller = call()
    expect(await caller.ask('abc')).toBe('got:qbc')
    expect(await caller.ask('abc')).toBe('got:qbc')
    expect(arrived).toEqual(['qbc', 'abc'])
  })

  it('half open: the server is gone, the client hears nothing, not even an end', async () => {
    proxy.faults.push({ kind: 'half_open', after: 2 })
    const caller = call()
    expect(await caller.ask('one')).toBe('got:one')
    expect(await caller.ask('two', 200)).toBe('silence')
    expect(arrived).toEqual(['one'])
    expect(open.size).toBe(0)
    proxy.heal()
    expect(await caller.ask('three', 200)).toBe('silence')
    expect(caller.socket.destroyed).toBe(false)
    caller.socket.destroy()
    while (proxy.openConnections > 0) await pause(10)
  })

  it('lose answer: done, but reported failed', async () => {
    proxy.faults.push({ kind: 'lose_answer', after: 1 })
    expect(await call().ask('one')).toBe('cut')
    expect(arrived).toEqual(['one'])
  })

  it('cutAll resets every connection', async () => {
    const callers = [call(), call()]
    for (const caller of callers) await caller.ask('x')
    proxy.cutAll()
    for (const caller of callers) expect(await caller.ask('y')).toBe('cut')
  })

  it('a plan hurts about its share of the calls, the same ones for the same seed', async () => {
    const kinds: ProxyFaultKind[] = ['drop', 'cut', 'flip', 'lose_answer', 'stall', 'half_open', 'slow']
    const run = async (seed: number) => {
      const { port } = server.address() as AddressInfo
      const other = await startFaultProxy({ to: { host: '127.0.0.1', port }, seed, name: 'echo' })
      const before = proxy
      proxy = other
      other.setPlan({ rate: 0.2, kinds, stallMs: 20, bytesPerSecond: 10_000 })
      for (let round = 0; round < 100; round += 1) {
        const caller = call()
        await caller.ask('a line', 300)
        caller.socket.destroy()
      }
      const seen = other.log.map(({ kind, connection, call: at }) => `${connection}.${at} ${kind}`)
      const share = other.log.length / other.calls
      proxy = before
      await other.stop()
      return { seen, share }
    }
    const [first, second, third] = [await run(7), await run(7), await run(8)]
    expect(second.seen).toEqual(first.seen)
    expect(third.seen).not.toEqual(first.seen)
    expect(first.share).toBeGreaterThan(0.12)
    expect(first.share).toBeLessThan(0.28)
    expect(new Set(first.seen.map((entry) => entry.split(' ')[1])).size).toBe(kinds.length)
  })

  it('what a plan decides for a call happens in that call', async () => {
    proxy.setPlan({ rate: 1, kinds: ['cut'] })
    for (let round = 0; round < 20; round += 1) expect(await call().ask('x'.repeat(5000))).toMatch(/cut$/)
    expect(proxy.log).toHaveLength(20)
  })

  it('by pace: open connections are hurt although nobody calls', async () => {
    const caller = call()
    await caller.ask('x')
    proxy.setPlan({ everyMs: 20, kinds: ['cut'] })
    while (!caller.socket.destroyed) await pause(10)
    expect(proxy.log).toMatchObject([{ kind: 'cut', connection: 1 }])
  })
})
