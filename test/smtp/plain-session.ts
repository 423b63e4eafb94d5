import { Redactor } from '../../src/smtp/redact.js'
import type { Server, SessionOptions } from '../../src/smtp/session-settings.js'

// What a session without TLS and credentials needs.

export const HELLO = 'C: EHLO gw.site.example'

export function serverAt(port: number): Server {
  return {
    word: 'mx.example',
    host: '127.0.0.1',
    port,
    isImplicitTls: false,
    tls: {
      level: 'none',
      fingerprint: undefined,
      name: undefined,
      ca: undefined,
      cert: undefined,
      key: undefined,
      minVersion: 'TLSv1.2',
    },
    credentials: undefined,
    redactor: new Redactor(),
  }
}

export const OPTIONS: SessionOptions = {
  timeoutMs: 60_000,
  signal: new AbortController().signal,
  helo: 'gw.site.example',
  family: undefined,
  local: undefined,
  self: ['gw.site.example', 'mail.site.example'],
  assumeEtrn: false,
  trace: () => undefined,
}
