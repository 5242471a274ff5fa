#!/usr/bin/env node
import { become, checkNode, ensureBuilt, ensurePackages } from '../scripts/bootstrap.mjs'

checkNode()
ensurePackages({ development: false })
ensureBuilt()
await become('dist/src/cli.js', process.argv.slice(2))
