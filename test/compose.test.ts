import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { loadConfig, settings } from '../src/config.ts'
import { productSearchAttributes } from '../src/workflows/search-attributes.ts'

interface Service {
  image?: string
  build?: string
  command?: string[] | string
  environment?: Record<string, string>
  healthcheck?: unknown
  ports?: string[]
  volumes?: string[]
  secrets?: string[]
  depends_on?: Record<string, { condition: string }>
}

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
const compose: { services: Record<string, Service>; volumes: Record<string, null>; secrets: Record<string, unknown> } =
  parse(read('docker-compose.temporal.yml'), { merge: true })
const services = Object.entries(compose.services)
const programs = services.filter(
  ([, { command, image }]) => image?.startsWith('reelkeep:') && !String(command).includes('cli.js'),
)
const names: readonly string[] = settings.map((setting) => setting.name)

test.each(programs)(
  '%s gets exactly settings that config.ts reads, and all it must have',
  (_name, { environment = {} }) => {
    expect(Object.keys(environment).filter((name) => !names.includes(name))).toEqual([])
    const filled = Object.fromEntries(
      Object.entries(environment).map(([name, value]) => [name, value.replaceAll(/\$\{\w+(?::[-?]([^}]*))?\}/g, '$1')]),
    )
    expect(loadConfig(filled).temporal.namespace).toBe('reelkeep')
  },
)

test('every setting is used by a service or is rightly left to its default', () => {
  const given = new Set(services.flatMap(([, { environment = {} }]) => Object.keys(environment)))
  const inDockerfile = /^ENV (.*)$/m.exec(read('Dockerfile'))?.[1] ?? ''
  const missing = names.filter((name) => !given.has(name) && !inDockerfile.includes(`${name}=`))
  expect(missing).toEqual(['FFMPEG_PATH', 'FFPROBE_PATH'])
})

test('encodes are a service of their own', () => {
  expect(programs.map(([name, { environment }]) => [name, environment?.['WORKER_ROLES']])).toEqual([
    ['api', undefined],
    ['life-worker', 'life'],
    ['encode-worker', 'encode'],
  ])
})

test.each(services)(
  '%s has a pinned image, a health check unless it is a job, and known dependencies',
  (_name, service) => {
    expect(service.image).toMatch(/^[\w./-]+:\d+\.\d+[\w.-]*$/)
    const isJob = services.some(
      ([, other]) => other.depends_on?.[_name]?.condition === 'service_completed_successfully',
    )
    if (!isJob && !['temporal-ui', 's3-bucket'].includes(_name)) expect(service.healthcheck).toBeDefined()
    for (const [wanted, { condition }] of Object.entries(service.depends_on ?? {})) {
      expect(compose.services).toHaveProperty([wanted])
      if (condition === 'service_healthy') expect(compose.services[wanted]?.healthcheck).toBeDefined()
    }
    for (const volume of service.volumes ?? []) {
      const source = volume.replace(/:.*/, '')
      if (!/^[./]/.test(source)) expect(compose.volumes).toHaveProperty([source])
    }
    for (const secret of service.secrets ?? []) expect(compose.secrets).toHaveProperty([secret])
  },
)

test('only the SFTP inbox listens beyond loopback', () => {
  const open = services.flatMap(([name, { ports = [] }]) =>
    ports.filter((port) => !port.startsWith('127.0.0.1:')).map(() => name),
  )
  expect(open).toEqual(['sftp'])
})

test('Temporal gets the search attributes that recordings are filtered by', () => {
  const script = read('docker/temporal/namespace.sh')
  const made = [...script.matchAll(/\b(\w+)=(Keyword|Datetime|Int|Bool)\b/g)].map(([, name, type]) => [name, type])
  expect(Object.fromEntries(made)).toEqual(productSearchAttributes)
})

test('the image is built from the lock file on a pinned base, and holds no secret', () => {
  const dockerfile = read('Dockerfile')
  expect([...dockerfile.matchAll(/^FROM (\S+)/gm)].every(([, image]) => /:\d+\.\d+\.\d+-/.test(`${image}`))).toBe(true)
  expect(dockerfile).toContain('COPY package.json package-lock.json .npmrc ./\nRUN npm ci')
  expect(dockerfile).toMatch(/^USER node$/m)
  expect(read('.dockerignore')).toMatch(/^\*$/m)
})
