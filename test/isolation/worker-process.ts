import { bundleWorkflowCode, DefaultLogger, makeTelemetryFilterString, Runtime } from '@temporalio/worker'
import { loadConfig } from '../../src/config.ts'
import { startWorkers } from '../../src/worker.ts'

/*
 * A worker as a process of its own, saying everything it can say: what it writes is searched for secrets.
 */
const config = loadConfig()
Runtime.install({
  logger: new DefaultLogger('TRACE'),
  telemetryOptions: {
    logging: { filter: makeTelemetryFilterString({ core: 'DEBUG', other: 'INFO' }), forward: {} },
    metrics: { prometheus: { bindAddress: `127.0.0.1:${config.worker.metricsPort}` } },
  },
  shutdownSignals: [],
})
const workflowBundle = await bundleWorkflowCode({
  workflowsPath: new URL('../../src/workflows/index.ts', import.meta.url).pathname,
})
const workers = await startWorkers({ config, workflowBundle })
process.once('SIGTERM', () => void workers.stop().then(() => process.exit(0)))
await workers.done
