// The smallest client that waits for the replies to EHLO, ETRN and QUIT: smallest-client.cjs PORT NAME...
const { connect } = require('node:net')

const [port, ...names] = process.argv.slice(2)
const commands = ['EHLO gw.site.example', ...names.map((name) => `ETRN ${name}`), 'QUIT']
let reply = ''
const socket = connect(Number(port), '127.0.0.1')
socket.on('data', (octets) => {
  reply += octets
  if (!/^\d{3} .*\r\n$/m.test(reply)) return
  if (!reply.startsWith('2')) process.exitCode = 1
  reply = ''
  if (commands.length > 0) socket.write(`${commands.shift()}\r\n`)
})
