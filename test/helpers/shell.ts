import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { clearLine, cursorTo, type Direction, moveCursor } from 'node:readline'
import { PassThrough } from 'node:stream'
import { promisify } from 'node:util'

/** Runs a line of bash. */
export async function runShell(line: string): Promise<{ status: number; stdout: string; stderr: string }> {
  try {
    return { status: 0, ...(await promisify(execFile)('bash', ['-c', line])) }
  } catch (error) {
    // execFile's error has these fields.
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { status: code, stdout, stderr }
  }
}

/** Returns the reason to skip a test that needs a terminal; false if script(1) can make one. */
export function noTerminal(): string | false {
  return spawnSync('script', ['--version']).error === undefined ? false : 'no script(1) here'
}

/** A program on a terminal of its own. */
export class TerminalRun {
  /** The output so far */
  shown = ''
  readonly #child
  readonly #closed: Promise<unknown[]>

  constructor(command: string) {
    this.#child = spawn('script', ['-qec', command, '/dev/null'], {
      env: { PATH: process.env['PATH'] },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#child.stdout.on('data', (octets: Buffer) => (this.shown += octets.toString()))
    this.#closed = once(this.#child, 'close')
  }

  /** Waits until the output contains this text. */
  async waitFor(text: string): Promise<void> {
    while (!this.shown.includes(text)) await once(this.#child.stdout, 'data')
  }

  type(text: string | Buffer): void {
    this.#child.stdin.write(text)
  }

  /** Takes the terminal away from the program, and waits until it is gone. */
  async hangUp(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#closed
  }

  /** Waits for the end of the program. Returns its exit status. */
  async end(): Promise<number | null> {
    const [status] = (await this.#closed) as [number | null]
    return status
  }
}

/** A stream that takes the output of a terminal: what tty.WriteStream writes, this stream gives back. */
export class TerminalStream extends PassThrough {
  readonly isTTY = true
  readonly columns: number

  constructor(columns = 80) {
    super()
    this.columns = columns
  }

  cursorTo(x: number, y?: number): boolean {
    return cursorTo(this, x, y)
  }

  moveCursor(dx: number, dy: number): boolean {
    return moveCursor(this, dx, dy)
  }

  clearLine(direction: Direction): boolean {
    return clearLine(this, direction)
  }
}
