/** SASL mechanisms, strongest first. sasl.ts has their steps: a run without credentials doesn't load it. */
export const MECHANISMS = [
  'EXTERNAL',
  'SCRAM-SHA-512-PLUS',
  'SCRAM-SHA-512',
  'SCRAM-SHA-256-PLUS',
  'SCRAM-SHA-256',
  'SCRAM-SHA-1',
  'CRAM-MD5',
  'PLAIN',
  'LOGIN',
  'XOAUTH2',
  'OAUTHBEARER',
] as const

export type MechanismName = (typeof MECHANISMS)[number]

/** Mechanisms whose password is a token: they are used only if --auth names them. */
export const ONLY_IF_NAMED: ReadonlySet<MechanismName> = new Set(['XOAUTH2', 'OAUTHBEARER'])

/** A command whose initial response is the whole login (RFC 4954, 4): the server takes no further line for a part of it. */
export const ONE_STEP_LOGIN = /^AUTH (?:EXTERNAL|PLAIN|XOAUTH2|OAUTHBEARER) /
