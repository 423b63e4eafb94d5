import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { errorsOf, race } from '../../src/net/race.js'

const NEVER_MS = 60_000
const { signal } = new AbortController()

/** An attempt that fails, and one that never ends. */
const fails = (name: string) => async (): Promise<string> => Promise.reject(new Error(name))
const hangs = async (): Promise<string> => new Promise(() => undefined)

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Returns the heap that is in use when the collector and its callbacks have run. */
async function usedHeap(): Promise<number> {
  for (let turn = 0; turn < 5; turn++) {
    await sleep(10)
    collectGarbage()
  }
  return process.memoryUsage().heapUsed
}

suite('race', () => {
  test('leaves nothing behind in a run of thousands of sessions', async () => {
    const runOnce = async (): Promise<unknown> =>
      race([async () => Promise.resolve('a')], NEVER_MS, AbortSignal.any([signal, new AbortController().signal]))
    await runOnce()
    const before = await usedHeap()
    for (let count = 0; count < 4000; count++) await runOnce()
    // A signal that stays keeps 3 kB.
    assert.ok((await usedHeap()) - before < 4_000_000)
  })
  test('may have more attempts than a signal usually has listeners', async () => {
    const warnings: Error[] = []
    const listener = (warning: Error): void => void warnings.push(warning)
    process.on('warning', listener)
    const late = race([...Array<typeof hangs>(30).fill(hangs), async () => Promise.resolve('last')], 1, signal)
    assert.equal(await late, 'last')
    await sleep(1)
    process.off('warning', listener)
    assert.deepEqual(warnings, [])
  })
  test('returns the result of the first attempt and starts no other one', async () => {
    const rest = (): Promise<string> => assert.fail('it was started')
    assert.equal(await race([async () => Promise.resolve('a'), rest], NEVER_MS, signal), 'a')
  })
  test('starts the next attempt as soon as one fails', async () => {
    assert.equal(await race([fails('a'), fails('b'), async () => Promise.resolve('c')], NEVER_MS, signal), 'c')
  })
  test('starts the next attempt beside one that hangs', async () => {
    assert.equal(await race([hangs, async () => Promise.resolve('b')], 1, signal), 'b')
  })
  test('starts no attempt after one has succeeded, and keeps no timer', async () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const before = timers()
    await race([async () => Promise.resolve('a'), hangs], NEVER_MS, signal)
    await new Promise(setImmediate)
    assert.equal(timers(), before)
  })
  test('throws all errors in the order of the attempts', async () => {
    await assert.rejects(race([fails('a'), fails('b'), fails('c')], NEVER_MS, signal), (error) => {
      assert.deepEqual(errorsOf(error).map(String), ['Error: a', 'Error: b', 'Error: c'])
      return true
    })
  })
  test('throws the reason of its signal, and starts nothing, if the signal has aborted', async () => {
    const start = (): Promise<string> => assert.fail('it was started')
    await assert.rejects(race([start], 1, AbortSignal.abort(new Error('enough'))), /^Error: enough$/)
  })
  test('throws the reason of its signal when it aborts, whatever the attempts wait for', async () => {
    const ending = new AbortController()
    const running = race([hangs], NEVER_MS, ending.signal)
    ending.abort(new Error('enough'))
    await assert.rejects(running, /^Error: enough$/)
  })
})
