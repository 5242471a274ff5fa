import { createHash } from 'node:crypto'

/** A short name for what is shown: equal content, equal name. Tells the server what a browser shows already. */
export function nameOfContent(content: unknown): string {
  return createHash('sha256').update(JSON.stringify(content)).digest('base64url').slice(0, 16)
}
