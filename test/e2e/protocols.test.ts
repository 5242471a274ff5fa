import { execFileSync } from 'node:child_process'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { generateSmall } from '../../src/dev/sample.ts'
import { msPer } from '../../src/domain/units.ts'
import { startSeaweed } from '../servers/s3.ts'
import type { S3Server } from '../servers/s3.ts'
import { startSshd } from '../servers/sftp.ts'
import type { SftpServer } from '../servers/sftp.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'

let inbox: SftpServer
let backup: SftpServer
let primary: S3Server
let world: World

beforeAll(async () => {
  ;[inbox, backup, primary] = await Promise.all([startSshd(), startSshd(), startSeaweed()])
  await mkdir(join(inbox.directory, 'hall'))
  world = await startWorld({
    urls: {
      inbox: inbox.url().replace(inbox.secretName, 'INBOX'),
      primary: primary.url('kept'),
      backup: backup.url().replace(backup.secretName, 'BACKUP'),
    },
    env: {
      REELKEEP_SECRET_INBOX: inbox.secret,
      REELKEEP_SECRET_BACKUP: backup.secret,
      [`REELKEEP_SECRET_${primary.secretName}`]: primary.secret,
    },
  })
  await world.addRecorder({ name: 'hall', assignment: 'automatic', defaultOwnerId: world.people.ada.personId })
})
afterAll(async () => {
  await world?.stop()
  await Promise.all([inbox?.stop(), backup?.stop(), primary?.stop()])
})

/** Uploads with the real command-line client: what recorders do. */
function sftp(commands: readonly string[]): void {
  execFileSync(
    'sftp',
    [
      '-b',
      '-',
      '-P',
      String(inbox.port),
      '-i',
      inbox.identityFile ?? '',
      '-o',
      'StrictHostKeyChecking=no',
      '-o',
      'UserKnownHostsFile=/dev/null',
      '-o',
      'LogLevel=ERROR',
      `${inbox.user}@${inbox.host}`,
    ],
    { input: `cd ${inbox.root}\n${commands.join('\n')}\nquit\n` },
  )
}

test('dropped by real SFTP, kept on S3, copied to another SFTP site, deleted with a proof that anyone can check', async () => {
  const file = join(world.home, 'lecture.mp4')
  await generateSmall(file, { ffmpegPath: inject('ffmpegPath'), seed: 77, codec: 'h264-aac' })
  sftp([`put ${file} hall/lecture.mp4.part`, 'rename hall/lecture.mp4.part hall/lecture.mp4'])
  const kept = await world.until('hall/lecture.mp4', (recording) => recording.state === 'retained')
  expect(new Set(kept.copies.filter((copy) => copy.state === 'verified').map((copy) => copy.site)).size).toBe(2)
  expect(await readdir(join(inbox.directory, 'hall'))).toEqual([])

  await world.fastForward(kept.id, 2 * msPer.year + msPer.day)
  const asked = await world.until('hall/lecture.mp4', (recording) => recording.state === 'disposition_requested')
  await world.give(kept.id, world.people.ben, { kind: 'approveDeletion', planHash: asked.facts.planHash ?? '' })
  await world.fastForward(kept.id, 15 * msPer.day)
  const gone = await world.until('hall/lecture.mp4', (recording) => recording.state === 'purged')

  const listed = await primary.client.listObjectsV2({ Bucket: primary.bucket, Prefix: 'kept/' })
  expect(listed.KeyCount ?? 0).toBe(0)
  const left = await readdir(backup.directory, { recursive: true, withFileTypes: true })
  expect(left.filter((entry) => entry.isFile())).toEqual([])

  const certificate = join(world.home, 'certificate.json')
  await writeFile(certificate, JSON.stringify(gone.certificate))
  const script = new URL('../../scripts/verify-certificate.mjs', import.meta.url).pathname
  expect(execFileSync(process.execPath, [script, certificate], { encoding: 'utf8' })).toContain(kept.id)
})
