import type { ObjectInfo } from './store.ts'

/** Storage classes whose objects must be restored before they can be read. */
const coldClasses = new Set(['GLACIER', 'DEEP_ARCHIVE'])

/** An object's facts, the same whether they come from a listing or from a HEAD. */
export function describeS3Object(
  key: string,
  size: number | undefined,
  found: { LastModified?: Date | undefined; ETag?: string | undefined; StorageClass?: string | undefined },
): ObjectInfo {
  return {
    key,
    sizeBytes: size ?? 0,
    // HTTP headers know whole seconds, some listings more: the same object must look the same both ways.
    modifiedAtMs: Math.floor((found.LastModified?.getTime() ?? 0) / 1000) * 1000,
    // Some servers quote it in one answer and not in the other.
    fileId: (found.ETag ?? '').replaceAll('"', ''),
    tier: coldClasses.has(found.StorageClass ?? '') ? 'cold' : 'hot',
    special: null,
  }
}
