import fc from 'fast-check'

const SURROGATES = 0x800

/** All characters alike. The `unit: 'binary'` of fast-check makes a table of them, which takes half a second. */
const character = fc
  .integer({ min: 0, max: 0x10ffff - SURROGATES })
  .map((number) => String.fromCodePoint(number < 0xd800 ? number : number + SURROGATES))

/** Returns an arbitrary text of any Unicode characters. */
export function anyText(limits: { readonly maxLength?: number } = {}): fc.Arbitrary<string> {
  return fc.string({ ...limits, unit: character })
}
