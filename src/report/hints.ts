import { EXIT } from '../errors.js'

/** Returns what can be tried after a failure that has no hint of its own; undefined if nothing failed. */
export function generalHint(exitStatus: number): string | undefined {
  if (exitStatus === EXIT.OK) return undefined
  return exitStatus === EXIT.TEMPFAIL
    ? 'it may pass by itself: --retry-for keeps trying, for as long as you say'
    : 'show your provider what -v prints'
}

/** Returns a hint; undefined if it suggests retries that were made already. */
export function hintAfterRetries(hint: string | undefined, isRetried = false): string | undefined {
  return isRetried && hint?.includes('--retry-for') ? undefined : hint
}
