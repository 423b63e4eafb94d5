import { EXIT, StepError } from '../outcome.js'
import { codeOf } from '../thrown.js'

/** What a failure within TLS comes to; undefined: the error is of another kind. */
export function tlsFailure(error: unknown): StepError | undefined {
  const [, isAlert, name] = /^ERR_O?SSL_(?:(?:SSL|TLS)V\d+_)?(ALERT_)?(.*)$/.exec(codeOf(error)) ?? []
  if (name === undefined) return undefined
  const words = name.replaceAll('_', ' ').toLowerCase()
  // In TLS 1.3 an alert may come when our side of the handshake is done, in place of a reply.
  const wantsCertificate = isAlert !== undefined && /certificate|handshake/.test(words)
  const advice = wantsCertificate ? 'perhaps it wants a certificate of yours: --tls-cert' : 'ask your provider'
  const what = isAlert === undefined ? 'TLS failed' : 'the server broke TLS off'
  return new StepError(`${what}: ${words}`, { exitStatus: EXIT.PROTOCOL, advice, cause: error })
}
