// What has to be true before any of Reelkeep's own code can run: Node, packages, compiled sources. Node built-ins only.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** The checkout. */
export const root = resolve(fileURLToPath(new URL('..', import.meta.url)))

const buildStamp = join(root, 'dist', '.sources')

/** Progress goes to stderr: stdout belongs to the command's own answer. */
export function say(line) {
  process.stderr.write(`${line}\n`)
}

/** Ends the process with one clear line. */
export function fail(line, code = 1) {
  say(line)
  process.exit(code)
}

/** Node >= 20.19, or the end with a sentence instead of a syntax error somewhere later. */
export function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  fail(`Reelkeep needs Node 20.19 or newer (22 or 24 recommended); this is ${process.versions.node}.`)
}

/** Runs `npm ci` when packages are missing or differ from the lock file; else costs milliseconds. */
export function ensurePackages({ development }) {
  const reason = packagesProblem(development)
  if (reason === null) return
  say(`Installing packages (npm ci; ${reason})…`)
  const npm = process.env.npm_execpath
  const args = ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error']
  const [command, ...first] = npm?.endsWith('.js') ? [process.execPath, npm] : ['npm']
  const done = spawnSync(command, [...first, ...args], { cwd: root, stdio: ['ignore', 2, 2] })
  if (done.status !== 0)
    fail('Installing packages failed. Check the network and run `npm ci` to see everything npm says.')
}

/** npm writes its record of what is installed last: a cut-off installation has none, or an older one. */
function packagesProblem(development) {
  const record = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(record)) return 'none are installed yet'
  const wanted = readJson(join(root, 'package-lock.json')).packages
  const installed = readJson(record).packages ?? {}
  for (const [path, { version, dev, optional, devOptional }] of Object.entries(wanted)) {
    const found = installed[path]
    const needed = path !== '' && !optional && (development || !(dev || devOptional))
    if (found === undefined ? needed : found.version !== version)
      return `${path.replace('node_modules/', '')} ${version} is missing`
  }
  return null
}

function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'))
}

/** Builds when sources changed since the last build. An image that carries only the result is taken as it is. */
export function ensureBuilt() {
  if (!existsSync(join(root, 'src'))) return
  if (builtFrom() === hashSources()) return
  say('Building (about 5 s)…')
  // A process of its own: the bundler's memory does not stay in a server that runs for months.
  const done = spawnSync(process.execPath, [join(root, 'scripts', 'build.mjs')], { cwd: root, stdio: ['ignore', 2, 2] })
  if (done.status !== 0) fail('The build failed; the messages above say where.')
}

/** The hash of the sources that dist/ was built from, or null. */
export function builtFrom() {
  return existsSync(buildStamp) ? readFileSync(buildStamp, 'utf8') : null
}

/** One hash over everything the build reads. */
export function hashSources() {
  const hash = createHash('sha256').update(process.version)
  for (const file of ['tsconfig.json', 'package-lock.json', 'scripts/build.mjs']) addFile(hash, file)
  for (const folder of ['src', 'migrations', 'bench']) addFolder(hash, folder)
  return hash.digest('hex')
}

function addFolder(hash, folder) {
  const entries = readdirSync(join(root, folder), { withFileTypes: true })
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) addFolder(hash, path)
    else if (entry.isFile()) addFile(hash, path)
  }
}

function addFile(hash, path) {
  const content = readFileSync(join(root, path))
  hash.update(`${path}\0${content.length}\0`).update(content)
}

/**
 * Becomes another program, in this very process: signals, exit code and terminal are simply its own.
 * @param {string} file compiled program below the checkout
 * @param {readonly string[]} args
 */
export async function become(file, args) {
  const path = join(root, file)
  process.argv = [process.argv[0], path, ...args]
  process.setSourceMapsEnabled(true)
  await import(pathToFileURL(path).href)
}

/**
 * The same for a program that is not compiled, because only tests run it.
 * @param {string} file TypeScript below the checkout
 * @param {readonly string[]} args
 */
export async function becomeTypeScript(file, args) {
  await import('tsx')
  await become(file, args)
}
