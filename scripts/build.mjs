// Compiles the sources to dist/ and bundles the workflows for the worker's sandbox.
import { spawnSync } from 'node:child_process'
import { cpSync, lstatSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { builtFrom, fail, hashSources, root } from './bootstrap.mjs'

const sources = hashSources()

// Each build has a folder of its own until it is whole: another start may build, or already run, what is in dist/.
removeLeftOvers()
const dist = join(root, `dist.${process.pid}`)
const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
const compiled = spawnSync(
  process.execPath,
  [compiler, '-p', 'tsconfig.json', '--outDir', dist, '--incremental', 'false'],
  { cwd: root, stdio: 'inherit' },
)
if (compiled.status !== 0) fail('Compiling failed.')

for (const folder of ['src', 'migrations']) {
  cpSync(join(root, folder), join(dist, folder), {
    recursive: true,
    filter: (path) => lstatSync(path).isDirectory() || !/\.tsx?$/.test(path),
  })
}

stripFailpoints(join(dist, 'src'))

const { bundleWorkflowCode, DefaultLogger } = await import('@temporalio/worker')
const { code } = await bundleWorkflowCode({
  workflowsPath: join(dist, 'src', 'workflows', 'index.js'),
  logger: new DefaultLogger('WARN'),
})
writeFileSync(join(dist, 'workflow-bundle.js'), code)
writeFileSync(join(dist, '.sources'), sources)
moveIntoPlace()

/** Gives the build its name, unless another one of the same sources has it by now. */
function moveIntoPlace() {
  const place = join(root, 'dist')
  const old = `${dist}.old`
  for (let tries = 0; builtFrom() !== sources && tries < 10; tries += 1) {
    ifThere(() => renameSync(place, old))
    ifThere(() => renameSync(dist, place))
    rmSync(old, { recursive: true, force: true })
  }
  rmSync(dist, { recursive: true, force: true })
  if (builtFrom() !== sources) fail('Another build of other sources keeps taking dist/. Run the build again.')
}

/** Two builds may take turns moving: what one finds gone or in its way, the next round finds out again. */
function ifThere(move) {
  try {
    move()
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(error.code)) throw error
  }
}

/** Builds that were killed leave their folder. */
function removeLeftOvers() {
  for (const name of readdirSync(root)) {
    const pid = Number(/^dist\.(\d+)/.exec(name)?.[1])
    if (pid > 0 && !isAlive(pid)) rmSync(join(root, name), { recursive: true, force: true })
  }
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Takes the places where tests make a process die out of what is shipped; lines stay where source maps say they are. */
function stripFailpoints(folder) {
  rmSync(join(folder, 'failpoints'), { recursive: true, force: true })
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js'))
  for (const file of files.map((name) => join(folder, name))) {
    const text = readFileSync(file, 'utf8')
    if (!text.includes('failpoint')) continue
    const stripped = text
      .replace(/^import \{ failpoint \} from '[./]*failpoints\/failpoint\.js';?$/gm, '')
      .replace(/^ *await failpoint\('[a-z0-9.-]+'(?:, [\w.]+(?:\(\w+\))?)?\);?$/gm, '')
    if (/failpoint\(|failpoints\//.test(stripped))
      fail(`${file} calls a failpoint in a form that the build cannot take out.`)
    writeFileSync(file, stripped)
  }
}
