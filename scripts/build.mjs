// Compiles the sources to dist/ and bundles the workflows for the worker's sandbox.
import { spawnSync } from 'node:child_process'
import { cpSync, lstatSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fail, hashSources, root } from './bootstrap.mjs'

const dist = join(root, 'dist')
const sources = hashSources()

// Files of sources that are gone must not stay behind; without its stamp an interrupted build is made again.
rmSync(dist, { recursive: true, force: true })
const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
const compiled = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.json'], { cwd: root, stdio: 'inherit' })
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
writeFileSync(join(dist, 'workflow-bundle.js.part'), code)
renameSync(join(dist, 'workflow-bundle.js.part'), join(dist, 'workflow-bundle.js'))

writeFileSync(join(dist, '.sources'), sources)

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
