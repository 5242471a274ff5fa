// Compiles the sources to dist/ and bundles the workflows for the worker's sandbox.
import { spawnSync } from 'node:child_process'
import { cpSync, lstatSync, renameSync, rmSync, writeFileSync } from 'node:fs'
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

const { bundleWorkflowCode, DefaultLogger } = await import('@temporalio/worker')
const { code } = await bundleWorkflowCode({
  workflowsPath: join(dist, 'src', 'workflows', 'index.js'),
  logger: new DefaultLogger('WARN'),
})
writeFileSync(join(dist, 'workflow-bundle.js.part'), code)
renameSync(join(dist, 'workflow-bundle.js.part'), join(dist, 'workflow-bundle.js'))

writeFileSync(join(dist, '.sources'), sources)
