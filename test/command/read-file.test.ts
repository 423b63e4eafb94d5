import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { suite, test } from 'node:test'
import { describeFileError, readText, streamText } from '../../src/command/read-file.js'
import { assertRefused, etrn } from '../helpers/command.js'
import { makeFile, makeFolder } from '../helpers/files.js'
import { NO_SIGNAL } from '../helpers/options.js'

const OVERDUE = 'etrn: the time that --max-time gives is over\n'

suite('read-file', { concurrency: true }, () => {
  test('reports 66 if there is no such file', async () =>
    assertRefused(
      ['127.0.0.1', '--names-from', '/nonexistent/names'],
      'etrn: --names-from /nonexistent/names: there is no such file\n',
      66,
    ))
  test('reports 66 if the file is a folder', async () =>
    assertRefused(['127.0.0.1', '--names-from', '/'], 'etrn: --names-from /: it is a folder\n', 66))
  test('--max-time ends the wait for a pipe that nobody writes to', async (t) => {
    const fifo = join(makeFolder(t), 'fifo')
    execFileSync('mkfifo', [fifo])
    const run = await etrn(['127.0.0.1:9', '--names-from', fifo, '--max-time', '1s'])
    assert.deepEqual([run.status, run.stderr], [75, OVERDUE])
  })
  test('--max-time ends the wait for standard input that never ends', async () => {
    const run = await etrn(['127.0.0.1:9', '--names-from', '-', '--max-time', '1s'], { input: null })
    assert.deepEqual([run.status, run.stderr], [75, OVERDUE])
  })
  test('readText reads a file', async (t) =>
    assert.equal(await readText('option', makeFile(t, 'file', 'sésame\n'), NO_SIGNAL), 'sésame\n'))
  test('readText reads a pipe to its end', async (t) => {
    const fifo = join(makeFolder(t), 'fifo')
    execFileSync('mkfifo', [fifo])
    const text = readText('option', fifo, NO_SIGNAL)
    const writer = createWriteStream(fifo)
    writer.write('a\n', () => writer.end('b\n'))
    assert.equal(await text, 'a\nb\n')
  })
  test('readText throws the reason of a signal that is aborted', async (t) => {
    const reason = new Error('over')
    await assert.rejects(readText('option', makeFile(t, 'file', 'text'), AbortSignal.abort(reason)), reason)
  })
  test('streamText throws the reason of the signal, and otherwise the error of the stream', async () => {
    const reason = new Error('over')
    await assert.rejects(streamText(new PassThrough(), AbortSignal.abort(reason)), reason)
    const broken = new PassThrough()
    broken.destroy(new Error('broken'))
    await assert.rejects(streamText(broken, NO_SIGNAL), /broken/)
  })
  test('describeFileError puts the usual errors into words', () => {
    const describe = (code: string): string => describeFileError(Object.assign(new Error('a text'), { code }))
    assert.deepEqual(
      [describe('ENOENT'), describe('EACCES'), describe('EISDIR'), describe('EIO')],
      ['there is no such file', 'you are not allowed to read it', 'it is a folder', 'a text'],
    )
  })
})
