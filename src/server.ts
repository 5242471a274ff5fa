import { createHash, createPrivateKey, createPublicKey } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { once } from 'node:events'
import { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pathToFileURL } from 'node:url'
import { serve } from '@hono/node-server'
import { createApp } from './api/app.ts'
import type { SigningKey } from './api/env.ts'
import { openStoreBook } from './api/media-source.ts'
import { createMetrics } from './api/metrics.ts'
import { openPipeline } from './api/pipeline.ts'
import { loadConfig } from './config.ts'
import type { Config } from './config.ts'
import { openDatabase } from './db/connect.ts'
import { ReelkeepError } from './domain/errors.ts'
import { createLogger } from './log.ts'

/** API and console, listening. */
export interface RunningServer {
  readonly port: number
  /** Takes no new connection, lets running requests finish for ten seconds, then closes everything. A second call waits too. */
  stop(): Promise<void>
}

const drainMs = 10_000

/** Starts API and console; databases and Temporal may come up later. @throws invalid_config, already_running */
export async function startServer(config: Config): Promise<RunningServer> {
  const log = createLogger(config.logLevel, 'api')
  const signingKeys = [await readSigningKey(config.signingKeyFile)]
  const db = openDatabase(config.databaseUrl)
  const pipeline = openPipeline(config.temporal)
  const stores = openStoreBook({ db, resolveSecret: (name) => config.resolveSecret(name), log })
  const app = createApp({ db, pipeline, stores, config, log, metrics: createMetrics(), signingKeys })
  const closeAll = async () => {
    await Promise.all([stores.close(), pipeline.close(), db.close()])
  }
  const server = serve({ fetch: app.fetch, hostname: config.api.host, port: config.api.port })
  if (!(server instanceof Server)) throw new TypeError('The server speaks plain HTTP.')
  const port = await listening(server, config).catch(async (error: unknown) => {
    await closeAll()
    throw error
  })
  log.info({ host: config.api.host, port }, 'listening')
  let stopping: Promise<void> | null = null
  return { port, stop: () => (stopping ??= drain(server).then(closeAll)) }
}

async function listening(server: Server, config: Config): Promise<number> {
  try {
    if (!server.listening) await once(server, 'listening')
  } catch (error) {
    throw new ReelkeepError(
      'already_running',
      `${config.api.host}:${config.api.port} cannot be listened on; stop what uses it, or set API_PORT to another port.`,
      { cause: error },
    )
  }
  return addressOf(server).port
}

function addressOf(server: Server): AddressInfo {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new TypeError('The server listens on a port.')
  return address
}

async function drain(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  // A connection that finishes its request now would be kept alive for the next one.
  const idle = setInterval(() => server.closeIdleConnections(), 50)
  const tooLong = setTimeout(() => server.closeAllConnections(), drainMs)
  await closed
  clearInterval(idle)
  clearTimeout(tooLong)
}

/** The public half of the key that signs certificates, as the world may know it. */
async function readSigningKey(file: string): Promise<SigningKey> {
  try {
    const key = createPublicKey(createPrivateKey(await readFile(file)))
    const keyId = createHash('sha256')
      .update(key.export({ type: 'spki', format: 'der' }))
      .digest('hex')
      .slice(0, 16)
    return { keyId, publicKeyPem: key.export({ type: 'spki', format: 'pem' }).toString() }
  } catch (error) {
    throw new ReelkeepError(
      'invalid_config',
      `SIGNING_KEY_FILE ${file} holds no private key (PEM) that can be read; make one with "openssl genpkey -algorithm ed25519".`,
      {
        cause: error,
      },
    )
  }
}

async function main(): Promise<void> {
  const starting = startServer(loadConfig())
  // Before anything says that it listens: whoever reads that line may stop it at once.
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.once(signal, () => {
      void starting.then((server) => server.stop()).then(() => process.exit(0))
    })
  await starting
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href)
  await main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof ReelkeepError ? error.message : String(error)}\n`)
    process.exitCode = 1
  })
