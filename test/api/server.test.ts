import { spawn } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { get } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { startServer } from '../../src/server.ts'
import { openStage } from './stage.ts'
import type { Stage } from './stage.ts'

const size = 30_000_000
let stage: Stage
let settings: Record<string, string>
let file = ''
beforeAll(async () => {
  stage = await openStage()
  const keyFile = join(stage.root, 'signing.pem')
  await writeFile(keyFile, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }))
  settings = {
    DATABASE_URL: stage.databaseUrl,
    TEMPORAL_ADDRESS: inject('temporalAddress'),
    TEMPORAL_NAMESPACE: inject('temporalNamespace'),
    SIGNING_KEY_FILE: keyFile,
    API_PORT: '0',
    LOG_LEVEL: 'error',
  }
  const recording = await stage.addRecording(stage.a)
  const bytes = randomBytes(size)
  const id = await stage.addFile(stage.a, recording, {
    name: 'big.mp4',
    kind: 'video',
    contentType: 'video/mp4',
    bytes,
  })
  file = `/api/v1/recordings/${recording}/files/${id}`
})
afterAll(() => stage?.close())

async function download(port: number): Promise<IncomingMessage> {
  const request = get({
    host: '127.0.0.1',
    port,
    path: file,
    headers: { Authorization: `Bearer ${stage.a.keys.user}` },
  })
  const [response] = await once(request, 'response')
  return response
}

/** What a socket that says exactly this gets back. */
async function say(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.write(text)
  let answer = ''
  for await (const chunk of socket) answer += String(chunk)
  return answer
}

describe('the server', () => {
  it('is ready on real servers, and says what to do when its port is taken', async () => {
    const server = await startServer(loadConfig(settings))
    try {
      const ready = await fetch(`http://127.0.0.1:${server.port}/readyz`)
      expect([ready.status, await ready.json()]).toEqual([
        200,
        { status: 'ready', database: 'answers', temporal: 'answers' },
      ])
      const keys = await (await fetch(`http://127.0.0.1:${server.port}/.well-known/reelkeep-keys.json`)).text()
      expect(keys).toMatch(/"keyId":"[0-9a-f]{16}","publicKeyPem":"-----BEGIN PUBLIC KEY/)
      await expect(startServer(loadConfig({ ...settings, API_PORT: String(server.port) }))).rejects.toMatchObject({
        code: 'already_running',
      })
    } finally {
      await server.stop()
    }
    await expect(startServer(loadConfig({ ...settings, SIGNING_KEY_FILE: '/nowhere' }))).rejects.toMatchObject({
      code: 'invalid_config',
    })
  })

  it('a running download ends whole while the server stops; one that is dropped harms nobody', async () => {
    const server = await startServer(loadConfig(settings))
    const dropped = await download(server.port)
    await once(dropped, 'data')
    dropped.destroy()
    const response = await download(server.port)
    const [first] = await once(response, 'data')
    response.pause()
    const stopped = server.stop()
    let received = first.length
    response.on('data', (chunk: Buffer) => (received += chunk.length))
    response.resume()
    await once(response, 'end')
    expect(received).toBe(size)
    await stopped
    await expect(fetch(`http://127.0.0.1:${server.port}/healthz`)).rejects.toThrow()
  })

  it('odd requests on the wire get an answer', async () => {
    const server = await startServer(loadConfig(settings))
    const ask = async (first: string, headers = '', body = '') =>
      (
        await say(
          server.port,
          `${first} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\nAuthorization: Bearer ${stage.a.keys.admin}\r\n${headers}\r\n${body}`,
        )
      ).split('\r\n')[0]
    try {
      expect(await ask('GET /api/v1/recordings')).toBe('HTTP/1.1 200 OK')
      for (const path of [
        '//',
        '//evil.example/',
        '/%2e%2e/%2e%2e/etc/passwd',
        '/../../etc/passwd',
        '/%',
        '/%ff',
        '/api/v1/recordings/%ff',
        '/docs/../../package.json',
      ])
        expect(await ask(`GET ${path}`)).toMatch(/^HTTP\/1\.1 (404|400|200|303|302) /)
      expect(await ask('BREW /api/v1/recordings')).toMatch(/^HTTP\/1\.1 4\d\d /)
      const chunk = `${(65_536).toString(16)}\r\n${'x'.repeat(65_536)}\r\n`
      const post = 'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n'
      expect(await ask('POST /api/v1/people', post, `${chunk.repeat(17)}0\r\n\r\n`)).toBe(
        'HTTP/1.1 413 Payload Too Large',
      )
    } finally {
      await server.stop()
    }
  })

  it('as a process: one line when it listens, and SIGTERM ends it well', async () => {
    const child = spawn(process.execPath, ['--import', 'tsx', 'src/server.ts'], {
      env: { ...process.env, ...settings, LOG_LEVEL: 'info' },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => {
      output += String(chunk)
      if (output.includes('listening')) child.kill('SIGTERM')
    })
    const [code] = await once(child, 'exit')
    expect([code, output.trim().split('\n').length]).toEqual([0, 1])
    expect(JSON.parse(output)).toMatchObject({ msg: 'listening', host: '127.0.0.1' })
  })
})
