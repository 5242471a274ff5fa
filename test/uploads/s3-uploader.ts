import { Readable } from 'node:stream'
import type { Store } from '../../src/storage/store.ts'
import type { S3Server } from '../servers/s3.ts'
import type { Abilities, Place, Uploader } from './uploader.ts'

/** An object appears whole or not at all; names change by copying. */
const s3Abilities: Abilities = { visible: false, anywhere: false, times: false, rename: true }

/** A bucket's directory as an inbox. */
export function s3Place(server: S3Server, prefix: string, inbox: Store): Place {
  return {
    abilities: s3Abilities,
    inbox,
    ownDirectories: false,
    connect: () => s3Uploader(server, prefix),
    async read(path) {
      try {
        const found = await server.client.getObject({ Bucket: server.bucket, Key: `${prefix}/${path}` })
        return Buffer.from((await found.Body?.transformToByteArray()) ?? [])
      } catch (error) {
        if (error instanceof Error && error.name === 'NoSuchKey') return null
        throw error
      }
    },
    stamp: async () => {},
    makeDirectory: async () => {},
  }
}

interface Upload {
  readonly at: { readonly Bucket: string; readonly Key: string }
  readonly id: string
  readonly parts: { readonly ETag: string | undefined; readonly PartNumber: number }[]
  /** Where the part begins that may still grow. */
  partFrom: number
}

/** Smaller parts are only allowed at the end: until then a part is sent again with what came after it. */
const leastPartBytes = 5 * 1024 ** 2

/** A gateway that uploads in parts; an upload that broke off stays open on the server until it goes on or is given up. */
function s3Uploader({ client, bucket }: S3Server, prefix: string): Uploader {
  let upload: Upload | null = null
  let isConnected = true
  const at = (path: string) => ({ Bucket: bucket, Key: `${prefix}/${path}` })
  const begin = async (path: string): Promise<Upload> => {
    const { UploadId: id = '' } = await client.createMultipartUpload(at(path))
    return { at: at(path), id, parts: [], partFrom: 0 }
  }
  const abandon = async () => {
    const { at: key, id } = upload ?? {}
    upload = null
    if (key !== undefined && id !== undefined) await client.abortMultipartUpload({ ...key, UploadId: id })
  }
  return {
    async send(path, bytes, from, to) {
      upload ??= await begin(path)
      isConnected = true
      if (from - upload.partFrom >= leastPartBytes) upload.partFrom = from
      else upload.parts.pop()
      const PartNumber = upload.parts.length + 1
      const Body = bytes.subarray(upload.partFrom, to)
      const { ETag } = await client.uploadPart({ ...upload.at, UploadId: upload.id, PartNumber, Body })
      upload.parts.push({ ETag, PartNumber })
    },
    async restart(path) {
      await abandon()
      upload = await begin(path)
    },
    reserve: () => Promise.reject(new Error('S3 reserves no space')),
    async cut() {
      if (upload === null || !isConnected) return
      isConnected = false
      await sendHalfAPart(upload)
    },
    async finish() {
      const done = upload
      upload = null
      if (done === null) return
      await client.completeMultipartUpload({ ...done.at, UploadId: done.id, MultipartUpload: { Parts: done.parts } })
    },
    async put(path, bytes) {
      await client.putObject({ ...at(path), Body: bytes })
    },
    async rename(from, to) {
      await client.copyObject({ ...at(to), CopySource: `${bucket}/${prefix}/${from}` })
      await client.deleteObject(at(from))
    },
    async truncate(path, bytes, sizeBytes) {
      await client.putObject({ ...at(path), Body: bytes.subarray(0, sizeBytes) })
    },
    setTime: () => Promise.reject(new Error('S3 sets no times')),
    async remove(path) {
      await client.deleteObject(at(path))
    },
    close: async () => {},
  }

  /** A part whose connection breaks in the middle of its body. */
  async function sendHalfAPart({ at: key, id, parts }: Upload): Promise<void> {
    const broken = new AbortController()
    async function* half() {
      yield Buffer.alloc(8192, 1)
      await new Promise((resolve) => setTimeout(resolve, 20))
      broken.abort()
    }
    const part = { ...key, UploadId: id, PartNumber: parts.length + 1, ContentLength: 16_384 }
    const sent = client.uploadPart({ ...part, Body: Readable.from(half()) }, { abortSignal: broken.signal })
    await sent.then(
      () => Promise.reject(new Error('half a part was taken for a whole one')),
      () => undefined,
    )
  }
}
