import { mergeConfig } from 'vitest/config'
import base from './vitest.config.ts'

/** The suites that break things on purpose: `npm run chaos`. One after another, because each owns the machine. */
const config = mergeConfig(base, {})
config.test.include = ['test/chaos/*.chaos.ts']
config.test.maxWorkers = 1
export default config
