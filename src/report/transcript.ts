import type { ServerAddress } from '../input/server-address.js'
import type { Progress } from './reporter.js'

/** Returns the lines that -v prints for an event: the dialogue with `C:` and `S:`, connections, TLS and pauses. */
export function transcriptLines(server: ServerAddress | null, event: Progress[1]): string[] {
  switch (event.type) {
    case 'pause':
      return [event.text]
    case 'connecting':
      return [`connecting to ${event.address} port ${server?.port ?? ''}`]
    case 'connected':
      return [`connected to ${event.address}`]
    case 'tls': {
      const { protocol, cipher, verified } = event.tls
      return [`${protocol} ${cipher}, the server ${verified ? 'is' : 'is not'} verified`]
    }
    case 'sent':
      return [`C: ${event.line}`]
    case 'received': {
      const { code, lines } = event.reply
      return lines.map((line, index) => `S: ${code}${index < lines.length - 1 ? '-' : ' '}${line}`.trimEnd())
    }
    default:
      return []
  }
}
