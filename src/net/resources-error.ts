import { codeOf, EXIT, messageOf, StepError } from '../errors.js'

/** Returns true if this host lacks file descriptors, memory or processes, which may be free a moment later. */
export function isLackOfResources(error: unknown): boolean {
  // Since Node 24, an error of Node's module loader has no code.
  const isFromLoader = error instanceof Error && /: too many open files\.?$/.test(error.message)
  return isFromLoader || ['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'EAGAIN'].includes(codeOf(error))
}

/** Returns the failure (75) of something that the kernel can't do now: `can't tell whether ... (EMFILE: too many open files)`. */
export function resourcesError(problem: string, cause: unknown): StepError {
  return new StepError(`${problem} (${messageOf(cause)})`, {
    exitStatus: EXIT.TEMPFAIL,
    kind: 'no-resources',
    hint: RESOURCES_HINT,
    cause,
  })
}

const RESOURCES_HINT =
  'this host has run out of file descriptors or memory, or a sandbox forbids sockets: ulimit -n shows the limit on descriptors'
