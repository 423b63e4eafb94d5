import { readFile } from 'node:fs/promises'
import { ask } from 'etrn'

const { tls, names } = await ask('mail.isp.example', ['site.example'], {
  credentials: { user: 'site', password: (await readFile('/etc/etrn.password', 'utf8')).trimEnd() },
  tls: { ca: await readFile('/etc/ssl/isp.pem', 'utf8') },
  timeoutMs: 30_000,
  signal: AbortSignal.timeout(300_000),
})
console.log(tls?.protocol, tls?.verified, names[0]?.outcome)
