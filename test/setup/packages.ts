import { existsSync } from 'node:fs'
import { canInstallPackages, findOnPath, installPackages } from '../../src/dev/commands.ts'
import type { Say } from '../../src/dev/commands.ts'

/** Programs of the machine that tests talk to. */
export interface TestPrograms {
  readonly sshdPath: string
  readonly ftpdPath: string
  readonly chromiumPath: string
}

const programs = {
  sshdPath: { package: 'openssh-server', names: ['sshd', '/usr/sbin/sshd'] },
  ftpdPath: { package: 'pure-ftpd', names: ['pure-ftpd', '/usr/sbin/pure-ftpd'] },
  chromiumPath: { package: 'chromium', names: ['chromium', 'chromium-browser', 'google-chrome', 'chrome'] },
} as const

/** Finds them, installing what is missing as root on Debian; elsewhere the error names the packages. */
export async function findTestPrograms(say: Say): Promise<TestPrograms> {
  const missing: string[] = []
  for (const { package: name, names } of Object.values(programs)) if ((await find(names)) === null) missing.push(name)
  if (missing.length > 0) {
    if (!(await canInstallPackages())) say(`The tests need programs this machine does not have: ${missing.join(', ')}`)
    await installPackages(missing, say)
  }
  return { sshdPath: await get('sshdPath'), ftpdPath: await get('ftpdPath'), chromiumPath: await get('chromiumPath') }
}

async function get(program: keyof typeof programs): Promise<string> {
  const path = await find(programs[program].names)
  if (path === null) throw new Error(`${programs[program].package} is installed, but its program was not found.`)
  return path
}

async function find(names: readonly string[]): Promise<string | null> {
  for (const name of names) {
    const path = name.startsWith('/') ? (existsSync(name) ? name : null) : await findOnPath(name)
    if (path !== null) return path
  }
  return null
}
