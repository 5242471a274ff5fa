import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Dropped } from '../oracle/judge.ts'
import type { S3Server } from '../servers/s3.ts'
import type { SftpServer } from '../servers/sftp.ts'
import type { Random } from './random.ts'
import { describeDrop, makeUnique } from './system.ts'

/** Bytes to drop, and what they are. */
interface Cargo {
  readonly bytes: Buffer
  readonly kind: Dropped['kind']
}

function load(random: Random, base: Buffer): Cargo {
  const whole = makeUnique(base)
  const draw = random.next()
  if (draw < 0.7) return { bytes: whole, kind: 'whole' }
  if (draw < 0.8) return { bytes: Buffer.concat([Buffer.from('%PDF-1.7 '), whole.subarray(0, 500)]), kind: 'broken' }
  return { bytes: whole.subarray(0, random.whole(100, whole.length - 100)), kind: 'interrupted' }
}

/** A recorder that uploads with the real `sftp` program: under a temporary name or not, sometimes killed on the way. */
export async function dropBySftp(
  server: SftpServer,
  random: Random,
  where: { readonly directory: string; readonly scratch: string; readonly base: Buffer; readonly name: string },
): Promise<Dropped | null> {
  const cargo = load(random, where.base)
  const file = join(where.scratch, `${where.name}.upload`)
  await writeFile(file, cargo.bytes)
  const path = `${where.directory}/${where.name}.mp4`
  // Cut bytes come the way cuts come: in place, without an end. Whatever is whole may say so by its rename.
  const renames = cargo.kind !== 'interrupted' && random.chance(0.6)
  const commands = renames ? [`put ${file} ${path}.part`, `rename ${path}.part ${path}`] : [`put ${file} ${path}`]
  const killed = cargo.kind === 'whole' && random.chance(0.25)
  const ended = await sftp(server, commands, killed ? random.whole(50, 600) : null)
  if (ended) return describeDrop('inbox', path, cargo.bytes, cargo.kind)
  // Killed on its way: the recorder tries again until it is through, over what it left.
  for (let tries = 0; tries < 20; tries += 1) {
    await pause(random.whole(200, 4000))
    if (await sftp(server, commands, null)) return describeDrop('inbox', path, cargo.bytes, cargo.kind)
  }
  return null
}

/** True when the program ended well; killed after so many milliseconds where asked. */
async function sftp(server: SftpServer, commands: readonly string[], killAfterMs: number | null): Promise<boolean> {
  const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', 'ConnectTimeout=10']
  const child = spawn(
    'sftp',
    [
      '-b',
      '-',
      ...(killAfterMs === null ? [] : ['-l', '400']),
      '-P',
      String(server.port),
      '-i',
      server.identityFile ?? '',
    ]
      .concat(options.flatMap((option) => ['-o', option]))
      .concat(`${server.user}@${server.host}`),
    { stdio: ['pipe', 'ignore', 'ignore'] },
  )
  const gone = new Promise<number | null>((resolve) => child.once('exit', resolve))
  child.stdin.on('error', () => undefined)
  child.stdin.end(`cd ${server.root}\n${commands.join('\n')}\nquit\n`)
  if (killAfterMs !== null) setTimeout(() => child.kill('SIGKILL'), killAfterMs)
  return (await gone) === 0
}

/** A recorder that puts into a bucket: whole objects only, for S3 shows nothing else; an upload in parts may be left open. */
export async function dropByS3(
  server: S3Server,
  random: Random,
  where: { readonly prefix: string; readonly directory: string; readonly base: Buffer; readonly name: string },
): Promise<Dropped | null> {
  const cargo = load(random, where.base)
  const path = `${where.directory}/${where.name}.mp4`
  const object = { Bucket: server.bucket, Key: `${where.prefix}/${path}` }
  if (random.chance(0.2)) {
    const { UploadId } = await server.client.createMultipartUpload(object)
    await server.client.uploadPart({ ...object, UploadId, PartNumber: 1, Body: cargo.bytes })
    return null
  }
  await server.client.putObject({ ...object, Body: cargo.bytes })
  return describeDrop('bucket-inbox', path, cargo.bytes, cargo.kind)
}
