import { EXIT, StepError } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import type { SendAuthLine } from './auth.js'
import type { SurplusReply } from './connection.js'
import { shortenMessage } from '../printable.js'
import { checkConnection } from './credentials-policy.js'
import { expectCode, type GreetedDialogue, runStep } from './dialogue.js'
import { SessionError } from './errors.js'
import { type Extensions, offeredMechanisms, parseExtensions } from './extensions.js'
import { rejectOwnServer, sendEhlo } from './greeting-and-ehlo.js'
import { FILTER_HINT, isBehindMiddlebox, isFilter, MIDDLEBOX_HINT } from './middlebox.js'
import { reachServer } from './reach-server.js'
import { isPermanent, type Reply } from './reply.js'
import type { Credentials, Server, SessionOptions } from './session-settings.js'
import { mayRetryWithoutTls, readFirstReply, startTls, WITHOUT_TLS } from './starttls.js'

/** A session in which ETRN can be sent. */
export type Session = {
  /** The server as it was reached: at which addresses, and without TLS if an optional handshake has failed */
  readonly server: Server
  /**
   * Sends ETRN for the name that `next` returns at the last moment, and reads the whole reply (RFC 1985, section 5). Returns
   * undefined if there is no name. Throws SessionError.
   */
  readonly etrn: (next: () => NodeName | undefined) => Promise<Reply | undefined>
  /**
   * Returns 'lost' if the server has closed the connection before. After a surplus reply, the replies before may have been those of other
   * commands, too. Never throws.
   */
  readonly quit: () => Promise<'lost' | SurplusReply | undefined>
}

/**
 * Does everything up to the first ETRN. If TLS is optional and its handshake fails, a new connection continues without TLS. Throws
 * SessionError, after QUIT if the connection stands.
 */
export async function openSession(server: Server, options: SessionOptions): Promise<Session> {
  try {
    return await startSession(server, options)
  } catch (error) {
    if (!mayRetryWithoutTls(error, server) || options.signal.aborted) throw error
    options.trace({ type: 'warning', stage: 'tls', text: `${shortenMessage(error.message)}; ${WITHOUT_TLS}` })
    return startSession({ ...server, tls: { ...server.tls, level: 'none' } }, options)
  }
}

async function startSession(server: Server, options: SessionOptions): Promise<Session> {
  return reachServer(server, options, async (dialogue) => {
    try {
      return await prepareSession(dialogue)
    } catch (error) {
      await dialogue.smtp.quit()
      throw error
    }
  })
}

/** Goes from the reply to EHLO to the last list of extensions (RFC 3207, 4954). */
async function prepareSession(dialogue: GreetedDialogue): Promise<Session> {
  const { server, options } = dialogue
  let extensions = readExtensions(dialogue, dialogue.hello)
  let { secured } = dialogue
  if (secured === undefined && server.tls.level !== 'none') {
    secured = await startTls(dialogue, extensions)
    // Extensions listed before TLS no longer count (RFC 3207, 4.2).
    if (secured !== undefined) {
      const hello = await readFirstReply(async () => sendEhlo(dialogue))
      rejectOwnServer('ehlo', hello, options, dialogue.greeting)
      extensions = readExtensions(dialogue, hello)
    }
  }
  if (server.credentials !== undefined) {
    await logIn({ ...dialogue, secured }, server.credentials, extensions)
    if (!extensions.has('ETRN')) extensions = await repeatEhlo(dialogue, extensions)
  }
  if (!extensions.has('ETRN')) checkUnlisted(dialogue, extensions)
  return createSession(dialogue, options)
}

// A function of its own: a session must not keep the long replies that came before it.
function createSession({ server, smtp }: GreetedDialogue, options: SessionOptions): Session {
  return {
    server,
    etrn: (next) => runStep('etrn', options, () => smtp.commandIfAny('ETRN', next)),
    quit: () => smtp.quit(),
  }
}

