/** SASL mechanisms that can be used, the strongest first; their steps are in auth.ts, which only a login loads. */
export const MECHANISMS = [
  'EXTERNAL',
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

/** Used only where --auth names them */
export const ONLY_IF_NAMED: ReadonlySet<MechanismName> = new Set(['XOAUTH2', 'OAUTHBEARER'])
