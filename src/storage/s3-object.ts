import { s3Failure } from './s3-errors.ts'
import type { S3Place } from './s3-place.ts'
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

/** The object, or `null` where there is none, or no bucket either: the answer to a HEAD has no body that could say which. */
export async function headObject(place: S3Place, key: string): Promise<ObjectInfo | null> {
  try {
    const head = await place.client.headObject({ Bucket: place.options.bucket, Key: place.full(key) })
    return describeS3Object(key, head.ContentLength, head)
  } catch (error) {
    if (s3Failure(error).status === 404) return null
    throw error
  }
}
