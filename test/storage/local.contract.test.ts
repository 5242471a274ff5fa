import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { openStore } from '../../src/storage/open.ts'
import { serverHome } from '../servers/process.ts'
import { describeStore } from './contract.ts'

describeStore('local directory', async () => {
  const home = await serverHome('local')
  await mkdir(join(home, 'root'))
  return {
    open: () => openStore(`local:${join(home, 'root')}`, () => ''),
    stop: () => rm(home, { recursive: true, force: true }),
  }
})
