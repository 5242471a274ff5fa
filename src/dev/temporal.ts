import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { runCommand } from './commands.ts'
import type { Say } from './commands.ts'
import { holdsPort } from './listening.ts'
import { choosePorts, isPortFree } from './processes.ts'
import { startService } from './supervisor.ts'
import type { Service } from './supervisor.ts'

/** Types a Temporal search attribute can have. */
export type SearchAttributeType = 'Keyword' | 'KeywordList' | 'Text' | 'Int' | 'Double' | 'Bool' | 'Datetime'

/** How a local Temporal server is started. */
export interface LocalTemporalOptions {
  /** The `temporal` program, see `resolveTemporal`. */
  readonly binary: string
  /** Its whole state: started again with the same file, every workflow continues. */
  readonly dbFile: string
  /** Preferred; another one is taken when it is in use. */
  readonly port?: number
  /** Preferred; null starts without the UI. */
  readonly uiPort?: number | null
  readonly namespace: string
  /** Lets clocks of single workflows be advanced. For demo and tests only: never true on a stack that keeps real recordings. */
  readonly fastForward: boolean
  readonly searchAttributes: Readonly<Record<string, SearchAttributeType>>
  readonly logFile: string
  readonly runDir: string
  readonly say: Say
}

/** A Temporal server of our own on 127.0.0.1. */
export interface LocalTemporal extends Service {
  readonly address: string
  readonly uiUrl: string | null
}

/**
 * Starts (or adopts) a Temporal server and waits until its namespace knows every search attribute. After a crash it is
 * started again on the same file. Where another stack that starts at the same time takes a port first, it takes others.
 * @throws missing_tool with the end of its log
 */
export async function startTemporal(options: LocalTemporalOptions): Promise<LocalTemporal> {
  const { runDir, uiPort } = options
  await mkdir(dirname(options.dbFile), { recursive: true })
  const wanted = [options.port, undefined, undefined, ...(uiPort === null ? [] : [uiPort])]
  for (let attempt = 1; ; attempt++) {
    // Where two lose to each other again, the third time nobody insists on a port.
    const ports = await choosePorts(runDir, 'temporal', attempt < 3 ? wanted : wanted.map(() => undefined))
    try {
      return await startOn(options, ports)
    } catch (error) {
      if (attempt === 3 || !(await lostAPort(error, ports))) throw error
    }
  }
}

/** Whoever took the port may have lost another one itself and be gone: that it is free now does not say that it was. */
async function lostAPort(error: unknown, ports: readonly number[]): Promise<boolean> {
  if (String(error).includes('address already in use')) return true
  return !(await Promise.all(ports.map(isPortFree))).every(Boolean)
}

async function startOn(options: LocalTemporalOptions, ports: readonly number[]): Promise<LocalTemporal> {
  const { binary, runDir } = options
  const [port = 0] = ports
  const address = `127.0.0.1:${port}`
  const service = await startService({
    name: 'temporal',
    command: binary,
    args: serverArgs(options, ports),
    ports,
    runDir,
    logFile: options.logFile,
    ready: async (pid) => (await holdsPort(pid, port)) && isReady(options, address),
    readyTimeoutMs: 60_000,
    // It answers SIGTERM within a second, whatever its clients do; its file survives SIGKILL too.
    graceMs: 10_000,
    say: options.say,
  })
  return {
    address,
    uiUrl: ports[3] === undefined ? null : `http://127.0.0.1:${ports[3]}`,
    adopted: service.adopted,
    get pid() {
      return service.pid
    },
    stop: () => service.stop(),
  }
}

function serverArgs(options: LocalTemporalOptions, ports: readonly number[]): string[] {
  const [port, httpPort, metricsPort, uiPort] = ports
  const args = ['server', 'start-dev', '--ip', '127.0.0.1', '--log-level', 'warn', '--log-format', 'json']
  args.push(
    '--db-filename',
    options.dbFile,
    '--sqlite-pragma',
    'journal_mode=WAL',
    '--sqlite-pragma',
    'synchronous=NORMAL',
  )
  args.push('--port', String(port), '--http-port', String(httpPort), '--metrics-port', String(metricsPort))
  if (uiPort === undefined) args.push('--headless')
  else args.push('--ui-port', String(uiPort), '--ui-disable-news-fetch')
  args.push('--namespace', options.namespace)
  for (const [name, type] of Object.entries(options.searchAttributes))
    args.push('--search-attribute', `${name}=${type}`)
  if (options.fastForward) args.push('--dynamic-config-value', 'frontend.WorkflowTimeSkippingEnabled=true')
  return args
}

/**
 * Ready is: it serves, the namespace is there, its search attributes are known. They are registered here and not by the
 * server's own flag, which works only while it creates the namespace: a later release could never add one.
 */
async function isReady(
  { binary, namespace, searchAttributes }: LocalTemporalOptions,
  address: string,
): Promise<boolean> {
  const ask = (action: string, args: readonly string[]) =>
    runCommand(
      binary,
      ['operator', 'search-attribute', action, '--namespace', namespace, '--address', address, ...args],
      {
        timeoutMs: 10_000,
      },
    )
  const known = await ask('list', ['--output', 'json'])
  if (known.code !== 0) return false
  const missing = Object.entries(searchAttributes).filter(([name]) => !known.stdout.includes(`"${name}"`))
  if (missing.length === 0) return true
  await ask(
    'create',
    missing.flatMap(([name, type]) => ['--name', name, '--type', type]),
  )
  return false
}
