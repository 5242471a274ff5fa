import { DefaultLogger, Runtime } from '@temporalio/worker'
import { loadConfig } from '../../src/config.ts'
import { enableFailpoints } from '../../src/failpoints/failpoint.ts'
import { startWorkers } from '../../src/worker.ts'
import { hangMs } from './short-timeouts.ts'

// The worker as it is shipped, but with its failpoints, in a process that may die at any of them.
Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [] })
const { WORKFLOW_BUNDLE: codePath = '', FAILPOINTS_DIR: directory = '' } = process.env
if (directory !== '') enableFailpoints({ directory, hangMs })
const workers = await startWorkers({ config: loadConfig(), workflowBundle: { codePath } })
process.on('SIGTERM', () => void workers.stop().then(() => process.exit(0)))
await workers.done
