import { test } from 'node:test'
import { etrn } from './command.js'
import { type Conversation, scripted } from './server.js'

const RFC_HELLO: Conversation = [
  'S: 220 sigurd.innosoft.com -- Server SMTP (PMDF V4.2-6 #1992)',
  'C: EHLO ymir.claremont.edu',
  'S: 250-sigurd.innosoft.com',
  'S: 250-EXPN',
  'S: 250-HELP',
  'S: 250 ETRN',
]

test('RFC 1985, section 7', async (t) => {
  const s = await scripted(t, [
    ...RFC_HELLO,
    'C: ETRN localname',
    'S: 501 Syntax Error in Parameters',
    'C: ETRN uu.net',
    'S: 458 Unable to queue messages for node uu.net',
    'C: QUIT',
    'S: 250 Goodbye',
  ])
  const run = await etrn([
    `127.0.0.1:${s.port}`,
    '--helo',
    'ymir.claremont.edu',
    '-k',
    '--allow-wide',
    'localname',
    'uu.net',
    '-v',
  ])
  await s.verify()
  console.log(run)
})
