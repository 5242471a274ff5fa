import { expect, test } from 'vitest'
import { explainFullScratch } from '../../src/media/scratch.ts'

test.each(['ENOSPC', 'EDQUOT'])('a write that fails with %s says that scratch is full, and keeps its cause', (code) => {
  const cause = Object.assign(new Error('write'), { code })
  expect(explainFullScratch(cause, 'Free space.')).toMatchObject({
    code: 'scratch_full',
    message: 'Free space.',
    cause,
  })
})

test.each([Object.assign(new Error('read'), { code: 'EIO' }), new Error('other'), 'text', null])(
  'anything else stays as it is: %s',
  (error) => {
    expect(explainFullScratch(error, 'Free space.')).toBe(error)
  },
)
