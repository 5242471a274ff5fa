import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { exists } from './commands.ts'

/** The checkout or image this code belongs to: sources and compiled code lie at different depths below it. */
export async function findRoot(): Promise<string> {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!(await exists(join(folder, 'package.json')))) folder = dirname(folder)
  return folder
}