/** Rejections of credentials, by the address of the server: mail exchangers can have several names. */
const rejections = new WeakMap<Credentials, Map<string, StepError>>()

/** Logs in, if the credentials policy allows it on this connection (RFC 4954). */
async function logIn(dialogue: GreetedDialogue, credentials: Credentials, extensions: Extensions): Promise<void> {
  const { smtp, server, ends, secured, options } = dialogue
  return runStep('auth', options, async () => {
    checkConnection(server, ends, secured?.tls)
    const { protection } = options
    const ofAddresses = rejections.get(credentials) ?? new Map<string, StepError>()
    rejections.set(credentials, ofAddresses)
    const rejection = protection?.rejection ?? ofAddresses.get(ends.remoteAddress)
    if (rejection !== undefined) throw rejection
    const { authenticate } = await import('./auth.js')
    const send: SendAuthLine = (line, shown, secrets) => {
      for (const secret of secrets) server.redactor.addSecret(secret)
      return smtp.command(line, shown)
    }
    const { host, port, tls } = server
    const hasCertificate = secured !== undefined && tls.cert !== undefined
    const offered = offeredMechanisms(extensions)
    const context = { host, port, exporter: secured?.exporter, hasCertificate, offered }
    const bound = protection ?? { mechanism: undefined }
    await authenticate(send, credentials, { ...context, protection: bound }).catch((error: unknown) => {
      if (error instanceof StepError && error.kind === 'login-rejected') {
        ofAddresses.set(ends.remoteAddress, error)
        if (protection !== undefined) protection.rejection = error
      }
      throw error
    })
  })
}

function readExtensions({ helo, options }: GreetedDialogue, hello: Reply): Extensions {
  const extensions = parseExtensions(expectCode('ehlo', 250, hello, isPermanent(hello) ? helo : undefined))
  options.trace({ type: 'extensions', extensions })
  return extensions
}

/** Returns the extensions that hold after AUTH. If the server refuses a second EHLO, those that it listed before hold. */
async function repeatEhlo(dialogue: GreetedDialogue, extensions: Extensions): Promise<Extensions> {
  const hello = await sendEhlo(dialogue)
  return isPermanent(hello) ? extensions : readExtensions(dialogue, hello)
}

const LOGIN_OPTIONS = '--user NAME --password-file FILE'

/** Throws if ETRN, which the server doesn't list, must not be sent. */
function checkUnlisted(dialogue: GreetedDialogue, extensions: Extensions): void {
  const { server, options } = dialogue
  const isHidden = isBehindMiddlebox(dialogue, extensions)
  if (options.assumeEtrn) {
    const text =
      'a firewall may be answering in place of the server, so "accepted" is not certain; if no mail arrives, ask your provider whether the request reached the server'
    if (isHidden) options.trace({ type: 'warning', stage: 'ehlo', text })
    return
  }
  const listed = server.redactor.redactExtensions(extensions)
  const keywords = listed.size === 0 ? 'nothing' : [...listed.keys()].join(', ')
  const hint = isHidden ? MIDDLEBOX_HINT : unlistedHint(dialogue, extensions)
  const message = `ETRN not offered (EHLO lists ${keywords})`
  throw new SessionError('etrn', message, { exitStatus: EXIT.UNAVAILABLE, hint })
}

function unlistedHint(dialogue: GreetedDialogue, extensions: Extensions): string {
  if (isFilter(dialogue)) return FILTER_HINT
  if (/Exim/.test(dialogue.greeting.text))
    return 'ask your provider to allow ETRN from your public IP address (Exim: acl_smtp_etrn)'
  const mayNeedLogin = extensions.has('AUTH') && dialogue.server.credentials === undefined
  return mayNeedLogin
    ? `the server may offer ETRN only after a login: ${LOGIN_OPTIONS}; otherwise ask your provider to enable ETRN`
    : '--assume-etrn sends ETRN anyway, which does no harm; if that fails, ask your provider to enable ETRN'
}
