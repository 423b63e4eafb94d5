import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import { BIN } from '../helpers/files.js'
import { type Conversation, loose } from '../helpers/scripted-server.js'

const WRITE_PEAK =
  "import { writeSync } from 'node:fs'; process.on('exit', () => writeSync(3, `${process.resourceUsage().maxRSS}`))"

/**
 * Runs the command in a process with a small heap, so that memory which adds up is seen, and not how far the collector lets the heap
 * grow. Returns its exit status and its peak resident set in KiB. The client may leave before the end of a conversation.
 */
export async function measurePeak(
  t: TestContext,
  conversations: readonly Conversation[],
  names: readonly string[] = ['site.example'],
): Promise<{ status: number | null; peak: number }> {
  const server = await loose(t, ...conversations)
  const heap = ['--max-old-space-size=32', '--max-semi-space-size=1']
  const preload = ['--import', `data:text/javascript,${encodeURIComponent(WRITE_PEAK)}`]
  const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', '--jobs', '1', ...names]
  const child = spawn(process.execPath, [...heap, ...preload, BIN, ...args], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  })
  const [measured, [status]] = await Promise.all([
    text(child.stdio[3] as NodeJS.ReadableStream),
    once(child, 'exit') as Promise<[number | null]>,
  ])
  return { status, peak: Number(measured) }
}
