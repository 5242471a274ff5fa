export { recordingWorkflow } from './recording.ts'
export { inboxScanWorkflow } from './inbox-scan.ts'
export { reconcileWorkflow } from './reconcile.ts'
