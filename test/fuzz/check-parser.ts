import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { MalformedReplyError, type Reply, ReplyParser } from '../../src/smtp/reply.js'
import { collapseRepeats, type RunResult } from './fuzz-run.js'
import { replyOctets, splitAt } from './generators.js'
import {
  appendOctets,
  countReplies,
  createStream,
  hasPartialReply,
  shownReplyOf,
  trimHalfCharacter,
} from './reference.js'

/** Feeds the octets of this seed to the parser, in pieces, and compares it with the reference. */
export function checkParser(seed: number): RunResult {
  const [sample] = fc.sample(replyOctets, { seed, numRuns: 1 })
  if (sample === undefined) throw new Error('fast-check gave no sample')
  const { octets, places } = sample
  const stream = createStream()
  appendOctets(stream, octets)
  const expected = {
    replies: stream.replies.map(({ code, lines }) => ({ code, ...shownReplyOf({ code, lines }), lines: lines.length })),
    isMalformed: stream.isMalformed,
    hasPartialReply: !stream.isMalformed && hasPartialReply(stream),
  }
  const actual = parse(splitAt(octets, places))
  const describeDifference = (): string =>
    `the parser returned ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`
  return {
    replies: countReplies(stream),
    complete: stream.replies.length,
    connections: 0,
    unchecked: 0,
    outcomes: [],
    failures: isDeepStrictEqual(actual, expected) ? [] : [describeDifference()],
    describe: () => collapseRepeats(`seed ${seed}\n${describeDifference()}\n\n${JSON.stringify(sample)}`),
  }
}

function parse(pieces: readonly string[]): unknown {
  const parser = new ReplyParser()
  const replies: object[] = []
  const add = ({ code, enhancedCode, text, lines }: Reply): number =>
    replies.push({ code, enhancedCode, text: trimHalfCharacter(text), lines: lines.length })
  try {
    for (const piece of pieces) {
      parser.push(Buffer.from(piece, 'latin1'))
      for (let reply = parser.next(); reply !== undefined; reply = parser.next()) add(reply)
    }
    return { replies, isMalformed: false, hasPartialReply: parser.buffered > 0 }
  } catch (error) {
    if (error instanceof MalformedReplyError) return { replies, isMalformed: true, hasPartialReply: false }
    throw error
  }
}
