import { EventEmitter, once } from 'node:events'
import { spawnEtrn } from '../helpers/command.js'
import { MailServer, type Message, Provider, send } from './provider.js'

// The main job, on loopback: a provider holds mail for site.example, the site comes online and asks for it.

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const subject = ({ text }: Message): string => /^Subject: (.*)$/m.exec(text)?.[1] ?? ''

/** Runs the real command as a user would, shows it, and gives its exit status. */
async function run(...args: string[]): Promise<number | null> {
  say(`\n$ etrn ${args.join(' ')}`)
  const { stdout, stderr, status } = await spawnEtrn(args)
  process.stdout.write(stdout + stderr)
  say(`$ echo $?\n${status}`)
  return status
}

/** A port on which nothing listens, until the site comes online. */
async function freePort(): Promise<number> {
  const probe = new MailServer('', () => undefined)
  const port = await probe.listen()
  probe.close()
  return port
}

const sitePort = await freePort()
const provider = new Provider('mail.provider.example', new Map([['site.example', sitePort]]))
const port = await provider.listen()
const subjects = ['Spare part shipped', 'Weather for the passage', 'Crew change in Bergen']
for (const text of subjects) {
  await send(port, 'elsewhere.example', {
    from: 'office@elsewhere.example',
    to: 'captain@site.example',
    text: `Subject: ${text}\n\nSee you.`,
  })
}
say('mail.provider.example holds, for site.example, which is not online:')
for (const message of provider.held.get('site.example') ?? [])
  say(`  ${message.from} to ${message.to}: ${subject(message)}`)

const arrivals = new EventEmitter()
const arrived: Message[] = []
const site = new MailServer('gw.site.example', (message) => {
  arrived.push(message)
  arrivals.emit('message')
})
await site.listen(sitePort)
say('\nThe site comes online and asks for its mail:')
const asked = await run(`127.0.0.1:${port}`, 'site.example')
const deadline = AbortSignal.timeout(5000)
while (arrived.length < subjects.length) await once(arrivals, 'message', { signal: deadline })
say(`\nArrived at the site, over ${site.connections} new connections from the provider:`)
for (const message of arrived) say(`  ${message.from} to ${message.to}: ${subject(message)}`)

say('\nAsked again, and for a name that is not served:')
const again = await run(`127.0.0.1:${port}`, 'site.example')
const refused = await run(`127.0.0.1:${port}`, 'other.example')

say('\nAnd a server without ETRN:')
const plain = new MailServer('plain.example', () => undefined)
const unsupported = await run(`127.0.0.1:${await plain.listen()}`, 'site.example')

for (const server of [provider, site, plain]) server.close()
const isRight = asked === 0 && again === 0 && refused === 77 && unsupported === 69
say(isRight ? '\nThe mail arrived.' : '\nThis is not what should have happened.')
process.exitCode = isRight ? 0 : 1
