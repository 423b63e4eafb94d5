import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { MalformedReplyError, type Reply, ReplyParser } from '../../src/smtp/reply.js'
import { cut, octetsAndCuts } from './grammar.js'
import { isWithin, repliesIn, say, shownOf, stream, tidied } from './reference.js'
import { type Played, shortened } from './scene.js'

/** Gives the parser the octets of this seed, in pieces, and compares. */
export function parseSeed(seed: number): Played {
  const [sample] = fc.sample(octetsAndCuts, { seed, numRuns: 1 })
  if (sample === undefined) throw new Error('no sample')
  const { octets, at } = sample
  const s = stream()
  say(s, octets)
  const expected = {
    replies: s.whole.map(({ code, lines }) => ({ code, ...shownOf({ code, lines }), lines: lines.length })),
    isBroken: s.isBroken,
    isWithin: !s.isBroken && isWithin(s),
  }
  const given = parsed(cut(octets, at))
  const isSame = isDeepStrictEqual(given, expected)
  const counts = { replies: repliesIn(s), whole: s.whole.length, sessions: 0, excused: 0, outcomes: [] }
  const finding = `the parser gives ${JSON.stringify(given)}, and not ${JSON.stringify(expected)}`
  return {
    ...counts,
    findings: isSame ? [] : [finding],
    told: () => shortened(`${finding}\n\n${JSON.stringify(sample)}`),
  }
}

function parsed(pieces: readonly string[]): unknown {
  const parser = new ReplyParser()
  const replies: object[] = []
  const add = ({ code, enhancedCode, text, lines }: Reply): number =>
    replies.push({ code, enhancedCode, text: tidied(text), lines: lines.length })
  try {
    for (const piece of pieces) {
      parser.push(Buffer.from(piece, 'latin1'))
      for (let reply = parser.next(); reply !== undefined; reply = parser.next()) add(reply)
    }
    return { replies, isBroken: false, isWithin: parser.buffered > 0 }
  } catch (error) {
    if (error instanceof MalformedReplyError) return { replies, isBroken: true, isWithin: false }
    throw error
  }
}
