import { EXIT } from '../errors.js'

/** Returns what can be tried after a failure that has no hint of its own; undefined if nothing failed. */
export function generalHint(exitStatus: number): string | undefined {
  if (exitStatus === EXIT.OK) return undefined
  return exitStatus === EXIT.TEMPFAIL
    ? 'the failure is temporary: --retry-for 10m tries again'
    : 'run again with -v and send the output to your provider (the password is masked)'
}

const STEP_END = '; '

/** Returns a hint without the steps that suggest retries, if there were retries already. */
export function hintAfterRetries(hint: string | undefined, isRetried = false): string | undefined {
  if (!isRetried || hint === undefined) return hint
  const steps = hint.split(STEP_END).filter((step) => !step.includes('--retry-for'))
  return steps.join(STEP_END) || 'the failure is temporary: try again later'
}
