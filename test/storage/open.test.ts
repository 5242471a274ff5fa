import { describe, expect, it } from 'vitest'
import { hasCode } from '../../src/domain/errors.ts'
import { openStore } from '../../src/storage/open.ts'

const secrets: Readonly<Record<string, string>> = { S3: 'AKIA:verysecret', BAD: 'no-colon', PW: 'verysecret' }
const resolve = (name: string) => secrets[name] ?? ''

describe('store URLs', () => {
  it.each([
    ['local:/srv/recordings', 'local:/srv/recordings', false],
    ['local:/srv/recordings/', 'local:/srv/recordings', false],
    ['file:///srv/with%20space', 'local:/srv/with space', false],
    ['local:/srv/r?prune=yes', 'local:/srv/r', false],
    ['s3://bucket?secret=S3', 's3://bucket', true],
    [
      's3://bucket/some/prefix/?secret=S3&region=eu-west-1&checksums=required&sse=AES256&class=STANDARD',
      's3://bucket/some/prefix',
      true,
    ],
    ['s3://bucket/p?endpoint=http://127.0.0.1:8333&secret=S3', 's3://bucket/p', true],
    ['sftp://user@host/data?hostkey=SHA256:abc&secret=PW', 'sftp://host:22/data', true],
    ['sftp://us%20er@host:2222/?hostkey=SHA256:a+b&hostkey=SHA256:c&secret=PW', 'sftp://host:2222/', true],
  ])('%s', async (url, label, remote) => {
    const store = openStore(url, resolve)
    expect(store).toMatchObject({ label, remote })
    await store.close()
  })

  it.each([
    ['nonsense', /is no URL/],
    ['ftp://host/x', /none of local, file, s3, sftp/],
    ['local:relative', /absolute/],
    ['local://host/abs', /absolute/],
    ['local:/a/%2e%2e/b?x=1', /unknown parameters: x\. Allowed for local: prune/],
    ['local:/a?prune=maybe', /prune must be one of yes, no/],
    ['s3://bucket', /needs secret=NAME/],
    ['s3://bucket?secret=BAD', /accessKeyId:secretAccessKey/],
    ['s3://AKIA:verysecret@bucket?secret=S3', /contains a password/],
    ['s3://bucket?secret=S3&endpoint=127.0.0.1:8333', /endpoint must be like/],
    ['s3://bucket?secret=S3&endpoint=http://u:verysecret@h', /endpoint must be like/],
    ['s3://bucket?secret=S3&sse=ROT13', /sse must be one of AES256, aws:kms/],
    ['s3://bucket?secret=S3&class=WARM', /class must be one of/],
    ['s3://bucket?secret=S3&secretkey=verysecret', /unknown parameters: secretkey/],
    ['s3://bucket?secret=S3&secret=PW', /more than once/],
    ['sftp://host/data?hostkey=SHA256:abc&secret=PW', /sftp:\/\/user@host/],
    ['sftp://user:verysecret@host/data?hostkey=SHA256:abc&secret=PW', /contains a password/],
    ['sftp://user@host/data?secret=PW#x', /fragment/],
  ])('%s is refused without repeating a secret', (url, problem) => {
    let error: unknown
    try {
      openStore(url, resolve)
    } catch (caught) {
      error = caught
    }
    expect(hasCode(error, 'invalid_config'), String(error)).toBe(true)
    expect(String(error)).toMatch(problem)
    expect(String(error)).not.toContain('verysecret')
  })

  it('SFTP without a host key says how to get it', () => {
    expect(() => openStore('sftp://user@host:2222/data?secret=PW', resolve)).toThrow(
      /ssh-keyscan -t ed25519 -p 2222 host/,
    )
  })
})
