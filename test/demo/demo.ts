import { EventEmitter, once } from 'node:events'
import { spawnEtrn } from '../helpers/command.js'
import { MailServer, type Message, Provider, send } from './provider.js'

// Shows ETRN on loopback: a provider holds mail for site.example, which comes online and requests it.

const print = (text: string): void => void process.stdout.write(`${text}\n`)
const subject = ({ text }: Message): string => /^Subject: (.*)$/m.exec(text)?.[1] ?? ''

/** Runs the real command and shows its output. Returns its exit status. */
async function run(...args: string[]): Promise<number | null> {
  print(`\n$ etrn ${args.join(' ')}`)
  const { stdout, stderr, status } = await spawnEtrn(args)
  process.stdout.write(stdout + stderr)
  print(`$ echo $?\n${status}`)
  return status
}

/** Returns a port on which nothing listens. */
async function findFreePort(): Promise<number> {
  const probe = new MailServer('', () => undefined)
  const port = await probe.listen()
  probe.close()
  return port
}

const sitePort = await findFreePort()
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
print('Mail is waiting on mail.provider.example for site.example, which is offline:')
for (const message of provider.held.get('site.example') ?? [])
  print(`  ${message.from} to ${message.to}: ${subject(message)}`)

const arrivals = new EventEmitter()
const arrivedMessages: Message[] = []
const site = new MailServer('gw.site.example', (message) => {
  arrivedMessages.push(message)
  arrivals.emit('message')
})
await site.listen(sitePort)
print('\nThe site comes online and requests its mail:')
const first = await run(`127.0.0.1:${port}`, 'site.example')
const deadline = AbortSignal.timeout(5000)
while (arrivedMessages.length < subjects.length) await once(arrivals, 'message', { signal: deadline })
print(`\nThe mail arrives at the site, over ${site.connections} new connections from the provider:`)
for (const message of arrivedMessages) print(`  ${message.from} to ${message.to}: ${subject(message)}`)

print('\nThe site requests its mail again, and a name that the provider does not serve:')
const again = await run(`127.0.0.1:${port}`, 'site.example')
const refused = await run(`127.0.0.1:${port}`, 'other.example')

print('\nA server without ETRN:')
const plain = new MailServer('plain.example', () => undefined)
const unsupported = await run(`127.0.0.1:${await plain.listen()}`, 'site.example')

for (const server of [provider, site, plain]) server.close()
const isRight = first === 0 && again === 0 && refused === 77 && unsupported === 69
print(isRight ? '\nThe mail arrived.' : '\nThe demo failed: unexpected exit status.')
process.exitCode = isRight ? 0 : 1
