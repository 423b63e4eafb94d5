import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import { BIN, makeFile } from '../helpers/files.js'
import { type Conversation, loose } from '../helpers/scripted-server.js'

const WRITE_PEAK =
  "import { writeSync } from 'node:fs'; process.on('exit', () => writeSync(3, `${process.resourceUsage().maxRSS}`))"

/**
 * Requests these names in a process with a small heap, so that memory which adds up is seen, and not how far the collector lets the heap
 * grow. Returns its exit status and its peak resident set in KiB. The client may leave before the end of a conversation.
 */
export async function measurePeak(
  t: TestContext,
  conversations: readonly Conversation[],
  names: readonly string[] = ['site.example'],
): Promise<Peak> {
  const server = await loose(t, ...conversations)
  return measurePeakOf([`127.0.0.1:${server.port}`, ...names])
}

/** Does the same for one name at many servers, one for each conversation. */
export async function measurePeakOfServers(
  t: TestContext,
  conversations: readonly Conversation[],
  ...options: readonly string[]
): Promise<Peak> {
  const { port } = await loose(t, ...conversations)
  const profiles = conversations.map(
    (_, index) => `[servers.s${index}]\nserver = "127.0.0.1:${port}"\nnames = ["site.example"]\n`,
  )
  return measurePeakOf(['--config', makeFile(t, 'config.toml', profiles.join('')), '--all', ...options])
}

type Peak = { readonly status: number | null; readonly peak: number }

async function measurePeakOf(words: readonly string[]): Promise<Peak> {
  const heap = ['--max-old-space-size=16', '--max-semi-space-size=1']
  const preload = ['--import', `data:text/javascript,${encodeURIComponent(WRITE_PEAK)}`]
  const args = ['--helo', 'gw.site.example', '--jobs', '1', ...words]
  const child = spawn(process.execPath, [...heap, ...preload, BIN, ...args], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  })
  const [measured, [status]] = await Promise.all([
    text(child.stdio[3] as NodeJS.ReadableStream),
    once(child, 'exit') as Promise<[number | null]>,
  ])
  return { status, peak: Number(measured) }
}
