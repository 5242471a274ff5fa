import type { PackageEntry } from '../domain/package.ts'
import type { PackageOptions } from './package-limits.ts'
import { readTarGz } from './tar-package.ts'
import { readZip } from './zip-package.ts'

/** Reads a package by its extension (`zip`, `tar.gz`, `tgz`); see `Encoder.readPackage`. */
export function readPackage(
  path: string,
  extension: string,
  options: PackageOptions = {},
): Promise<readonly PackageEntry[]> {
  return extension === 'zip' ? readZip(path, options) : readTarGz(path, options)
}
