import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { createTurns } from '../../src/storage/turns.ts'

/** A job that runs until it is told to end. */
function openJob() {
  let end = () => {}
  const ended = new Promise<void>((resolve) => (end = resolve))
  return { end, run: () => ended }
}

describe('turns', () => {
  test('jobs of one key follow each other, in order, one that fails included; other keys do not wait', async () => {
    const turns = createTurns(1)
    const seen: string[] = []
    const first = openJob()
    const jobs = [
      turns.take('a', first.run),
      turns.take('a', async (waited) => {
        seen.push(`second ${waited}`)
        throw new Error('failed')
      }),
      turns.take('a', async () => seen.push('third')),
    ]
    await turns.take('b', async (waited) => seen.push(`other ${waited}`))
    first.end()
    expect((await Promise.allSettled(jobs)).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(seen).toEqual(['other false', 'second true', 'third'])
  })

  test('as many run at once as are let in', async () => {
    const turns = createTurns(2)
    let most = 0
    let running = 0
    const job = async () => {
      most = Math.max(most, (running += 1))
      await pause(5)
      running -= 1
    }
    await Promise.all(Array.from({ length: 7 }, () => turns.take('a', job)))
    expect(most).toBe(2)
  })

  test('who waits too long is told so and leaves the line; who may wait does', async () => {
    const turns = createTurns(1)
    const first = openJob()
    const seen: string[] = []
    const running = turns.take('a', first.run)
    const late = turns.take('a', async () => seen.push('late'), { withinMs: 1, tooLate: () => new Error('too late') })
    const patient = turns.take('a', async () => seen.push('patient'))
    await expect(late).rejects.toThrow('too late')
    first.end()
    await Promise.all([running, patient])
    expect(seen).toEqual(['patient'])
  })
})
