import { S3 } from '@aws-sdk/client-s3'
import type { StorageClass } from '@aws-sdk/client-s3'
import { msPer } from '../domain/units.ts'

/** Where an S3 store is and how it wants to be talked to. */
export interface S3StoreOptions {
  readonly bucket: string
  /** Directory inside the bucket, without slashes at the ends; empty for the whole bucket. */
  readonly prefix: string
  readonly region: string
  /** Base URL of a server that is not AWS; such servers are addressed by path. */
  readonly endpoint?: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** `required` for servers that do not know S3's newer checksum headers. */
  readonly checksums?: 'supported' | 'required'
  readonly encryption?: 'AES256' | 'aws:kms'
  readonly kmsKeyId?: string
  readonly storageClass?: StorageClass
  /** Longest wait for one answer, and for the next bytes of a body. */
  readonly timeoutMs?: number
}

/** A bucket, or a directory in one, with a client that is connected to it. */
export interface S3Place {
  readonly client: S3
  readonly options: S3StoreOptions
  /** For messages. */
  readonly label: string
  readonly timeoutMs: number
  /** The object's key in the bucket. */
  full(key: string): string
}

/** A client for it. What it opens, `destroy` closes. */
export function connectS3(options: S3StoreOptions): S3 {
  const timeoutMs = options.timeoutMs ?? msPer.minute
  const checksums = options.checksums === 'required' ? 'WHEN_REQUIRED' : 'WHEN_SUPPORTED'
  const client = new S3({
    region: options.region,
    credentials: { accessKeyId: options.accessKeyId, secretAccessKey: options.secretAccessKey },
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint, forcePathStyle: true }),
    requestChecksumCalculation: checksums,
    // Whoever needs the bytes to be right compares their SHA-256; a CRC beside it costs time and proves less.
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: 3,
    followRegionRedirects: false,
    requestHandler: { connectionTimeout: Math.min(timeoutMs, 10_000), socketTimeout: timeoutMs },
  })
  client.middlewareStack.add(
    (next) => (args) => {
      signKnownHash(args.request)
      return next(args)
    },
    { step: 'build', name: 'signKnownHash' },
  )
  return client
}

/** The client would hash each body once more to sign it; where its SHA-256 is sent anyway, that one is signed. */
function signKnownHash(request: unknown): void {
  if (!hasHeaders(request)) return
  const known = request.headers['x-amz-checksum-sha256']
  if (known !== undefined) request.headers['x-amz-content-sha256'] = Buffer.from(known, 'base64').toString('hex')
}

function hasHeaders(request: unknown): request is { readonly headers: Record<string, string | undefined> } {
  return typeof request === 'object' && request !== null && 'headers' in request && request.headers instanceof Object
}

/** How a call of the client is told when to stop. */
export const until = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { abortSignal: signal })
