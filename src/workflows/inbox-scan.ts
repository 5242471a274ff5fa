import { looks } from './activity-options.ts'
import type { InboxScanInput } from './messages.ts'

/**
 * One turn of looking at an inbox, started by its schedule every minute (one waits while one runs) or by a notify for a
 * single look. A store that is away is looked at again until it is back: nothing else needs to start it.
 */
export async function inboxScanWorkflow(input: InboxScanInput): Promise<{ looks: number; completed: number }> {
  return looks.watchInbox(input)
}
