import { afterAll, beforeAll } from 'vitest'
import { openLocalStore } from '../../src/storage/local.ts'
import { newDirectory, removeDirectory } from '../media/fixtures.ts'
import { diskPlace, diskUploader } from './disk-uploader.ts'
import { testUploads } from './suite.ts'

let directory: string

beforeAll(async () => {
  directory = await newDirectory()
})
afterAll(() => removeDirectory(directory))

testUploads('by copying on one machine', () =>
  diskPlace(directory, openLocalStore({ root: directory }), () => diskUploader(directory)),
)
