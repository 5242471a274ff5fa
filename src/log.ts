import { pino } from 'pino'
import type { Logger } from 'pino'

/** The product's logger: one JSON line per event on standard output; secrets and credentials are cut out by name. */
export function createLogger(level: string, name: string): Logger {
  return pino({
    level,
    name,
    redact: {
      paths: ['*.password', '*.secret', '*.key', '*.token', '*.authorization', '*.cookie', 'url'],
      censor: '[removed]',
    },
  })
}
