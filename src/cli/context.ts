import { InvalidArgumentError } from 'commander'
import type { Command } from 'commander'
import { findCredentials, openApi } from './client.ts'
import type { ApiClient } from './client.ts'
import type { Terminal } from './terminal.ts'

/** What every command gets: the environment it was started in and where it writes. */
export interface CliContext {
  readonly env: NodeJS.ProcessEnv
  readonly terminal: Terminal
}

/** The API with the address and key of this command line. @throws invalid_config */
export async function connect(context: CliContext, command: Command): Promise<ApiClient> {
  const { url, key } = command.optsWithGlobals<{ url?: string; key?: string }>()
  return openApi(await findCredentials(context.env, { url, key }))
}

/** Writes an answer: the whole data with `--json`, else as people read it. */
export function answer<T>(context: CliContext, command: Command, data: T, asText: (data: T) => string): void {
  const { json } = command.optsWithGlobals<{ json?: boolean }>()
  context.terminal.answer(json === true ? JSON.stringify(data, null, 2) : asText(data))
}

/** Reads a whole number from the command line. @throws InvalidArgumentError */
export function wholeNumber(low: number, high: number): (text: string) => number {
  return (text) => {
    const number = Number(text)
    if (Number.isInteger(number) && number >= low && number <= high) return number
    throw new InvalidArgumentError(`It must be a whole number from ${low} to ${high}.`)
  }
}

/** Reads a date (`2030-12-31`) or an instant with its zone as milliseconds. @throws InvalidArgumentError */
export function instantArgument(text: string): number {
  const ms = /^\d{4}-\d{2}-\d{2}(T.*(Z|[+-]\d{2}:\d{2}))?$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isFinite(ms)) return ms
  throw new InvalidArgumentError('It must be a date like 2030-12-31, or an instant like 2030-12-31T12:00:00Z.')
}
